"""What an agent's zip of Stable-Baselines3 says about its policy, without unpickling anything: tensors by `sb3_reader`,
settings from the plain numbers and words of its JSON. The layers follow from the tensors' names and shapes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from adversarial.errors import ModelError
from tasks.control.sb3_reader import tensors
from tasks.measuring.environments import Environment
from tasks.models.zips import members


WIDEST: Final = 1_024  # units of a layer
DEEPEST: Final = 16  # layers
MOST_JSON: Final = 8 * 2**20  # bytes of the zip's `data`
ACTIVATIONS: Final[Mapping[str, type[nn.Module]]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky_relu": nn.LeakyReLU,
}
UNKNOWN: Final = "unknown"  # an algorithm with PPO's networks that the settings do not tell
USUAL: Final = {"PPO": "tanh", "A2C": "tanh", "TRPO": "tanh", UNKNOWN: "tanh", "DQN": "relu"}
READ: Final = "PPO, A2C, TRPO and DQN with a choice among actions are read"
_OTHERS: Final = {  # what sb3_contrib calls its algorithms, by the module of their policies
    "qrdqn": "QR-DQN",
    "ars": "ARS",
    "tqc": "TQC",
    "crossq": "CrossQ",
    "common.maskable": "maskable PPO",
    "common.recurrent": "recurrent PPO",
}
_NETWORKS: Final = (  # the same, by the names of weights
    (r"quantile_net.*", "is an agent of QR-DQN"),
    (r"action_net\.\d+\..*", "is an agent of ARS"),
    (r"lstm_.*", "is an agent of recurrent PPO"),
    (r"log_std|actor\..*|critic.*", "has continuous actions"),
)
_FLATTEN: Final = "<class 'stable_baselines3.common.torch_layers.FlattenExtractor'>"
_MEMBERS: Final = re.compile(
    r"data|_stable_baselines3_version|system_info\.txt|(pytorch_variables|tensors|policy|[a-z_.]+[._]optimizer)\.pth"
)
_LAYER: Final = re.compile(r"(?P<net>mlp_extractor\.policy_net|q_net\.q_net)\.(?P<place>\d+)\.(?P<part>weight|bias)")
# Parts of an agent that learning needs, and acting does not.
_UNUSED: Final = re.compile(
    r"(mlp_extractor\.value_net|q_net_target\.q_net)\.\d+\.(weight|bias)|value_net\.(weight|bias)"
)
_OUTPUT: Final = "action_net"


@dataclass(frozen=True, slots=True)
class Architecture:
    """algorithm: PPO, A2C, TRPO, DQN or unknown. activation: between layers. widths: from observations to actions."""

    algorithm: str
    activation: str
    widths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Agent:
    """What a zip says of an agent. weights: by the names of Policy. version: of the Stable-Baselines3 that wrote it.
    observed: the shape of its observations, None where that lies in a pickle alone."""

    architecture: Architecture
    weights: Mapping[str, Tensor]
    version: str
    observed: tuple[int, ...] | None


def read_zip(data: bytes, what: str, environment: Environment, activation: str | None = None) -> Agent:
    """An agent's policy for an environment, by its settings and its tensors.

    activation: what the submitter says, where the zip's readable part does not. Raises ModelError for code, for zips
    that are no agents, for other algorithms, for policies of images, and for other shapes than the environment's.
    """
    files = members(data, what)
    for name in files:
        if not _MEMBERS.fullmatch(name):
            raise ModelError(f"{what} holds {name}, which no agent has; code is never loaded")
    if "data" not in files or "policy.pth" not in files:
        raise ModelError(f"{what} is no agent of Stable-Baselines3: expected `data` and `policy.pth` in the zip")
    settings = _settings(files["data"], what)
    _check_spaces(settings, environment, what)
    _check_home(settings, what)
    weights = tensors(files["policy.pth"], f"policy.pth in {what}")
    algorithm, layers = _layers(weights, settings, what)
    widths = _widths(layers, environment, what)
    found = Architecture(algorithm, _activation(settings, algorithm, activation, what), widths)
    named = {
        f"layers.{2 * place}.{part}": layer[part].to(torch.float32)
        for place, layer in enumerate(layers)
        for part in ("weight", "bias")
    }
    version = files.get("_stable_baselines3_version", b"unknown").decode("ascii", "replace").strip()[:20]
    return Agent(found, named, version, _observed(settings))


def _settings(raw: bytes, what: str) -> dict[str, Any]:
    """The JSON of the agent's settings. Its pickles, in base64, are left as the text that they are."""
    if len(raw) > MOST_JSON:
        raise ModelError(f"{what}: `data` has more than {MOST_JSON} bytes; save the agent without its replay buffer")
    try:
        plain = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{what}: `data` is not JSON: {str(error)[:100]}") from None
    if not isinstance(plain, dict):
        raise ModelError(f"{what}: `data` must hold an object")
    return plain


