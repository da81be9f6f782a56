"""What models answer, and what they do to what they read, through `import robustarena`: right, or one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustarena
from adversarial.errors import DataError, ModelError
from adversarial.goals import Flip
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.losses import CLASS_LOSSES
from adversarial.problem import Problem
from adversarial.spaces import words
from adversarial.threats import Threat
from adversarial.victims import ModuleVictim, ask


THREAT = "pixels-linf:0.03"
CLASSES = 6


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def images(rows: int = 24) -> Tensor:
    return 0.5 + 0.4 * (torch.rand(rows, 1, 4, 4, generator=torch.Generator().manual_seed(3)) - 0.5)


class Network(nn.Module):
    """Normalisation and dropout, so that the mode matters; `answer` wraps what it says."""

    def __init__(self, answer: Callable[[Tensor], Any] = lambda logits: logits) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Tanh())
            self.last = nn.Linear(12, CLASSES)
        self.answer = answer

    def forward(self, values: Tensor) -> Any:
        return self.answer(10 * self.last(self.first(20 * (values - 0.5))))


def labels() -> Tensor:
    with torch.no_grad():
        return Network().eval()(images()).argmax(1)


def same(one: robustarena.Evaluation, other: robustarena.Evaluation) -> bool:
    return (one.clean, one.robust, dict(one.attacks)) == (other.clean, other.robust, dict(other.attacks))


def evaluated(model: Any, **options: Any) -> robustarena.Evaluation:
    options = {"attacks": ("noise", "pgd", "apgd-t"), "threat": THREAT, **options}
    return robustarena.evaluate(model, images(), labels(), **options)


@pytest.fixture(scope="module")
def plain() -> robustarena.Evaluation:
    found = evaluated(Network().eval())
    assert found.clean == 1
    assert 0.05 < found.robust < 0.95
    return found


WRAPPED: Mapping[str, Callable[[Tensor], Any]] = {
    "tuple": lambda logits: (logits, "hidden"),
    "list": lambda logits: [logits, None],
    "dict": lambda logits: {"loss": None, "logits": logits, "states": logits},
    "one tensor in a dict": lambda logits: {"scores": logits},
    "an attribute": lambda logits: SimpleNamespace(logits=logits),
    "float64": lambda logits: logits.double(),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_logits_are_found_in_what_people_answer(name: str, plain: robustarena.Evaluation) -> None:
    assert same(evaluated(Network(WRAPPED[name])), plain)


def test_outputs_of_transformers_are_read(plain: robustarena.Evaluation) -> None:
    outputs = pytest.importorskip("transformers.modeling_outputs", exc_type=ImportError)
    assert same(evaluated(Network(lambda logits: outputs.ImageClassifierOutput(logits=logits))), plain)


def test_a_model_in_training_mode_is_measured_in_evaluation_mode(plain: robustarena.Evaluation) -> None:
    module = Network().train()
    assert same(evaluated(module), plain)
    assert all(part.training for part in module.modules())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_another_type_get_inputs_of_theirs(dtype: torch.dtype, plain: robustarena.Evaluation) -> None:
    module = Network().eval().to(dtype)
    with torch.no_grad():
        own = (module(images().to(dtype)).argmax(1) == labels()).double().mean()
    found = evaluated(module)
    assert found.clean == float(own)
    assert abs(found.robust - plain.robust) <= 3 / 24
    assert all(weight.dtype == dtype for weight in module.parameters())
    attacked = robustarena.attack(module, images(), labels(), "pgd", THREAT)
    assert attacked.inputs.dtype == torch.float32
    with torch.no_grad():
        again = module(attacked.inputs.to(dtype)).argmax(1) != labels()
    assert torch.equal(attacked.success, again)


def test_autocast_inside_a_model_works(plain: robustarena.Evaluation) -> None:
    module = Network().eval()

    def cast(values: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            answer: Tensor = module(values)
        return answer

    assert abs(evaluated(cast).robust - plain.robust) <= 3 / 24


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda logits: logits[:, :1], r"one logit each; give one a class: .*torch.cat\(\[-z, z\], 1\)"),
        (lambda logits: logits[:, 0], r"one logit each; give one a class: .*torch.cat\(\[-z, z\], 1\)"),
        (lambda logits: logits[:, :, None, None], r"call \.flatten\(1\)"),
        (lambda logits: logits[:, None].expand(-1, 3, -1), "one axis of classes"),
        (lambda logits: logits[:1], r"answers \[1, 6\] to 2 rows; expected \[2, classes\]"),
        (lambda logits: logits.squeeze(), r"answers \[6\] to one row; .*keep the first axis"),
        (lambda logits: logits.argmax(1), "torch.int64; expected logits"),
        (lambda logits: logits.sum(), "keep the first axis"),
        (lambda logits: None, "answers None; .*does its forward return"),  # noqa: ARG005
        (lambda logits: "seven", "answers str; expected logits"),  # noqa: ARG005
        (lambda logits: logits.detach().numpy(), "answers ndarray; expected logits"),
        (lambda logits: (), "answers tuple; expected logits"),  # noqa: ARG005
        (lambda logits: {"one": logits, "two": logits}, "a dict of one, two; expected `logits`"),
    ],
)
def test_an_answer_that_is_no_decision_is_one_sentence(answer: Callable[[Tensor], Any], reason: str) -> None:
    for run in (robustarena.attack, robustarena.evaluate):
        with pytest.raises(ModelError, match=reason) as caught:
            run(Network(answer), images(), labels(), threat=THREAT)  # type: ignore[operator]
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["noise", "pgd", "apgd-t"])
def test_a_class_that_the_model_does_not_have_is_one_sentence(name: str) -> None:
    wrong = labels()
    wrong[5] = CLASSES
    with pytest.raises(DataError, match=r"label 6 of row 5, but the model has 6 classes, 0 to 5"):
        robustarena.attack(Network(), images(), wrong, name, THREAT)
    if name != "apgd-t":
        with pytest.raises(DataError, match="target 6 of row 5, but the model has 6 classes"):
            robustarena.attack(Network(), images(), labels(), name, THREAT, targets=wrong)


def test_looking_at_a_model_first_is_no_query() -> None:
    found = robustarena.attack(Network(), images(), labels(), "fgsm", THREAT)
    assert (found.cost.forwards, found.cost.backwards, found.cost.queries) == (24, 24, 24)


def masked(kept: list[int], how: str) -> Callable[[Tensor], Tensor]:
    """A linear model whose other classes are at -inf, or, cut, are not there."""
    weights = 2 * draw(1, CLASSES, 16)
    bar = torch.full((CLASSES,), -torch.inf)
    bar[kept] = 0

    def model(values: Tensor) -> Tensor:
        logits = (values.flatten(1) - 0.5) @ weights.T
        if how == "cut":
            return logits[:, kept]
        return logits + bar if how == "added" else logits.masked_fill(torch.isinf(bar), -torch.inf)

    return model


@pytest.mark.parametrize("kept", [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [0, 2, 4, 5], [0, 3, 5], [2, 5]])
@pytest.mark.parametrize("how", ["filled", "added"])
def test_a_class_at_minus_infinity_is_as_one_that_is_not_there(kept: list[int], how: str) -> None:
    left = masked(kept, "cut")(images()).argmax(1)
    without = robustarena.evaluate(masked(kept, "cut"), images(), left, threat=THREAT)
    found = robustarena.evaluate(masked(kept, how), images(), torch.tensor(kept)[left], threat=THREAT)
    assert found.clean == 1
    assert found.robust < 0.9
    assert same(found, without)
    assert dict(found.diagnostics) == dict(without.diagnostics)
    assert not found.left_out


@pytest.mark.parametrize("loss", CLASS_LOSSES)
@pytest.mark.parametrize("kept", [4, 3, 2])
@pytest.mark.parametrize("towards", [False, True])
def test_losses_do_not_see_classes_at_minus_infinity(loss: str, kept: int, towards: bool) -> None:
    """Value and slope: the difference of logits ratio would vanish where the third class is at -inf."""
    logits = draw(4, 40, kept).requires_grad_(True)
    right = torch.arange(40) % kept
    wanted = (right + 1) % kept if towards else None
    filled = torch.cat([logits, torch.full((40, 6 - kept), -torch.inf)], 1)
    slopes = []
    for scores in (logits, filled):
        losses = CLASS_LOSSES[loss](scores, right, wanted)
        slopes.append((losses, *torch.autograd.grad(losses.sum(), logits)))
    assert torch.allclose(slopes[0][0], slopes[1][0])
    assert torch.allclose(slopes[0][1], slopes[1][1])
    assert bool((slopes[1][1].abs().amax(1) > 0).all())


@pytest.mark.parametrize("worst", [torch.nan, torch.inf])
def test_what_no_decision_can_be_made_of_is_right_nowhere_and_broken_nowhere(worst: float) -> None:
    def model(values: Tensor) -> Tensor:
        logits = masked([0, 1, 2, 3], "filled")(values)
        return torch.cat([torch.full_like(logits[:, :1], worst), logits], 1)

    found = robustarena.evaluate(model, images(), labels() % 4 + 1, ["pgd"], THREAT)
    assert (found.clean, found.robust) == (0, 0)
    assert any("non-finite-scores" in text for text in found.diagnostics["none"])
    assert not bool(robustarena.attack(model, images(), labels() % 4 + 1, "noise", THREAT).success.any())


def test_scores_are_decided_where_one_of_each_decision_is_finite() -> None:
    low, nan, high = -torch.inf, torch.nan, torch.inf
    rows = [[0.0, low], [low, low], [nan, 0.0], [high, 0.0], [1.0, 2.0]]
    assert Scores(torch.tensor(rows)).finite().tolist() == [True, False, False, False, True]
    frames = torch.zeros(3, 4, 2)
    frames[0, :, 0] = low
    frames[1, 2] = low
    frames[2, 3, 1] = nan
    assert Scores(frames).finite().tolist() == [True, False, False]


class Writing(nn.Module):
    """Writes into what it reads."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layer = nn.Linear(64, 10)

    def forward(self, values: Tensor) -> Tensor:
        values -= 0.5
        logits: Tensor = self.layer(values.flatten(1))
        return logits


