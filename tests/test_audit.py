"""The audit catches what breaks the rules, and never what keeps them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from adversarial.attacks.pgd import pgd
from adversarial.audit import audit
from adversarial.errors import AuditFailure, DataError, InvalidOption
from adversarial.inputs import Inputs, Scores
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.spaces import observations
from adversarial.threats import BUILT_IN, Threat
from adversarial.victims import ModuleVictim, Victim
from tasks.measuring.arrays import ArrayTask
from tasks.measuring.protocol import Trial
from tasks.measuring.static import measure_static


def network() -> ModuleVictim:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ModuleVictim(nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.BatchNorm1d(16), nn.Linear(16, 4)))


def measure(attack: Callable[[Problem], None], threat: str, victim: Victim | None = None) -> None:
    images = torch.rand(10, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(10) % 4
    trial = Trial(Threat.parse(threat), attack, batch_size=4)
    measure_static(ArrayTask(Inputs(images), labels), victim or network(), trial, Ledger())


@pytest.mark.parametrize("threat", ["pixels-linf:0.1", "pixels-l2:0.7"])
@pytest.mark.parametrize("excess", [1e-4, 0.1, 3.0])
def test_over_budget_even_by_a_hair(threat: str, excess: float) -> None:
    def greedy(problem: Problem) -> None:
        inside = problem.space.with_budget(problem.space.radius * (1 + excess))
        problem.evaluate(inside.project(torch.full_like(problem.inputs.values, 0.2) * (1 + excess)))

    with pytest.raises(AuditFailure, match="over budget"):
        measure(greedy, threat)


def test_a_success_over_budget_is_never_clipped_into_one() -> None:
    def cheat(problem: Problem) -> None:
        d = problem.space.null()
        for _ in range(20):
            d = d + problem.gradient(d).values.sign()
        problem.evaluate(d)

    with pytest.raises(AuditFailure, match="over budget"):
        measure(cheat, "pixels-linf:0.1")


def test_writing_into_the_input() -> None:
    def overwrite(problem: Problem) -> None:
        problem.inputs.values.add_(0.001)

    with pytest.raises(AuditFailure, match="changed its input"):
        measure(overwrite, "pixels-linf:0.1")


def test_leaving_the_input_range() -> None:
    def brighten(problem: Problem) -> None:
        problem.submit(problem.space.null() + 0.0999)

    with pytest.raises(AuditFailure, match="outside of the input range"):
        measure(brighten, "pixels-linf:0.1")


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_budget_made_larger_in_place(norm: str) -> None:
    def loosen(problem: Problem) -> None:
        problem.space.radius.mul_(1.5)
        space = problem.space.with_budget(problem.space.radius)
        problem.submit(space.project(0.5 - problem.inputs.values))

    with pytest.raises(AuditFailure, match="over budget"):
        measure(loosen, f"pixels-{norm}:0.1")


def test_writing_into_a_model_inside_another_or_exchanging_its_weights() -> None:
    class Ensemble:
        differentiable = True

        def __init__(self) -> None:
            self.members = [network(), network()]

        def __call__(self, inputs: Inputs) -> Scores:
            return Scores(sum((member(inputs).values for member in self.members), torch.zeros(())))

    victim = Ensemble()
    module = victim.members[1].module

    def poison(problem: Problem) -> None:  # noqa: ARG001
        with torch.no_grad():
            next(module.parameters()).mul_(2)

    def exchange(problem: Problem) -> None:  # noqa: ARG001
        module[1].bias = nn.Parameter(torch.ones(16), requires_grad=False)

    for attack in (poison, exchange):
        with pytest.raises(AuditFailure, match="victim's weights or buffers"):
            measure(attack, "pixels-linf:0.1", victim)


def test_a_distance_that_is_no_number() -> None:
    inputs, threat = Inputs(torch.full((1, 2), 3e38)), Threat.parse("observations-linf:1")
    space = observations(inputs, threat, torch.tensor([1e-38, 1.0]))

    class Lost(type(space)):  # type: ignore[misc]
        def distance(self, inputs: Inputs) -> Tensor:
            return torch.full((len(inputs),), torch.nan, dtype=torch.float64)

    lost = Lost(space.inputs, space.radius, space.geometry)
    with pytest.raises(AuditFailure, match="over budget"):
        audit(lost, lost.null(), inputs.clone())


def test_writing_into_the_model() -> None:
    victim = network()

    def poison(problem: Problem) -> None:  # noqa: ARG001
        with torch.no_grad():
            next(victim.module.parameters()).add_(1e-3)

    def train(problem: Problem) -> None:
        victim.module.train()
        problem.evaluate(problem.space.null())
        victim.module.eval()

    for attack in (poison, train):
        with pytest.raises(AuditFailure, match="victim's weights or buffers"):
            measure(attack, "pixels-linf:0.1", victim)


def test_what_is_no_number_or_of_another_shape() -> None:
    def nan(problem: Problem) -> None:
        problem.submit(problem.space.null() / 0)

    with pytest.raises(AuditFailure, match="not finite"):
        measure(nan, "pixels-linf:0.1")

    def shapeless(problem: Problem) -> None:
        problem.best.d = problem.best.d[:, :1]

    with pytest.raises(AuditFailure, match="shape"):
        measure(shapeless, "pixels-linf:0.1")


def test_changed_padding() -> None:
    values, mask = torch.zeros(3, 8), torch.arange(8) < torch.tensor([8, 5, 2])[:, None]
    values = torch.where(mask, 0.5, 0.0)

    class Mean:
        differentiable = True

        def __call__(self, inputs: Inputs) -> object:
            assert inputs.mask is not None
            mean = (inputs.values * inputs.mask).sum(1) / inputs.mask.sum(1)
            return Scores(torch.stack([-mean, mean], 1))

    def smear(problem: Problem) -> None:
        problem.submit(problem.space.null() + 2.0**-15)

    task = ArrayTask(Inputs(values, mask), torch.ones(3, dtype=torch.int64), surface=BUILT_IN["waveform"])
    trial = Trial(Threat.parse("waveform-linf:0.1"), smear, batch_size=3)
    with pytest.raises(AuditFailure, match="changed padding in 2 of 3 rows"):
        measure_static(task, Mean(), trial, Ledger())  # type: ignore[arg-type]


@pytest.mark.parametrize("budget", [0.001, 0.0313725, 0.3, 1.0])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_honest_attack_never_fails(norm: str, budget: float) -> None:
    measure(lambda problem: pgd(problem, steps=5, restarts=2), f"pixels-{norm}:{budget}")


@pytest.mark.parametrize(
    ("values", "labels", "threat", "reason"),
    [
        (torch.zeros(2, 4).double(), [0, 1], "observations-linf:1", "inputs must be float32"),
        (torch.zeros(2, 4), [0, -100], "observations-linf:1", "at least 0, got -100"),
        (torch.zeros(2, 4), [0, 1], "observations-linf:1", "needs scale="),
        (torch.full((2, 4), 2.0), [0, 1], "pixels-linf:1", "must lie in"),
        (torch.full((2, 4), 1.0), [0, 1], "waveform-linf:1", "16-bit samples"),
        (torch.full((2, 4), 0.1), [0, 1], "waveform-linf:1", "16-bit samples"),
    ],
)
def test_data_that_does_not_fit_its_surface_is_refused(
    values: Tensor, labels: list[int], threat: str, reason: str
) -> None:
    trial = Trial(Threat.parse(threat), pgd)
    with pytest.raises(DataError, match=reason):
        measure_static(ArrayTask(Inputs(values), torch.tensor(labels)), network(), trial, Ledger())


def test_an_attack_without_a_threat_is_no_clean_pass() -> None:
    with pytest.raises(InvalidOption, match="needs a threat"):
        measure_static(ArrayTask(Inputs(torch.zeros(1, 48)), torch.tensor([0])), network(), Trial(None, pgd), Ledger())
