"""One thread in every test: results are compared byte for byte, and two test runs may share two cores."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


torch.set_num_threads(1)
# For the processes that tests start: where a machine has no thread to give, OpenBLAS interrupts its process, and so
# ends a server that has only just begun to count.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process is left with one when the others have nothing to do.

    The processes of pytest-xdist run nothing where they name a test differently.
    """
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(f"expected a name that each process gives, got {item.nodeid}: state its ids")
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture
def datasets_cache(_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `datasets` keeps of the data that it has read goes when the tests are over.

    It leaves tables open; a test that uses it says so with `ignore:unclosed file:ResourceWarning`.
    """
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", _cache)
    yield
    gc.collect()


@pytest.fixture(scope="module")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an honest bundle."""
    from test_bundle import everything_in, small

    folder = tmp_path_factory.mktemp("genuine") / "entry"
    small().write(folder)
    return everything_in(folder)


@pytest.fixture(scope="module")
def zipped(genuine: dict[str, bytes]) -> bytes:
    from broken_bundles import packed

    return packed(genuine)
