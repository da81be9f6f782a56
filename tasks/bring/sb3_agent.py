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
from tasks.bring.sb3_reader import tensors
from tasks.bring.zips import members
from tasks.control.facts import ACTIONS, SCALE


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
USUAL: Final = {"PPO": "tanh", "A2C": "tanh", "DQN": "relu"}
_FLATTEN: Final = "<class 'stable_baselines3.common.torch_layers.FlattenExtractor'>"
_MEMBERS: Final = re.compile(
    r"data|_stable_baselines3_version|system_info\.txt|(pytorch_variables|tensors|policy|[a-z_.]+\.optimizer)\.pth"
)
_LAYER: Final = re.compile(r"(?P<net>mlp_extractor\.policy_net|q_net\.q_net)\.(?P<place>\d+)\.(?P<part>weight|bias)")
# Parts of an agent that learning needs, and acting does not.
_UNUSED: Final = re.compile(
    r"(mlp_extractor\.value_net|q_net_target\.q_net)\.\d+\.(weight|bias)|value_net\.(weight|bias)"
)
_OUTPUT: Final = "action_net"


@dataclass(frozen=True, slots=True)
class Architecture:
    """algorithm: PPO, A2C or DQN. activation: between layers. widths: from observations to actions."""

    algorithm: str
    activation: str
    widths: tuple[int, ...]


def read_zip(data: bytes, what: str, activation: str | None = None) -> tuple[Architecture, dict[str, Tensor], str]:
    """A policy's architecture, its weights by the names of Policy, and the version of Stable-Baselines3 that wrote it.

    activation: what the submitter says, where the zip's readable part does not. Raises ModelError for code, for zips
    that are no agents, for other algorithms, for policies of images, and for other shapes than CartPole's.
    """
    files = members(data, what)
    for name in files:
        if not _MEMBERS.fullmatch(name):
            raise ModelError(f"{what} holds {name}, which no agent has; code is never loaded")
    if "data" not in files or "policy.pth" not in files:
        raise ModelError(f"{what} is no agent of Stable-Baselines3: expected `data` and `policy.pth` in the zip")
    settings = _settings(files["data"], what)
    weights = tensors(files["policy.pth"], f"policy.pth in {what}")
    algorithm, layers = _layers(weights, settings, what)
    widths = _widths(layers, what)
    found = Architecture(algorithm, _activation(settings, algorithm, activation, what), widths)
    named = {
        f"layers.{2 * place}.{part}": layer[part].to(torch.float32)
        for place, layer in enumerate(layers)
        for part in ("weight", "bias")
    }
    version = files.get("_stable_baselines3_version", b"unknown").decode("ascii", "replace").strip()[:20]
    return found, named, version


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
            raise ModelError(f"{what} has a network for images or other features ({name}); CartPole takes MlpPolicy")
        elif not _UNUSED.fullmatch(name) and name not in (f"{_OUTPUT}.weight", f"{_OUTPUT}.bias"):
            raise ModelError(f"{what} has weights {name!r}: an unknown algorithm; expected PPO, A2C or DQN")
    acts = f"{_OUTPUT}.weight" in weights
    if used == {"q_net"} and not acts:
        algorithm = "DQN"
    elif acts and used <= {"mlp_extractor"}:
        # Both have the same networks; only PPO goes over its data several times.
        algorithm = "PPO" if "n_epochs" in settings else "A2C"
        nets[max(nets, default=-2) + 2] = {
            part: weights[f"{_OUTPUT}.{part}"] for part in ("weight", "bias") if f"{_OUTPUT}.{part}" in weights
        }
    else:
        raise ModelError(f"{what} is an unknown algorithm; expected PPO, A2C or DQN")
    if settings.get("use_sde") is True:
        raise ModelError(f"{what} explores by state (use_sde), which is for continuous actions; CartPole has two")
    layers = [nets[place] for place in sorted(nets)]
    if sorted(nets) != list(range(0, 2 * len(nets), 2)) or any(set(layer) != {"weight", "bias"} for layer in layers):
        raise ModelError(f"{what}: its layers are not linear ones with an activation between each two")
    return algorithm, layers


def _widths(layers: list[dict[str, Tensor]], what: str) -> tuple[int, ...]:
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
    if widths[0] != len(SCALE) or widths[-1] != ACTIONS:
        raise ModelError(
            f"{what} maps {widths[0]} observations to {widths[-1]} actions; CartPole has {len(SCALE)} and {ACTIONS}"
        )
    return widths


def _activation(settings: Mapping[str, Any], algorithm: str, given: str | None, what: str) -> str:
    """As the readable copy of policy_kwargs names it, or as given, or as the algorithm has it by default."""
    policy, arguments = settings.get("policy_class"), settings.get("policy_kwargs")
    home = policy.get("__module__") if isinstance(policy, dict) else None
    if home is not None and not str(home).startswith("stable_baselines3."):
        raise ModelError(f"{what} has a policy class of its own, of {str(home)[:80]}; code is never loaded")
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
