"""A user's Python file and the modules beside it: imported as they are now, and noted by their contents."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from adversarial.errors import ModelError


_OURS: Final = frozenset({"adversarial", "benchmarks", "leaderboard", "robustarena", "tasks"})  # beside, in a clone


class Neighbours:
    """The modules of one folder, for the time that its file runs, as a script would find them.

    sources: SHA-256 of every file that was imported, by its path within the folder. modules: what they became.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.sources: dict[str, str] = {}
        self.modules: list[ModuleType] = []

    @contextlib.contextmanager
    def importable(self) -> Iterator[None]:
        """Within it, imports look into the folder first; what an earlier call imported is forgotten before."""
        for name, module in list(sys.modules.items()):
            if isinstance(getattr(module, "__loader__", None), _Loader):
                del sys.modules[name]  # its file may have changed, or another folder's module have its name
        sys.meta_path.insert(0, self)
        sys.path.insert(0, str(self.folder))
        try:
            yield
        finally:
            sys.meta_path.remove(self)
            with contextlib.suppress(ValueError):
                sys.path.remove(str(self.folder))

    def imported(self, path: Path) -> ModuleType:
        """The file itself as a module; raises ModelError for whatever it raises."""
        name = f"robustarena_model_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(name, str(path), self))
        if spec is None or spec.loader is None:
            raise ModelError(f"{path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # where dataclasses look for the module that they are in
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            raise ModelError(f"{path}: {type(error).__name__}: {error}") from error
        return module

    def find_spec(self, name: str, path: Sequence[str] | None = None, _target: Any = None) -> ModuleSpec | None:
        """What the import system asks: a module of the folder, or of a package in it."""
        parent = sys.modules.get(name.rpartition(".")[0])
        found_here = parent is None or parent.__file__ is None or isinstance(parent.__loader__, _Loader)
        if not found_here or name.partition(".")[0] in _OURS:
            return None
        places = [self.folder] if path is None else [Path(one) for one in path]
        for place in places:
            if "site-packages" in place.parts or (place != self.folder and self.folder not in place.parents):
                continue
            loaders: Any = (
                self._loader,
                importlib.machinery.SOURCE_SUFFIXES,
            )  # a function will do where a class is named
            spec = FileFinder(str(place), loaders).find_spec(name)
            if spec is not None and spec.loader is not None:  # a folder without code is found by whom it is meant for
                return spec
        return None

    def _loader(self, name: str, path: str) -> _Loader:
        return _Loader(name, path, self)


class _Loader(SourceFileLoader):
    """Reads the source each time, and never a compiled copy, which may be of an older one."""

    def __init__(self, name: str, path: str, found: Neighbours) -> None:
        super().__init__(name, path)
        self._found = found

    def path_stats(self, path: str) -> Any:  # noqa: ARG002
        raise OSError("compiled copies are not asked for")

    def get_data(self, path: str) -> bytes:
        data = super().get_data(path)
        place = Path(path).resolve()
        self._found.sources[place.relative_to(self._found.folder).as_posix()] = hashlib.sha256(data).hexdigest()
        return data

    def exec_module(self, module: ModuleType) -> None:
        self._found.modules.append(module)
        super().exec_module(module)
