"""Policies of Stable-Baselines3 (Raffin et al. 2021, https://jmlr.org/papers/v22/20-1364.html) as victims of an
environment: PPO, A2C, TRPO and DQN, from the zip that `model.save` writes.

A bundle carries the same policy as safetensors and `sb3.json`, never the zip with its pickles; such a folder can be
loaded, too, and is the same model by its hash.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from adversarial.entries import TaskEntry
from adversarial.errors import ModelError, UnknownName
from adversarial.victims import ModuleVictim
from tasks.control.sb3_agent import ACTIVATIONS, DEEPEST, USUAL, WIDEST, Architecture, read_zip
from tasks.data import CustomData
from tasks.data.making import task_of
from tasks.measuring.environments import Environment
from tasks.models import LoadedModel, Source, hash_of
from tasks.models.cards import WEIGHTS_FILE
from tasks.models.weights import load_weights, save_weights
from tasks.models.zips import MOST_BYTES


ARCHITECTURE_FILE: Final = "sb3.json"
NORMALISATION: Final = (
    "statistics of VecNormalize lie outside of the zip and are not read: an agent that was trained behind it plays "
    "badly here"
)
_KEYS: Final = frozenset({"algorithm", "activation", "widths", "stable_baselines3"})


class Policy(nn.Module):
    """Linear layers with an activation between them: [batch, numbers] to logits (DQN: values) of actions."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip(architecture.widths, architecture.widths[1:], strict=False):
            layers += [nn.Linear(inputs, outputs), ACTIVATIONS[architecture.activation]()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, observations: Tensor) -> Tensor:
        logits: Tensor = self.layers(observations)
        return logits


def load(
    source: Source,
    task: TaskEntry,
    device: torch.device,
    data: CustomData | None = None,  # noqa: ARG001
) -> LoadedModel:
    """A zip of `model.save`, or the folder with model.safetensors and sb3.json that a bundle carries.

    The source's attribute names the activation where the zip does not say it readably: sb3:agent.zip:relu. Observations
    are read as the environment gives them: an agent that was trained behind VecNormalize plays badly without it.
    """
    given = source.attribute or None
    if given is not None and given not in ACTIVATIONS:
        raise UnknownName.among("activation", given, ACTIVATIONS)
    environment = _environment(task)
    path, notes = Path(source.location), {"normalisation": NORMALISATION}
    if path.is_dir():
        found, version = read_architecture(path, environment, given)
        module = _module(found)
        load_weights(module, path)
        folder = path
    else:
        agent = read_zip(_bytes(path), path.name, environment, given)
        found, version = agent.architecture, agent.version
        notes["observations"] = _compared(agent.observed, environment)
        module = _module(found)
        for name, tensor in agent.weights.items():
            if not bool(torch.isfinite(tensor).all()):
                raise ModelError(f"{path}: {name} holds NaN or infinite weights")
        module.load_state_dict(agent.weights)
        folder = Path(tempfile.mkdtemp(prefix="robustarena-sb3-"))
        save_weights(module, folder)
        write_architecture(found, version, folder)
    victim = ModuleVictim(module.to(device))
    if folder is not path:
        weakref.finalize(victim, shutil.rmtree, folder, ignore_errors=True)
    files = {name: folder / name for name in (WEIGHTS_FILE, ARCHITECTURE_FILE)}
    return LoadedModel(
        source=source,
        victim=victim,
        hash=hash_of(files),
        files=files,
        facts={
            "architecture": found.algorithm,
            "activation": found.activation,
            "layers": "-".join(map(str, found.widths)),
            "parameters": sum(tensor.numel() for tensor in module.parameters()),
            "stable_baselines3": version,
        },
        notes=notes,
    )


def read_architecture(folder: Path, environment: Environment, given: str | None = None) -> tuple[Architecture, str]:
    """The folder's sb3.json, and the version of Stable-Baselines3 that it came from; raises ModelError."""
    path = folder / ARCHITECTURE_FILE
    try:
        plain = json.loads(path.read_bytes())
        found = Architecture(plain["algorithm"], plain["activation"], tuple(plain["widths"]))
        version = plain["stable_baselines3"]
    except FileNotFoundError:
        raise ModelError(
            f"no {ARCHITECTURE_FILE} in {folder}; sb3: takes an agent's zip, or what a bundle has"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{path} does not describe an agent: {type(error).__name__} {error}") from None
    words = all(isinstance(word, str) for word in (found.algorithm, found.activation, version))
    known = words and found.algorithm in USUAL and found.activation in ACTIVATIONS
    whole = all(type(width) is int and 0 < width <= WIDEST for width in found.widths)
    ends = len(found.widths) >= 2 and (found.widths[0], found.widths[-1]) == (environment.size, environment.actions)
    if not (known and whole and ends and len(found.widths) <= DEEPEST + 1 and set(plain) == _KEYS):
        raise ModelError(f"{path} does not describe an agent of {environment.name}: {str(plain)[:200]}")
    if given is not None and given != found.activation:
        raise ModelError(f"{path} says that the activation is {found.activation}, not {given}")
    return found, version


def write_architecture(found: Architecture, version: str, folder: Path) -> None:
    """Writes sb3.json."""
    plain = asdict(found) | {"widths": list(found.widths), "stable_baselines3": version}
    text = json.dumps(plain, indent=1, sort_keys=True)
    (folder / ARCHITECTURE_FILE).write_text(text + "\n", encoding="utf-8")


def _environment(task: TaskEntry) -> Environment:
    """What the task's agents act in; raises ModelError where it has none."""
    found = getattr(task_of(task), "environment", None)
    if not isinstance(found, Environment):
        raise ModelError(f"an agent acts in an environment, and the task {task.name} has none")
    return found


def _compared(shape: tuple[int, ...] | None, environment: Environment) -> str:
    """What is known of the observations that an agent was trained on."""
    if shape is None:
        return "the zip says their shape in a pickle alone: no more than the first layer's width is compared"
    return f"of shape {list(shape)}, as those of {environment.name}; their order, units and bounds are not compared"


def _module(found: Architecture) -> Policy:
    with torch.random.fork_rng(devices=[]):  # the first weights are drawn, and then overwritten
        return Policy(found)


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ModelError(f"{path} has more than {MOST_BYTES} bytes; save the agent without its replay buffer")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from None