def _layers(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], what: str
) -> tuple[str, list[dict[str, Tensor]]]:
    """The algorithm, and the layers from the first to the last as weight and bias."""
    nets: dict[int, dict[str, Tensor]] = {}
    used = set()
    for name, tensor in weights.items():
        if match := _LAYER.fullmatch(name):
            nets.setdefault(int(match["place"]), {})[match["part"]] = tensor
            used.add(match["net"].split(".")[0])
        elif "features_extractor" in name:
            raise ModelError(f"{what} has a network for images or other features ({name}); only MlpPolicy is read")
        elif not _UNUSED.fullmatch(name) and name not in (f"{_OUTPUT}.weight", f"{_OUTPUT}.bias"):
            known = (reason for pattern, reason in _NETWORKS if re.fullmatch(pattern, name))
            raise ModelError(f"{what} {next(known, f'is of an unknown algorithm, with weights {name!r}')}; {READ}")
    acts = f"{_OUTPUT}.weight" in weights
    if used == {"q_net"} and not acts:
        algorithm = "DQN"
    elif acts and used <= {"mlp_extractor"}:
        algorithm = _actor_critic(settings)
        nets[max(nets, default=-2) + 2] = {
            part: weights[f"{_OUTPUT}.{part}"] for part in ("weight", "bias") if f"{_OUTPUT}.{part}" in weights
        }
    else:
        raise ModelError(f"{what} is of an unknown algorithm; {READ}")
    if settings.get("use_sde") is True:
        raise ModelError(f"{what} explores by state (use_sde), which is for continuous actions; {READ}")
    layers = [nets[place] for place in sorted(nets)]
    if sorted(nets) != list(range(0, 2 * len(nets), 2)) or any(set(layer) != {"weight", "bias"} for layer in layers):
        raise ModelError(f"{what}: its layers are not linear ones with an activation between each two")
    return algorithm, layers


def _actor_critic(settings: Mapping[str, Any]) -> str:
    """The algorithm by the settings that only it has; their networks are the same."""
    if {"n_epochs", "clip_range"} <= set(settings):
        return "PPO"
    if "cg_max_steps" in settings:
        return "TRPO"
    own = {"gae_lambda", "normalize_advantage"} <= set(settings) and "batch_size" not in settings
    return "A2C" if own else UNKNOWN


def _observed(settings: Mapping[str, Any]) -> tuple[int, ...] | None:
    space = settings.get("observation_space")
    shape = space.get("_shape") if isinstance(space, dict) else None
    whole = isinstance(shape, list) and all(type(side) is int for side in shape)
    return tuple(shape) if whole and shape is not None else None


def _check_spaces(settings: Mapping[str, Any], environment: Environment, what: str) -> None:
    """Raises ModelError for actions that are no choice, and for observations of another shape."""
    space = settings.get("action_space")
    kind = str(space.get(":type:", "")) if isinstance(space, dict) else ""
    kind = kind.removesuffix("'>").rpartition(".")[2]
    if kind == "Box":
        raise ModelError(f"{what} has continuous actions; {READ}")
    if kind in ("MultiDiscrete", "MultiBinary"):
        raise ModelError(f"{what} takes several actions at once ({kind}); {READ}")
    if (shape := _observed(settings)) not in (None, (environment.size,)):
        raise ModelError(
            f"{what} reads observations of shape {list(shape or ())}; those of {environment.name} have "
            f"[{environment.size}]"
        )


def _check_home(settings: Mapping[str, Any], what: str) -> None:
    """Raises ModelError where the policy's class is not one of Stable-Baselines3."""
    policy = settings.get("policy_class")
    home = policy.get("__module__") if isinstance(policy, dict) else None
    if home is None or str(home).startswith("stable_baselines3."):
        return
    name = str(home).removeprefix("sb3_contrib.").removesuffix(".policies")
    if name in _OTHERS:
        raise ModelError(f"{what} is an agent of {_OTHERS[name]} (sb3_contrib); {READ}")
    raise ModelError(f"{what} has a policy class of its own, of {str(home)[:80]}; code is never loaded")


def _widths(layers: list[dict[str, Tensor]], environment: Environment, what: str) -> tuple[int, ...]:
    shapes = [tuple(layer["weight"].shape) for layer in layers]
    if any(len(shape) != 2 for shape in shapes) or len(layers) > DEEPEST:
        raise ModelError(f"{what}: expected at most {DEEPEST} linear layers, got weights of shapes {shapes[:4]}")
    widths = (shapes[0][1], *(shape[0] for shape in shapes))
    fits = [
        layer["weight"].shape == (b, a) and layer["bias"].shape == (b,)
        for layer, a, b in zip(layers, widths, widths[1:], strict=False)
    ]
    if not all(fits) or max(widths) > WIDEST:
        raise ModelError(f"{what}: its layers do not follow upon each other: {shapes[:4]}")
    if widths[0] != environment.size or widths[-1] != environment.actions:
        raise ModelError(
            f"{what} maps {widths[0]} observations to {widths[-1]} actions; {environment.name} has {environment.size} "
            f"and {environment.actions}"
        )
    return widths


def _activation(settings: Mapping[str, Any], algorithm: str, given: str | None, what: str) -> str:
    """As the readable copy of policy_kwargs names it, or as given, or as the algorithm has it by default."""
    arguments = settings.get("policy_kwargs")
    arguments = arguments if isinstance(arguments, dict) else None
    extractor = arguments.get("features_extractor_class", _FLATTEN) if arguments else _FLATTEN
    if extractor != _FLATTEN:
        raise ModelError(f"{what} has a features extractor of its own, {str(extractor)[:80]}; code is never loaded")
    if arguments is None:
        return given or USUAL[algorithm]
    known = {f"<class 'torch.nn.modules.activation.{made.__name__}'>": name for name, made in ACTIVATIONS.items()}
    named = arguments.get("activation_fn")
    found = USUAL[algorithm] if named is None else known.get(str(named))
    if found is None and given is None:
        raise ModelError(
            f"{what} has the activation {str(named)[:80]}; say which one that is, as in sb3:agent.zip:relu "
            f"({', '.join(ACTIVATIONS)})"
        )
    if found is not None and given is not None and found != given:
        raise ModelError(f"{what} was saved with the activation {found}, not {given}")
    return found or given or ""
