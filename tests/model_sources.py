"""Models as tests load them: by one text, through everything that is registered."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from adversarial.registry import Registry, resolve
from benchmarks.catalog import catalog
from tasks.data import CustomData
from tasks.models import LoadedModel, Source, load_source, parse


CPU = torch.device("cpu")


@lru_cache(maxsize=1)
def registry() -> Registry:
    return catalog()


def source_of(text: str) -> Source:
    return parse(text, registry())


def load_model(text: str, task: str, data: CustomData | None = None) -> LoadedModel:
    """The model that a text names, on the CPU."""
    return load_source(source_of(text), registry().task(task), registry(), CPU, data)


def task_named(name: str) -> Any:
    """A registered task on its own data."""
    return resolve(registry().task(name).code)()
