"""The loss that asks every frame for another symbol: its optimum in closed form, and what it finds that the likelihood
of the right transcript does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adversarial.attacks.apgd import apgd
from adversarial.attacks.pgd import pgd
from adversarial.errors import InvalidOption, UnknownName
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.problem import Problem
from adversarial.spaces import waveform
from adversarial.threats import Threat
from tasks.speech.goal import FRAME_MARGIN, WorstTranscript
from tasks.speech.losses import frame_margin
from tasks.speech.transcripts import ALPHABET, SYMBOLS, decode


WINDOW, ROWS = 8, 6
THREAT = Threat("waveform", "linf", 0.05)


class Linear:
    """Each frame is a linear function of its own samples: frames do not meet, so each has its optimum at a corner."""

    differentiable = True

    def __init__(self, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.weight = torch.randn(SYMBOLS, WINDOW, generator=draw)
        self.asked = 0

    def __call__(self, inputs: Inputs) -> Scores:
        self.asked += len(inputs)
        assert inputs.mask is not None
        frames = inputs.values.unflatten(1, (-1, WINDOW))
        return Scores(frames @ self.weight.T, inputs.mask.unflatten(1, (-1, WINDOW)).all(2))


def problem(seed: int, early_stopping: bool = False) -> tuple[Problem, Linear]:
    draw = torch.Generator().manual_seed(100 + seed)
    victim = Linear(seed)
    mask = torch.arange(12 * WINDOW) < torch.tensor([12, 12, 9, 7, 4, 2])[:, None] * WINDOW
    samples = (torch.rand(ROWS, 12 * WINDOW, generator=draw) - 0.5) * mask
    inputs = Inputs((samples * 32768).round() / 32768, mask)
    said = [text or "oh" for text in decode(victim(inputs))]
    victim.asked = 0
    keys = Keys.of(0, [str(row) for row in range(ROWS)])
    goal = WorstTranscript.of(said)
    return Problem(victim, waveform(inputs, THREAT), goal, THREAT, keys, early_stopping=early_stopping), victim


def optimum(attacked: Problem, victim: Linear) -> Tensor:
    """The highest loss of each row: every frame by its best other symbol, at the corner that favours it."""
    scores = victim(attacked.inputs)
    path = scores.values.argmax(2)
    reach = (victim.weight[path][:, :, None] - victim.weight).abs().sum(3) * THREAT.budget
    lead = scores.values - scores.values.gather(2, path[:, :, None]) + reach
    best = lead.scatter(2, path[:, :, None], -torch.inf).amax(2)
    assert scores.mask is not None
    return -((1 - best).clamp(min=0) * scores.mask).sum(1)


@pytest.mark.parametrize("seed", range(3))
def test_the_search_comes_to_the_optimum_of_a_linear_transcriber(seed: int) -> None:
    attacked, victim = problem(seed)
    best = optimum(attacked, victim)
    assert bool((best < -0.1).any())  # some frame keeps its symbol whatever one does
    pgd(attacked, steps=60, restarts=4, loss=FRAME_MARGIN)
    assert bool((attacked.best.top_loss <= best + 1e-3).all())
    start = attacked.best.first_loss
    assert float((attacked.best.top_loss - start).sum()) >= 0.95 * float((best - start).sum())


def test_a_frame_that_says_something_else_counts_no_more() -> None:
    path = torch.tensor([[2, 3]])
    values = torch.zeros(1, 2, SYMBOLS)
    values[0, 0, 2], values[0, 1, 3] = 5.0, 4.0
    assert float(frame_margin(Scores(values), path)) == -(6 + 5)
    values[0, 0, 7] = 6.0  # flipped by exactly the margin
    assert float(frame_margin(Scores(values), path)) == -5
    values[0, 0, 7] = 60.0  # and further flipped it is worth no more
    values.requires_grad_()
    frame_margin(Scores(values), path).sum().backward()
    assert values.grad is not None
    assert not bool(values.grad[0, 0].any())
    assert bool(values.grad[0, 1].any())
    masked = Scores(values.detach(), torch.tensor([[True, False]]))
    assert float(frame_margin(masked, path)) == 0


def test_the_clean_pass_is_one_query_a_row_and_no_rival_of_what_follows() -> None:
    """Its loss is of another kind: were it kept, a row that breaks late would be left undisturbed."""
    attacked, victim = problem(0)
    pgd(attacked, steps=3, loss=FRAME_MARGIN)
    assert victim.asked == attacked.ledger.forwards == ROWS * (1 + 3 + 1)
    assert bool((attacked.best.asked == 5).all())
    assert bool((attacked.best.d != 0).flatten(1).any(1).all())
    plain, victim = problem(0)
    pgd(plain, steps=3)
    assert victim.asked == ROWS * 4


def test_it_finds_words_that_the_likelihood_is_blind_to() -> None:
    """Over several transcribers, at equal steps."""
    harm = {}
    for loss in ("ce", FRAME_MARGIN):
        rates = []
        for seed in range(12):
            attacked, victim = problem(seed)
            pgd(attacked, steps=20, loss=loss)
            rates.append(attacked.goal.judge(victim(attacked.space.apply(attacked.best.d))).damage.mean())
        harm[loss] = float(torch.stack(rates).mean())
    assert harm[FRAME_MARGIN] > harm["ce"]


def test_it_needs_the_clean_path_and_its_name() -> None:
    attacked, victim = problem(0)
    with pytest.raises(InvalidOption, match="knowing_clean_scores"):
        attacked.goal.loss(victim(attacked.inputs), FRAME_MARGIN)
    with pytest.raises(UnknownName, match="did you mean 'frame-margin'"):
        pgd(attacked, loss="frame-margins")
    apgd(attacked, steps=5, loss=FRAME_MARGIN)  # and runs in every search that names its loss
    assert ALPHABET[0] == "\0"
