"""What a model is measured on. Only an accelerator needs torch to be looked at."""

from __future__ import annotations

import re
from typing import Final

from adversarial.errors import InvalidOption


CPU: Final = "cpu"
_CUDA: Final = re.compile(r"cuda(?::(?P<index>0|[1-9][0-9]{0,3}))?")


def checked_device(name: str) -> str:
    """The name of a device that is there; raises InvalidOption for any other."""
    if name == CPU:
        return name
    found = _CUDA.fullmatch(name)
    if found is None:
        raise InvalidOption(f"no device is called {name!r}; expected cpu, cuda or cuda:N")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise InvalidOption(f"--device {name}: torch finds no CUDA device here; measure on cpu")
    if int(found["index"] or 0) >= count:
        raise InvalidOption(f"--device {name}: there are {count} here, cuda:0 to cuda:{count - 1}")
    return name


def devices_of(name: str) -> tuple[str, ...]:
    """What `--device` names: one device, or for `cuda` alone every one that there is."""
    if name != "cuda":
        return (name,)
    import torch

    return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count())) or (name,)


def device_class(name: str) -> str:
    """What a cell's identity says of a device: which of several alike measured it changes nothing."""
    return name.partition(":")[0]
