"""python: a function in a file of the user's own, run on the user's own machine; such an entry stays unverified."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from adversarial.errors import ModelError, RobustArenaError
from adversarial.victims import ModuleVictim, Victim
from tasks.bring import Brought, Source, expected_of
from tasks.own import OwnData


def bring(source: Source, task: str, device: torch.device, data: OwnData | None = None) -> Brought:
    """Calls the function without arguments; it returns a Victim, or a module from the task's inputs to its scores.

    Raises ModelError that names file and function, whatever goes wrong in them.
    """
    path = source.path
    try:
        code = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}; expected python:FILE.py:FUNCTION") from None
    with _neighbours(path):
        module = _imported(path, code)
        function = getattr(module, source.attribute, None)
        if not callable(function):
            raise ModelError(_unknown(path, source.attribute, module))
        try:
            made = function()
        except RobustArenaError:
            raise
        except (Exception, SystemExit) as error:
            raise ModelError(f"{path}: {source.attribute}() raised {type(error).__name__}: {error}") from error
    victim = _victim(made, source, task, device, data)
    # Other files that the code reads are out of sight: this hash tells versions of one file apart, and proves nothing.
    digest = hashlib.sha256(code + b"\x00" + source.attribute.encode()).hexdigest()
    return Brought(source, victim, digest, {}, {"file": path.name, "function": source.attribute}, carried=False)


@contextlib.contextmanager
def _neighbours(path: Path) -> Iterator[None]:
    """While the file runs, it can import what lies beside it, as a script can."""
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _unknown(path: Path, name: str, module: ModuleType) -> str:
    own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    near = difflib.get_close_matches(name, own, n=1)
    return f"{path} has no function {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _imported(path: Path, code: bytes) -> ModuleType:
    name = f"robustarena_model_{path.stem}_{hashlib.sha256(code).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, (Exception, SystemExit)):
            raise ModelError(f"{path}: {type(error).__name__}: {error}") from error
        raise
    return module


def _victim(made: object, source: Source, task: str, device: torch.device, data: OwnData | None) -> Victim:
    if isinstance(made, nn.Module):
        if task == "speech-digits":
            from tasks.speech.model import SpeechVictim

            return SpeechVictim(made.to(device))
        if task == "sentiment-reviews" and callable(getattr(made, "embed", None)):
            from tasks.sentiment.victims import ReviewVictim

            return ReviewVictim(made.to(device))
        return ModuleVictim(made.to(device))
    if isinstance(made, Victim):
        return made
    expected = expected_of(task, data)
    wanted = f" from {expected.inputs} to {expected.scores}" if expected is not None else ""
    raise ModelError(f"{source} returned {type(made).__name__}; expected a torch module{wanted}, or a Victim")
