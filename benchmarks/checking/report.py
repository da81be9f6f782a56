"""Looking at a model before it is measured: eight examples, a few passes, and what is wrong in words."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from adversarial.entries import TaskEntry
from adversarial.errors import RobustArenaError
from adversarial.goals import Flip, Goal
from adversarial.inputs import Inputs, Scores
from adversarial.ledger import Ledger
from adversarial.registry import Registry
from adversarial.victims import Victim, weight_versions
from benchmarks.checking.checks import LOOKS, Check, evaluation_mode, value_range, weights_unchanged
from tasks.data import OwnData
from tasks.data.making import task_of
from tasks.measuring.protocol import Task, Trial
from tasks.models import Expected, LoadedModel, Source, expected_of, load_source


SAMPLE: Final = 8  # examples


@dataclass(frozen=True, slots=True)
class Report:
    """What was found about a model. hash, facts: empty where it could not be loaded."""

    model: str
    task: str
    checks: tuple[Check, ...]
    seconds: float
    hash: str = ""
    carried: bool = False
    facts: Mapping[str, str | int | float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether there is no problem; notes are none."""
        return all(check.level != "problem" for check in self.checks)


def check_model(
    source: Source, entry: TaskEntry, registry: Registry, device: torch.device, data: OwnData | None = None
) -> Report:
    """Loads the model and looks at it; whatever is wrong with it is a check that says so, never an exception.

    data: a user's own, in place of the task's.
    """
    start = time.monotonic()
    try:
        loaded = load_source(source, entry, registry, device, data)
        task: Task = task_of(entry, data)
    except Exception as error:
        kind = "" if isinstance(error, RobustArenaError) else f"{type(error).__name__}: "
        failed = Check("loads", "problem", f"{kind}{error}")
        return Report(str(source), entry.name, (failed,), time.monotonic() - start)
    checks = [Check("loads", "ok", f"in {time.monotonic() - start:.1f} s")]
    checks += [Check(name, "note", text) for name, text in loaded.notes.items()]
    checks += _looks(loaded, task, expected_of(entry.name, data), device)
    return Report(
        str(source), entry.name, tuple(checks), time.monotonic() - start, loaded.hash, loaded.carried, loaded.facts
    )


def _looks(loaded: LoadedModel, task: Task, expected: Expected | None, device: torch.device) -> Iterator[Check]:
    victim = loaded.victim
    weights = weight_versions(victim)
    yield evaluation_mode(victim)
    wanted = f"{task.name} wants {expected.inputs}, answered by {expected.scores}" if expected else ""
    try:
        inputs, truth = _sample(task, device)
        given = inputs.clone()
        with torch.no_grad():
            scores = victim(inputs)
    except Exception as error:
        yield Check("answers", "problem", f"{type(error).__name__}: {error}", wanted)
        return
    if fault := _fault(scores, inputs, expected, loaded.others):
        yield Check("scores", "problem", fault, wanted)
        return
    yield Check("scores", "ok", f"{_shape(scores.values)} for {_shape(inputs.values)}")
    if not inputs.same_as(given):
        yield Check("inputs", "problem", "the model writes into its inputs", "copy what it changes")
        inputs = given
    if not bool(scores.finite().all()):
        yield value_range(victim, inputs, scores, Flip(torch.zeros(len(inputs), dtype=torch.int64)))
        return
    goal = truth if truth is not None else Flip(scores.values.argmax(1))
    for name, look in LOOKS.items():
        try:
            found = look(victim, inputs, scores, goal)
        except Exception as error:
            found = Check(name, "problem", f"{type(error).__name__}: {error}", wanted)
        if found is not None:
            yield found
    yield weights_unchanged(weights, weight_versions(victim))
    yield _clean(task, victim, expected, device)


def _sample(task: Task, device: torch.device) -> tuple[Inputs, Goal | None]:
    """Some examples of the test split in one batch, and the goal to make them wrong; None where the model's own
    decisions are what is right."""
    static: Any = task
    if hasattr(static, "batches"):
        (batch,) = static.batches("test", SAMPLE, SAMPLE, device)
        goal: Goal = static.goal(batch, "flip")
        return batch.inputs, goal
    from tasks.control.cartpole import CARTPOLE
    from tasks.measuring.environments import Episodes

    episodes = Episodes(CARTPOLE, CARTPOLE.seeds("test")[:SAMPLE])
    for step in range(6):  # so that velocities are more than those of a start
        episodes.step(torch.arange(SAMPLE).add(step).remainder(2).numpy())
    return Inputs(torch.from_numpy(episodes.observe()).to(device)), None


def _fault(scores: object, inputs: Inputs, expected: Expected | None, others: int) -> str:
    """What is wrong with the form of an answer; empty where nothing is. others: scores that stand for no class."""
    if not isinstance(scores, Scores) or not isinstance(scores.values, Tensor):
        return f"the model answers {type(scores).__name__}, not adversarial.inputs.Scores"
    values = scores.values
    if values.dtype != torch.float32:
        return f"scores are {values.dtype}, expected float32: call model.float()"
    if values.device != inputs.values.device:
        return f"scores are on {values.device}, inputs on {inputs.values.device}"
    if values.shape[:1] != (len(inputs),):
        return f"{len(inputs)} examples, and scores of shape {_shape(values)}"
    if expected is None or scores.reader is not None:
        return ""
    if expected.classes is not None:
        return "" if values.shape[1:] == (expected.classes + others,) else f"scores have the shape {_shape(values)}"
    from tasks.speech.transcripts import SYMBOLS

    if values.ndim != 3 or values.shape[2] < SYMBOLS:
        return f"scores have the shape {_shape(values)}, expected at least {SYMBOLS} symbols a frame"
    if scores.mask is None or scores.mask.shape != values.shape[:2] or scores.mask.dtype != torch.bool:
        return "scores need a mask of real frames, bool [batch, frames]"
    return ""


def _clean(task: Task, victim: Victim, expected: Expected | None, device: torch.device) -> Check:
    try:
        measured = task.measure(victim, Trial(threat=None, attack=None, limit=SAMPLE, device=device), Ledger())
    except Exception as error:
        return Check("clean", "problem", f"{type(error).__name__}: {error}", "the task cannot measure the model")
    metric, value = task.metric, measured.metric()
    chance = 1 / expected.classes if expected and expected.classes and metric.name == "accuracy" else 0.0
    found = f"{metric.name} {value:.3g} on {len(measured.examples.ids)} examples"
    if metric.quality(value) <= math.ceil(chance * SAMPLE) / SAMPLE:
        return Check(
            "clean",
            "note",
            f"{found}, which is hardly better than chance",
            "are labels, channels or units in another order than the task's?",
        )
    return Check("clean", "ok", found)


def _shape(values: Tensor) -> str:
    return "[" + ", ".join(map(str, values.shape)) + "]"
