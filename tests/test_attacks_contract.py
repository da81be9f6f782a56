"""What every registered attack promises on every surface that it claims, and what it says where it does not fit."""

from __future__ import annotations

import ast
import contextlib
import inspect
import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adversarial.attacks import ENTRIES
from adversarial.audit import audit
from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption, NotApplicable, QueryLimitReached
from adversarial.goals import Flip
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.registry import resolve
from adversarial.signatures import _read, parameters
from adversarial.spaces import Space, embeddings, observations, pixels, waveform, words
from adversarial.threats import BUILT_IN, Threat


ROWS = 6
TESTED = ("pixels", "waveform", "embeddings", "observations", "words")
NORMS = {"pixels": "linf", "waveform": "snr", "embeddings": "l2", "observations": "linf", "words": "l0"}
BUDGETS = {"pixels": 0.2, "waveform": 15.0, "embeddings": 1.0, "observations": 0.5, "words": 2.0}
ZERO = {**dict.fromkeys(BUDGETS, 0.0), "waveform": float("inf")}
HOTFLIP = next(entry for entry in ENTRIES if entry.name == "hotflip")
# The search for a given transcript needs a transcriber: tests/test_ctc_target.py has one.
GENERAL = [entry for entry in ENTRIES if entry.name != "cw-ctc"]
# The victims here decide among classes, also on waveforms; nobody writes transcripts.
OFFERS = {surface: BUILT_IN[surface].offers - {"transcripts"} for surface in TESTED}
PAIRS = [(entry, surface) for entry in GENERAL for surface in TESTED if not entry.lacks(OFFERS[surface])]
MISFITS = [(entry, surface) for entry in ENTRIES for surface in TESTED if entry.lacks(OFFERS[surface])]


def name(value: object) -> str:
    return value.name if isinstance(value, AttackEntry) else str(value)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class RowWise:
    """Three classes, smooth and curved, made of elementwise products and sums over a row: no kernel that could round
    a row by its neighbours. Counts the rows that pass through it, both ways."""

    differentiable = True

    def __init__(self, width: int) -> None:
        self.weight, self.table = draw(7, 3, width), draw(8, 200, 4)
        self.forwards = self.backwards = 0

    def embed(self, ids: Tensor) -> Tensor:
        return self.table[ids]

    def __call__(self, inputs: Inputs) -> Scores:
        values = inputs.values if inputs.values.is_floating_point() else self.embed(inputs.values)
        if inputs.mask is not None:
            values = values * inputs.mask.reshape(*inputs.mask.shape, *[1] * (values.ndim - inputs.mask.ndim))
        self.forwards += len(values)
        if values.requires_grad:
            values.register_hook(self._count)
        flat = values.flatten(1)
        if flat.shape[1] < self.weight.shape[1]:
            flat = torch.nn.functional.pad(flat, (0, self.weight.shape[1] - flat.shape[1]))
        bent = flat + 0.3 * torch.sin(3 * flat)
        return Scores(torch.stack([(bent * weight).sum(1) for weight in self.weight], 1))

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def batch(surface: str) -> tuple[Inputs, int]:
    if surface == "pixels":
        return Inputs((draw(1, ROWS, 1, 5, 5) * 0.3 + 0.5).clamp(0, 1)), 25
    if surface == "observations":
        return Inputs(draw(1, ROWS, 4)), 4
    mask = torch.arange(40 if surface == "waveform" else 6) < torch.tensor([6, 5, 4, 3, 2, 1])[:, None] * (
        6 if surface == "waveform" else 1
    )
    if surface == "waveform":
        return Inputs((draw(1, ROWS, 40) * 5000).round() / 32768 * mask, mask), 40
    if surface == "embeddings":
        return Inputs(draw(1, ROWS, 6, 4) * mask[:, :, None], mask), 24
    ids = torch.randint(0, 50, (ROWS, 6), generator=torch.Generator().manual_seed(1))
    return Inputs(torch.where(mask, ids, 0), mask), 24


def space(surface: str, inputs: Inputs, threat: Threat) -> Space:
    if surface == "observations":
        return observations(inputs, threat, torch.tensor([1.0, 2.0, 0.1, 0.5]))
    if surface == "words":
        others = inputs.values[:, :, None] + 50 * torch.arange(1, 4)
        return words(inputs, threat, torch.cat([inputs.values[:, :, None], others], 2))
    return {"pixels": pixels, "waveform": waveform, "embeddings": embeddings}[surface](inputs, threat)