@pytest.mark.parametrize("name", ["noise", "fgsm", "pgd", "apgd-t", "deepfool", "transfer"])
def test_a_model_that_writes_into_its_input_does_not_reach_ours(name: str) -> None:
    values = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    kept, module = values.clone(), Writing()
    right = module(values.clone()).argmax(1)
    options = {"surrogates": (Writing(),)} if name == "transfer" else {}
    found = robustarena.attack(module, values, right, name, "pixels-linf:0.05", **options)  # type: ignore[arg-type]
    assert torch.equal(values, kept)
    assert float((found.inputs - values).abs().max()) <= 0.05 + 1e-6
    assert abs(float(found.distances.max()) - float((found.inputs - values).abs().max())) <= 1e-6
    assert torch.equal(found.success, module(found.inputs.clone()).argmax(1) != right)
    assert not found.diagnostics
    assert name == "noise" or int(found.success.sum()) > 10
    assert robustarena.evaluate(module, values, right, "pgd", "pixels-linf:0.05").clean == 1


def test_an_activation_in_place_is_as_one_that_is_not() -> None:
    found = []
    for inplace in (False, True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            module = nn.Sequential(nn.Threshold(0.5, 0.5, inplace), nn.Flatten(), nn.Linear(16, CLASSES))
        with torch.no_grad():
            right = module(images()).argmax(1)
        found.append(robustarena.attack(module, images(), right, "pgd", THREAT))
    assert torch.equal(found[0].inputs, found[1].inputs)
    assert torch.equal(found[0].success, found[1].success)
    assert int(found[0].success.sum()) > 0


class Pooled(nn.Module):
    """The mean of the real positions, to two classes; `writes` into its mask and its values after reading them."""

    def __init__(self, writes: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layer = nn.Linear(3, 2)
        self.writes = writes

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        real = mask[..., None].float()
        logits: Tensor = self.layer((values * real).sum(1) / real.sum(1).clamp(min=1))
        if self.writes:
            values.mul_(3)
            mask.fill_(True)
        return logits


def from_lengths(lengths: tuple[int, ...], left: bool) -> Tensor:
    places = torch.arange(6)
    return torch.stack([places >= 6 - n if left else places < n for n in lengths])


LENGTHS = (6, 5, 4, 3, 2, 1, 6, 3)
EVERY = torch.tensor([[bool(number >> place & 1) for place in range(6)] for number in range(64)])
MASKS = {
    "left": from_lengths(LENGTHS, left=True),
    "right": from_lengths(LENGTHS, left=False),
    "holes": from_lengths(LENGTHS, left=False) & torch.tensor([True, False, True, True, False, True]),
    "every one that there is": EVERY,
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize("attack", ["pgd", "noise", "deepfool"])
def test_padding_may_lie_anywhere(name: str, writes: bool, attack: str) -> None:
    mask = MASKS[name]
    values = draw(2, len(mask), 6, 3)
    module = Pooled(writes)
    right = Pooled()(values, mask).argmax(1)
    given = mask.clone()
    found = robustarena.attack(module, values, right, attack, "embeddings-l2:1.5", mask=given, batch_size=5)
    assert torch.equal(given, mask)
    with torch.no_grad():
        assert torch.equal(found.success, Pooled()(found.inputs, mask).argmax(1) != right)
    still = found.inputs == values
    assert bool(still[~mask].all())
    assert attack == "noise" or bool((~still[mask].all(1)).any())
    distances = (found.inputs - values).double().flatten(1).norm(dim=1)
    assert torch.allclose(distances, found.distances, atol=1e-6)
    assert not any("batched" in text for text in found.diagnostics)


class Words(nn.Module):
    """Word ids or their vectors to two classes, as ReviewNet reads them, writing into both."""

    differentiable = True

    def __init__(self) -> None:
        super().__init__()
        self.table = draw(5, 9, 4)

    def embed(self, ids: Tensor) -> Tensor:
        return self.table[ids]

    def __call__(self, inputs: Inputs) -> Scores:
        values, mask = inputs.values, inputs.mask
        assert mask is not None
        vectors = values if values.is_floating_point() else self.embed(values)
        vectors -= 0.1
        logits = (vectors * mask[..., None].float()).sum(1)[:, :2]
        mask.fill_(False)
        if not values.is_floating_point():
            values.zero_()
        return Scores(logits)


def test_word_vectors_and_masks_may_be_written_into() -> None:
    ids, mask = torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([[True, True, True], [True, True, False]])
    table = torch.stack([ids, (ids + 1) % 9, (ids + 2) % 9], 2)
    inputs = Inputs(ids.clone(), mask.clone())
    threat = Threat.parse("words-l0:2")
    space = words(inputs, threat, table)
    victim = Words()
    goal, keys = Flip(torch.tensor([0, 1])), Keys.of(0, ["a", "b"])
    problem = Problem(victim, space, goal, threat, keys, ledger=Ledger(), early_stopping=False)
    first = problem.choices(space.null())
    jacobian = problem.jacobian(space.null(), lambda scores: scores)
    second = problem.choices(space.null())
    assert bool((first.values[torch.isfinite(first.values)] != 0).any())
    assert torch.equal(first.values, second.values)
    assert torch.equal(first.scores.values, jacobian.outputs)
    assert torch.equal(problem.evaluate(space.null()).scores.values, jacobian.outputs)  # type: ignore[union-attr]
    assert torch.equal(inputs.values, ids)
    assert torch.equal(inputs.mask, mask)  # type: ignore[arg-type]


def test_whoever_is_asked_reads_a_copy() -> None:
    def writes(values: Tensor, mask: Tensor) -> Tensor:
        logits = values.sum((1, 2))[:, None] * torch.tensor([1.0, -1.0])
        values.zero_()
        mask.zero_()
        return logits

    inputs = Inputs(draw(0, 4, 6, 3), MASKS["left"][:4].clone())
    before = inputs.clone()
    first = ask(ModuleVictim(writes), inputs).values
    assert inputs.same_as(before)
    assert torch.equal(first, ask(ModuleVictim(writes), inputs).values)


@pytest.mark.parametrize("first", [True, False])
def test_a_model_of_one_length_is_not_asked_about_shorter_rows(first: bool) -> None:
    """It reads a row with its padding only, whichever row is padded."""
    draw = torch.Generator().manual_seed(0)
    vectors, weight = torch.randn(6, 5, 3, generator=draw), torch.randn(15, 4, generator=draw)
    mask = torch.ones(6, 5, dtype=torch.bool)
    mask[0 if first else 1, 3:] = False

    def model(values: Tensor, real: Tensor) -> Tensor:
        return (values * real[..., None]).flatten(1) @ weight

    labels = model(vectors, mask).argmax(1)
    found = robustarena.evaluate(model, vectors, labels, threat="embeddings-l2:0.3", mask=mask)
    assert found.clean == 1
    assert not found.diagnostics
