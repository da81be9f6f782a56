"""What a user reads whose torchaudio does not fit, and that importing the packages asks for nothing optional."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from adversarial.errors import MissingDependency
from tasks.speech.compiled import torchaudio_functional


def test_a_torchaudio_that_cannot_load_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def broken(name: str, *rest: Any) -> Any:
        if name == "torchaudio.functional":
            raise OSError("libc10_cuda.so: cannot open shared object file")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(MissingDependency, match=r"libc10_cuda.*pip install --force-reinstall"):
        torchaudio_functional()


def test_it_loads_here() -> None:
    assert torchaudio_functional().melscale_fbanks(129, 60.0, 4000.0, 40, 8000).shape == (129, 40)