def threat_of(entry: AttackEntry, surface: str, budgets: dict[str, float] = BUDGETS) -> Threat:
    if entry.name == "jsma" and (entry, surface) in PAIRS:
        return Threat(surface, "l0", 2.0 if budgets is BUDGETS else 0.0, entry.access)  # type: ignore[arg-type]
    return Threat(surface, NORMS[surface], budgets[surface], entry.access)  # type: ignore[arg-type]


def problem(
    entry: AttackEntry,
    surface: str,
    threat: Threat | None = None,
    rows: list[int] | None = None,
    seed: int = 0,
    early_stopping: bool = False,
) -> tuple[Problem, RowWise]:
    """All rows by default. Labels are the victim's own decisions, so that every row begins unbroken. A victim that is
    not to be asked gets a surrogate that counts for it."""
    threat = threat_of(entry, surface) if threat is None else threat
    inputs, width = batch(surface)
    victim = RowWise(width)
    labels = victim(inputs).values.argmax(1)
    chosen = torch.arange(ROWS) if rows is None else torch.tensor(rows)
    victim.forwards = victim.backwards = 0
    keys, ledger = Keys.of(seed, [f"row-{row}" for row in chosen.tolist()]), Ledger()
    place, goal = space(surface, inputs.take(chosen), threat), Flip(labels[chosen])
    surrogates = ()
    if entry.access == "surrogate":
        asked = threat.with_access("gradient")
        surrogates = (Problem(victim, place, goal, asked, keys, ledger=ledger, early_stopping=False),)
    return Problem(
        victim,
        place,
        goal,
        threat,
        keys,
        ledger=ledger,
        early_stopping=early_stopping,
        minimum_norm=entry.minimum_norm,
        surrogates=surrogates,
    ), victim


def run(entry: AttackEntry, attacked: Problem, surface: str) -> None:
    """Few steps; what is fitted learns on rows of its own, whose passes are not counted here."""
    options = parameters(entry)
    for option in ("steps", "binary_steps"):
        if options.get(option, 0) > 5:
            options[option] = 5
    if "restarts" in options:
        options["restarts"] = 2
    function = partial(resolve(entry.code), **options)
    if entry.stage != "fit":
        function(attacked)
        return
    fitted = replace(entry, stage="test")
    function(lambda: iter([problem(fitted, surface, attacked.threat, seed=5)[0]]))(attacked)


@pytest.mark.parametrize(("entry", "surface"), PAIRS, ids=name)
def test_it_stays_inside_leaves_its_input_alone_and_never_lowers_the_loss(entry: AttackEntry, surface: str) -> None:
    attacked, victim = problem(entry, surface, threat_of(entry, surface))
    before = attacked.inputs.clone()
    run(entry, attacked, surface)
    audited = audit(attacked.space, attacked.best.d, before)
    # force wants one class, and leaves rows alone that have it.
    if "steps" in parameters(entry) and entry.name not in ("hotflip-one-step", "force"):
        after = attacked.goal.loss(victim(audited.inputs), "ce")
        assert bool((after >= attacked.goal.loss(victim(before), "ce") - 1e-5).all())
        assert bool((audited.distance > 0).all())


@pytest.mark.parametrize(("entry", "surface"), PAIRS, ids=name)
def test_the_same_seed_gives_the_same_bytes_alone_in_threes_and_reversed(entry: AttackEntry, surface: str) -> None:
    whole, _ = problem(entry, surface, threat_of(entry, surface))
    run(entry, whole, surface)
    for groups in ([[0], [1], [2], [3], [4], [5]], [[0, 1, 2], [3, 4, 5]], [[5, 4, 3, 2, 1, 0]]):
        for rows in groups:
            part, _ = problem(entry, surface, threat_of(entry, surface), rows)
            run(entry, part, surface)
            assert torch.equal(part.best.d, whole.best.d[rows])


@pytest.mark.parametrize(("entry", "surface"), PAIRS, ids=name)
def test_another_seed_gives_other_bytes_where_there_is_chance(entry: AttackEntry, surface: str) -> None:
    one, _ = problem(entry, surface, threat_of(entry, surface))
    other, _ = problem(entry, surface, threat_of(entry, surface), seed=1)
    run(entry, one, surface)
    run(entry, other, surface)
    assert torch.equal(one.best.d, other.best.d) != entry.name.startswith(("noise", "pgd", "apgd"))


