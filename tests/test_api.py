"""`import robustarena`: its names, what it refuses, what its numbers mean, and that its default attacks are strong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustarena
from adversarial.errors import (
    AccessDenied,
    DataError,
    InvalidOption,
    InvalidThreat,
    ModelError,
    NotApplicable,
    UnknownName,
)
from adversarial.inputs import Inputs


ROOT = Path(__file__).parent.parent
THREAT = "pixels-linf:0.1"


def draw(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Linear(nn.Module):
    """A linear model of inputs around the middle of [0, 1]."""

    def __init__(self, classes: int, features: int, seed: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(normal(seed, classes, features))

    def forward(self, values: Tensor) -> Tensor:
        return (values.flatten(1) - 0.5) @ self.weights.T


def images(rows: int = 16) -> Tensor:
    return draw(0, rows, 1, 4, 4)


def linear() -> Linear:
    return Linear(3, 16, 0)


def labels(rows: int = 16) -> Tensor:
    return linear()(images(rows)).argmax(1)


# ---- names


def test_the_names_are_there_and_in_dir() -> None:
    assert set(robustarena.__all__) <= set(dir(robustarena))
    for name in robustarena.__all__:
        assert getattr(robustarena, name)
        assert name == "__version__" or getattr(robustarena, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'atack'"):
        robustarena.atack  # noqa: B018


def test_importing_it_imports_no_torch() -> None:
    code = "import sys, robustarena; robustarena.main; dir(robustarena); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_module_that_hides_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("x = 1\n")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import robustarena; sys.path.insert(0, {str(tmp_path)!r})\n"
    code += "try: robustarena.attack\nexcept ImportError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True, text=True)
    assert f"another module is called tasks: Python finds {tmp_path / 'tasks.py'}" in done.stdout


def test_attacks_and_models_by_name() -> None:
    assert {"pgd", "apgd-t"} <= set(robustarena.list_attacks("pixels"))
    assert "hotflip" not in robustarena.list_attacks("pixels")
    assert set(robustarena.list_attacks("words")) < set(robustarena.list_attacks())
    assert "image-digits/undefended" in robustarena.list_models()


def test_models_load_by_name_and_can_be_attacked(tmp_path: Path) -> None:
    victim = robustarena.load_model("image-digits/undefended")
    right = victim(Inputs(draw(1, 8, 1, 8, 8))).values.argmax(1)
    assert robustarena.evaluate(victim, draw(1, 8, 1, 8, 8), right, "pgd", "pixels-linf:0.2").robust < 1
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    )
    own = robustarena.load_model(f"python:{path}:make", "image-digits")
    assert robustarena.attack(own, draw(1, 8, 1, 8, 8), right, "fgsm").inputs.shape == (8, 1, 8, 8)
    agent = robustarena.load_model("control-cartpole/undefended")
    seen = normal(3, 6, 4)
    own_actions = agent(Inputs(seen)).values.argmax(1)
    found = robustarena.attack(agent, seen, own_actions, "pgd", "observations-linf:2", scale=torch.ones(4))
    assert bool(found.success.any())


@pytest.mark.parametrize(
    ("source", "task", "error", "reason"),
    [
        ("image-digits/undefendet", None, UnknownName, "did you mean 'undefended'"),
        ("python:a.py:make", None, InvalidOption, "give task=, one of image-digits"),
        ("torch:nowhere", "image-digit", UnknownName, "did you mean 'image-digits'"),
        ("torch:nowhere", "image-digits", ModelError, "nowhere is no folder"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_one_sentence(
    source: str, task: str | None, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        robustarena.load_model(source, task)


# ---- what is refused, and what works


OBSERVED = {"threat": "observations-linf:0.1"}
SLIPS: Mapping[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no rows": ({"inputs": images()[:0], "labels": labels()[:0]}, DataError, "at least one example"),
    "no features": ({"inputs": torch.rand(16)}, DataError, r"inputs must be \[examples, ...\]"),
    "bytes": ({"inputs": (images() * 255).byte()}, DataError, r"got torch.uint8; scale pixels to \[0, 1\]"),
    "numpy bytes": ({"inputs": np.zeros((16, 1, 4, 4), np.uint8)}, DataError, r"got torch.uint8; scale pixels"),
    "text": ({"inputs": "images/"}, DataError, "inputs must be a tensor or an array of numbers, got str"),
    "ragged": ({"inputs": [[0.1, 0.2], [0.3]]}, DataError, "inputs must be a tensor or an array of numbers"),
    "nothing": ({"inputs": None}, DataError, "inputs must be a tensor or an array of numbers, got NoneType"),
    "beyond the range": ({"inputs": images() * 255}, DataError, r"pixels must lie in \[0, 1\]"),
    "NaN": ({"inputs": images() * torch.nan}, DataError, "NaN"),
    "no batch size": ({"batch_size": 0}, InvalidOption, "batch_size must be a whole number of at least 1, got 0"),
    "negative batch size": ({"batch_size": -3}, InvalidOption, "batch_size must be"),
    "half a batch": ({"batch_size": 2.5}, InvalidOption, "batch_size must be"),
    "a seed of words": ({"seed": "one"}, InvalidOption, "seed must be a whole number"),
    "few labels": ({"labels": labels()[:3]}, DataError, "16 inputs but 3 labels"),
    "float labels": ({"labels": labels().float()}, DataError, "labels must be whole numbers"),
    "one-hot labels": ({"labels": torch.eye(16)}, DataError, r"labels must be whole numbers .*\.argmax\(1\)"),
    "negative labels": ({"labels": labels() - 5}, DataError, "labels must be at least 0, got -5"),
    "few targets": ({"targets": (labels() + 1)[:2] % 3}, DataError, "16 inputs but 2 targets"),
    "float targets": ({"targets": labels() + 0.5}, DataError, "targets must be whole numbers"),
    "negative targets": ({"targets": labels() - 5}, DataError, "targets must be at least 0"),
    "targets that are there": ({"targets": labels()}, InvalidOption, "is its label; choose another class"),
    "a short mask": ({"mask": torch.ones(16, 3, dtype=torch.bool)}, DataError, r"must be bool of shape \[16, 1\]"),
    "a mask of numbers": ({"mask": torch.ones(16, 1)}, DataError, r"got torch.float32 \[16, 1\]; .bool\(\)"),
    "a short scale": ({**OBSERVED, "scale": [1.0, 2.0]}, DataError, r"a dimension, \[1, 4, 4\], got \[2\]"),
    "no scale": (OBSERVED, DataError, "needs scale=, one positive number a dimension"),
    "a scale below 0": (
        {**OBSERVED, "scale": -torch.ones(1, 4, 4)},
        InvalidThreat,
        "positive and finite",
    ),
    "an unknown attack": ({"attack": "pdg"}, UnknownName, "did you mean 'pgd'"),
    "an unknown parameter": (
        {"stepps": 3},
        InvalidOption,
        r"no parameter of pgd is called 'stepps'; did you mean 'steps'",
    ),
    "any parameter": ({"zzz": 3}, InvalidOption, "it has steps, relative_step, random_start, restarts, loss, momentum"),
    "a parameter of words": ({"steps": "40"}, InvalidOption, "pgd: steps must be of type int, got '40'"),
    "an unknown loss": ({"loss": "cee"}, UnknownName, "did you mean 'ce'"),
    "no threat": ({"threat": "linf"}, robustarena.RobustArenaError, "expected surface-norm:budget"),
    "levels": ({"threat": "pixels-linf:8"}, robustarena.RobustArenaError, "8/255"),
    "words": ({"threat": "words-l0:3"}, NotApplicable, "pgd on words"),
    "no model": ({"model": "image-digits/undefended"}, ModelError, "load_model"),
    "a model of other inputs": ({"model": Linear(3, 5, 0)}, ModelError, r"does not read float32 \[2, 1, 4, 4\]"),
    "another device": ({"model": linear().to("meta")}, ModelError, "the model is on meta, the inputs are on cpu"),
    "no surrogates": ({"attack": "transfer"}, NotApplicable, "another model"),
    "nothing to learn on": ({"attack": "universal"}, DataError, r"give fit=\(inputs, labels\)"),
    "half of it": ({"attack": "universal", "fit": images()}, DataError, r"fit must be \(inputs, labels\)"),
    "no queries": ({"threat": "pixels-linf:0.1@labels"}, AccessDenied, "allows no gradients"),
}


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_is_one_sentence(name: str) -> None:
    options, error, reason = SLIPS[name]
    given = {"model": linear(), "inputs": images(), "labels": labels(), "threat": THREAT, **options}
    with pytest.raises(error, match=reason) as caught:
        robustarena.attack(given.pop("model"), given.pop("inputs"), given.pop("labels"), **given)
    assert isinstance(caught.value, robustarena.RobustArenaError)
    assert "\n" not in str(caught.value)


ALIKE: Mapping[str, dict[str, Any]] = {
    "a list of labels": {"labels": labels().tolist()},
    "numpy labels": {"labels": labels().numpy().astype(np.int32)},
    "small labels": {"labels": labels().to(torch.uint8)},
    "numpy inputs": {"inputs": images().numpy()},
    "numpy inputs of 64 bits": {"inputs": images().numpy().astype(np.float64)},
    "inputs that cannot be written": {
        "inputs": np.frombuffer(images().numpy().tobytes(), np.float32).reshape(16, 1, 4, 4)
    },
    "mirrored numpy inputs": {"inputs": images().flip(0).numpy()[::-1]},
    "nested lists": {"inputs": images().tolist()},
    "a list of images": {"inputs": list(images())},
    "inputs of 64 bits": {"inputs": images().double()},
    "inputs with a gradient": {"inputs": images().requires_grad_(True)},
    "inputs of a graph": {"inputs": images().requires_grad_(True) * 1},
    "inputs that are not contiguous": {"inputs": images().permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)},
    "channels last": {"inputs": images().contiguous(memory_format=torch.channels_last)},
    "a threat": {"threat": robustarena.Threat.parse(THREAT)},
    "numpy sizes": {"batch_size": np.int64(64), "steps": np.int64(40)},
}


@pytest.mark.parametrize("name", ALIKE)
def test_what_people_have_works(name: str) -> None:
    plain = robustarena.attack(linear(), images(), labels(), "pgd", THREAT)
    given = {"inputs": images(), "labels": labels(), "threat": THREAT, **ALIKE[name]}
    found = robustarena.attack(linear(), given.pop("inputs"), given.pop("labels"), "pgd", **given)
    assert torch.equal(found.inputs, plain.inputs)
    assert torch.equal(found.success, plain.success)
    assert 0 < int(plain.success.sum()) < 16


def test_half_inputs_are_read_as_what_they_are() -> None:
    half = images().half()
    found = robustarena.attack(linear(), half, labels(), "pgd", THREAT)
    assert torch.equal(found.inputs, robustarena.attack(linear(), half.float(), labels(), "pgd", THREAT).inputs)


def test_neither_inputs_nor_their_gradient_are_written() -> None:
    values = images().requires_grad_(True)
    before = values.detach().clone()
    robustarena.evaluate(linear(), values, labels(), threat=THREAT)
    assert torch.equal(values, before)
    assert values.grad is None


# ---- numbers


def test_no_attack_is_no_evaluation() -> None:
    with pytest.raises(InvalidOption, match="attacks names none"):
        robustarena.evaluate(linear(), images(), labels(), [], THREAT)


def test_one_attack_may_be_named_alone() -> None:
    one = robustarena.evaluate(linear(), images(), labels(), "pgd", THREAT)
    several = robustarena.evaluate(linear(), images(), labels(), ["pgd"], THREAT)
    assert one == several
    assert one.complete


def test_budgets_may_be_levels_of_255() -> None:
    found = robustarena.attack(linear(), images(), labels(), "fgsm", "pixels-linf:8/255")
    assert float(found.distances.max()) == pytest.approx(8 / 255, abs=1e-6)
    assert torch.equal(found.inputs, robustarena.attack(linear(), images(), labels(), "fgsm").inputs)


def test_robust_is_the_worst_case_of_each_example_and_attacks_count_all() -> None:
    found = robustarena.evaluate(linear(), images(), labels(), ("noise", "fgsm", "pgd"), THREAT)
    broken = torch.zeros(16, dtype=torch.bool)
    for name in ("noise", "fgsm", "pgd"):
        alone = robustarena.attack(linear(), images(), labels(), name, THREAT)
        assert found.attacks[name] == pytest.approx(float((~alone.success).double().mean()))
        broken |= alone.success
    assert found.robust == pytest.approx(float((~broken).double().mean()))
    assert found.robust_interval.low < found.robust < found.robust_interval.high


def test_distances_under_a_signal_to_noise_ratio_are_decibels() -> None:
    values = (normal(1, 12, 400) * 8000).round().clamp(-32768, 32767) / 32768
    model = Linear(3, 400, 2)
    right = model(values).argmax(1)
    found = robustarena.attack(model, values, right, "pgd", "waveform-snr:20")
    moved, own = (found.inputs - values).double().norm(dim=1), values.double().norm(dim=1)
    assert torch.allclose(found.distances, 20 * torch.log10(own / moved), atol=1e-4)
    assert float(found.distances.min()) == pytest.approx(20, abs=0.01)
    still = robustarena.attack(model, values, (right + 1) % 3, "pgd", "waveform-snr:20")
    assert bool((still.distances == torch.inf)[(still.inputs == values).all(1)].all())


def gradient_free(values: Tensor) -> Tensor:
    return linear()(values).detach()


@pytest.mark.parametrize(
    ("threat", "model", "left_out", "complete"),
    [
        ("pixels-linf:0.1", linear(), set(), True),
        ("pixels-l2:0.5", linear(), set(), True),
        ("pixels-l0:3", linear(), {"fgsm", "pgd", "apgd-ce", "apgd-dlr", "apgd-t"}, False),
        ("pixels-linf:0.1@scores<=100", linear(), {"fgsm", "pgd", "apgd-ce", "apgd-dlr", "apgd-t"}, False),
        ("pixels-linf:0.1", gradient_free, {"fgsm", "pgd", "apgd-ce", "apgd-dlr", "apgd-t"}, False),
        ("waveform-linf:0.01", linear(), set(), True),
    ],
)
def test_what_does_not_fit_is_left_out_of_the_default_and_said(
    threat: str, model: Any, left_out: set[str], complete: bool
) -> None:
    values = torch.full((16, 16), 0.5) if threat.startswith("waveform") else images()
    right = linear()(values).argmax(1)
    found = robustarena.evaluate(model, values, right, threat=threat)
    assert set(found.left_out) == left_out
    assert set(found.attacks) == {"noise", "fgsm", "pgd", "apgd-ce", "apgd-dlr", "apgd-t"} - left_out
    assert all(found.left_out.values())
    assert found.complete is complete
    for name in left_out:
        with pytest.raises((NotApplicable, AccessDenied)):
            robustarena.evaluate(model, values, right, ["noise", name], threat)


@pytest.mark.parametrize(
    ("attacks", "complete"), [(["noise"], False), (["none"], False), (["noise", "fgsm"], True), (["deepfool"], True)]
)
def test_noise_completes_nothing(attacks: list[str], complete: bool) -> None:
    assert robustarena.evaluate(linear(), images(), labels(), attacks, THREAT).complete is complete


# ---- strength


@pytest.mark.parametrize("classes", [2, 3, 4, 10, 100])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("surface", ["pixels", "embeddings"])
def test_on_linear_models_the_attacks_find_what_there_is_to_find(classes: int, seed: int, surface: str) -> None:
    """In linf a row breaks towards class j where its margin is below eps * ||w_i - w_j||_1: inputs in the middle of
    the box, or without one, make that exact."""
    budget = {2: 0.02, 3: 0.02, 4: 0.02, 10: 0.012, 100: 0.007}[classes]
    model, values = Linear(classes, 64, seed), 0.5 + 0.3 * (draw(seed + 10, 60, 1, 64) - 0.5)
    with torch.no_grad():
        logits, weights = model(values), model.weights.detach()
    right = logits.argmax(1)
    margins = logits.gather(1, right[:, None]) - logits
    reach = budget * (weights[right][:, None] - weights).abs().sum(2)
    most = int(((margins < reach) & (margins > 0)).any(1).sum())
    assert 30 < most <= 60
    found = {
        name: int(robustarena.attack(model, values, right, name, f"{surface}-linf:{budget}").success.sum())
        for name in ("apgd-t", "apgd-dlr", "apgd-ce", "pgd")
    }
    assert found["apgd-t"] == most
    assert most - 2 <= found["apgd-dlr"] <= most
    for name in ("apgd-ce", "pgd"):  # cross-entropy follows several wrong classes at once
        assert 0.8 * most <= found[name] <= most


def test_three_classes_are_not_blind() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(30)
        weights = torch.randn(3, 64)
        values = torch.rand(60, 1, 8, 8)

    def model(values: Tensor) -> Tensor:
        return (values.flatten(1) - 0.5) @ weights.T

    right = model(values).argmax(1)
    for name in ("apgd-t", "pgd", "apgd-ce", "apgd-dlr"):
        assert int(robustarena.attack(model, values, right, name, "pixels-linf:0.1").success.sum()) == 60


def test_the_targeted_search_says_nothing_wrong_of_small_logits() -> None:
    """Its first look and its search must be in one unit: else rows that rise look as if they never did."""
    model = linear()
    model.weights.data.mul_(1e-3)
    found = robustarena.attack(model, images(), model(images()).argmax(1), "apgd-t", "pixels-linf:0.02")
    assert int(found.success.sum()) < 12
    assert not found.diagnostics


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "autoattack"), [("undefended", 0.11), ("noise-augmentation", 0.1725), ("adversarial-training", 0.7825)]
)
def test_the_default_attacks_are_as_strong_as_autoattack(name: str, autoattack: float) -> None:
    """autoattack: what the standard version (APGD-CE, APGD-T, FAB-T, Square; torchattacks 3.5.1, seed 0) leaves of
    the bundled models on the 400 test images, at the budget that ranks them."""
    from tasks.image.task import make

    (batch,) = make().batches("test", None, 400, torch.device("cpu"))
    right = torch.tensor(batch.truth)
    victim = robustarena.load_model(f"image-digits/{name}")
    found = robustarena.evaluate(victim, batch.inputs.values, right, threat="pixels-linf:0.15")
    assert abs(found.robust - autoattack) <= 0.005 + 1e-9
    assert found.complete
    assert not found.diagnostics
    assert not found.left_out
