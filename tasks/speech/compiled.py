"""Importing torchaudio, whose compiled parts refuse a torch that was built for other devices."""

from __future__ import annotations

import importlib
from types import ModuleType

from adversarial.errors import MissingDependency


def torchaudio_functional() -> ModuleType:
    """torchaudio.functional; raises MissingDependency with the remedy where its compiled parts cannot load.

    A torch built for the CPU alone has no libc10_cuda, which the registry's torchaudio links to; and torchaudio from
    2.11 on refuses a torch built for another version of CUDA.
    """
    try:
        return importlib.import_module("torchaudio.functional")
    except (OSError, RuntimeError, ImportError) as error:
        raise MissingDependency(
            f"torchaudio cannot load ({error}). It must be built for the same devices as torch: install both from one "
            "place, `pip install --force-reinstall 'torch>=2.11,<2.15' 'torchaudio>=2.11'`. Only speech needs it; "
            "the other tasks run without: --task 'image-*'"
        ) from error