@pytest.mark.parametrize(("entry", "surface"), PAIRS, ids=name)
def test_a_budget_of_nothing_changes_nothing(entry: AttackEntry, surface: str) -> None:
    attacked, _ = problem(entry, surface, threat_of(entry, surface, ZERO))
    run(entry, attacked, surface)
    assert attacked.space.apply(attacked.best.d).same_as(attacked.inputs)


@pytest.mark.parametrize(("entry", "surface"), PAIRS, ids=name)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_ledger_counts_what_passes_through_the_victim(
    entry: AttackEntry, surface: str, early_stopping: bool
) -> None:
    attacked, victim = problem(entry, surface, threat_of(entry, surface), early_stopping=early_stopping)
    run(entry, attacked, surface)
    assert attacked.ledger.forwards == victim.forwards
    assert attacked.ledger.backwards == victim.backwards
    if not early_stopping and entry.name == "pgd":
        assert (victim.forwards, victim.backwards) == (2 * 6 * ROWS, 2 * 5 * ROWS)
    if entry.name == "fgsm":
        assert (victim.forwards, victim.backwards) == (ROWS, ROWS)
    if entry.access == "none":
        assert victim.forwards == 0


@pytest.mark.parametrize(("entry", "surface"), [p for p in PAIRS if p[0].access != "none"], ids=name)
@pytest.mark.parametrize("limit", [1, 3])
def test_no_row_asks_more_often_than_its_limit(entry: AttackEntry, surface: str, limit: int) -> None:
    attacked, victim = problem(entry, surface, replace(threat_of(entry, surface), query_limit=limit))
    with contextlib.suppress(QueryLimitReached):
        run(entry, attacked, surface)
    assert int(attacked.best.asked.max()) <= limit
    assert victim.forwards <= limit * ROWS


@pytest.mark.parametrize("surface", TESTED)
def test_rows_that_are_done_leave_at_once(surface: str) -> None:
    entry = next(e for e in ENTRIES if e.name == ("hotflip" if surface == "words" else "pgd"))
    threat = threat_of(entry, surface, {**BUDGETS, "pixels": 1.0, "waveform": -20.0, "observations": 9.0})
    attacked, victim = problem(entry, surface, threat, early_stopping=True)
    run(entry, attacked, surface)
    full, all_rows = problem(entry, surface, threat)
    run(entry, full, surface)
    assert int(attacked.best.success.sum()) > 0
    assert victim.forwards < all_rows.forwards
    assert torch.equal(attacked.best.success, full.best.success)


@pytest.mark.parametrize(("entry", "surface"), MISFITS, ids=name)
def test_a_pair_that_does_not_fit_says_why(entry: AttackEntry, surface: str) -> None:
    assert len(entry.lacks(OFFERS[surface])) > 20
    if entry.name == "force":
        return  # to force one action is a search for one class wherever there are some: what lacks is the episode
    attacked, _ = problem(entry, surface, threat_of(entry, surface))
    with pytest.raises(NotApplicable):
        run(entry, attacked, surface)


@pytest.mark.parametrize("entry", ENTRIES, ids=name)
def test_no_attack_file_names_a_surface(entry: AttackEntry) -> None:
    """The syntax tree, docstrings aside: an attack that asks where it is would be written twice."""
    path = Path(inspect.getfile(resolve(entry.code)))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in (one for part in tree.body if not isinstance(part, ast.Assign) for one in ast.walk(part)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            assert not any(surface in node.value.split() for surface in BUILT_IN), node.value
        named = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        assert named not in BUILT_IN
        assert named != "surface"


@pytest.mark.parametrize("entry", ENTRIES, ids=name)
def test_parameters_are_read_as_the_function_has_them_without_importing_it(entry: AttackEntry) -> None:
    signature = inspect.signature(resolve(entry.code)).parameters
    options = {key: p.default for key, p in signature.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    module, _, function = str(entry.code).partition(":")
    assert dict(_read(module, function)) == options
    assert parameters(entry) == {**options, **entry.params}


@pytest.mark.parametrize("surface", ["pixels", "observations"])
@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_steps_that_are_shares_of_the_budget_need_a_finite_one(attack: str, surface: str) -> None:
    entry = next(entry for entry in ENTRIES if entry.name == attack)
    attacked, victim = problem(entry, surface, threat_of(entry, surface, dict.fromkeys(TESTED, float("inf"))))
    with pytest.raises(NotApplicable, match="must be finite"):
        run(entry, attacked, surface)
    assert victim.forwards == 0


@pytest.mark.parametrize("options", [{"steps": 0}, {"restarts": 0}, {"relative_step": 0.0}, {"relative_step": -1.0}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    entry = next(entry for entry in ENTRIES if entry.name == "pgd")
    attacked, _ = problem(entry, "pixels")
    with pytest.raises(InvalidOption, match="must be"):
        resolve(entry.code)(attacked, **options)


@pytest.mark.parametrize("steps", [1, 6])
def test_a_fraction_of_a_word_is_no_word(steps: int) -> None:
    """A budget of 1.5 must not choose two words and lose the better one to the projection."""
    found = []
    for budget in (1.0, 1.5):
        attacked, _ = problem(HOTFLIP, "words", Threat("words", "l0", budget))
        resolve("adversarial.attacks.hotflip:hotflip")(attacked, steps=steps)
        found.append(attacked.best.d)
    assert torch.equal(*found)


def test_a_gain_is_the_first_order_change_from_what_stands_there_now() -> None:
    attacked, victim = problem(HOTFLIP, "words", Threat("words", "l0", 2.0))
    d = torch.zeros(ROWS, 6, dtype=torch.int64)
    d[:, 0] = 2
    gains = attacked.gains(d, "margin")
    vectors = victim.embed(attacked.space.apply(d).values)
    assert bool((gains[:, 0, 2] == 0).all())
    assert bool((gains[:, 1:, 0][attacked.inputs.mask[:, 1:]] == 0).all())  # type: ignore[index]
    size, row = 1e-3, 1
    for position, choice in ((0, 0), (0, 3), (1, 1)):
        table = attacked.space.candidates()  # type: ignore[attr-defined]
        step = victim.embed(table[row, position, choice]) - vectors[row, position]
        losses = []
        for sign in (-size, size):
            moved = vectors.clone()
            moved[row, position] += sign * step
            scores = victim(Inputs(moved, attacked.inputs.mask))
            losses.append(float(attacked.goal.loss(scores, "margin")[row]))
        assert float(gains[row, position, choice]) == pytest.approx(
            (losses[1] - losses[0]) / (2 * size), rel=0.02, abs=0.01
        )
    assert bool(torch.isinf(gains[5, 1:, 1:]).all())  # padding has no other choice


def looks(attacked: Problem) -> list[Tensor]:
    """The points at which the attack takes gradients or gains, as it goes."""
    found: list[Tensor] = []
    for method in ("gradient", "gains"):
        own = getattr(attacked, method)
        setattr(attacked, method, lambda d, *how, own=own: found.append(d.clone()) or own(d, *how))
    return found


@pytest.mark.parametrize("surface", ["pixels", "waveform", "embeddings", "observations"])
def test_every_restart_starts_somewhere_else(surface: str) -> None:
    entry = next(entry for entry in ENTRIES if entry.name == "pgd")
    attacked, _ = problem(entry, surface, threat_of(entry, surface))
    found = looks(attacked)
    resolve(entry.code)(attacked, steps=1, restarts=3)
    assert len(found) == 3
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert bool(((found[one] != found[other]).flatten(1).any(1)).all())


def test_hotflip_never_takes_a_replacement_back() -> None:
    """Undoing would gain here now and then, and run in circles; exchanging is allowed."""
    undoing = 0
    for seed in range(6):
        attacked, victim = problem(HOTFLIP, "words", Threat("words", "l0", 3.0))
        victim.table = draw(seed, 200, 4) * 3
        found = looks(attacked)
        resolve("adversarial.attacks.hotflip:hotflip")(attacked, steps=8)
        for before, after in itertools.pairwise(found):
            assert bool(((after != 0) | (before == 0)).all())
        gains = Problem.gains(attacked, found[-1])
        undoing += int((gains[:, :, 0] > gains[:, :, 1:].amax(2).clamp(min=0)).sum())
    assert undoing > 0
