"""Checking a model before it is measured: eight examples, a few passes, and what is wrong in words."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from adversarial.entries import TaskEntry
from adversarial.errors import RobustArenaError
from adversarial.goals import Flip
from adversarial.inputs import Inputs, Scores
from adversarial.ledger import Ledger
from adversarial.registry import Registry
from adversarial.victims import Victim, weight_versions
from benchmarks.checking.checks import CHECKS, Check, evaluation_mode, value_range, weights_unchanged
from tasks.data import CustomData
from tasks.data.making import task_of
from tasks.measuring.protocol import Task, Trial
from tasks.models import LoadedModel, Source, load_source


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
    source: Source, entry: TaskEntry, registry: Registry, device: torch.device, data: CustomData | None = None
) -> Report:
    """Loads the model and checks it; whatever is wrong with it is a check that says so, never an exception.

    data: a user's own, in place of the task's.
    """
    start = time.monotonic()
    try:
        model = load_source(source, entry, registry, device, data)
        task = task_of(entry, data)
    except Exception as error:
        kind = "" if isinstance(error, RobustArenaError) else f"{type(error).__name__}: "
        failed = Check("loads", "problem", f"{kind}{error}")
        return Report(str(source), entry.name, (failed,), time.monotonic() - start)
    checks = [Check("loads", "ok", f"in {time.monotonic() - start:.1f} s")]
    checks += [Check(name, "note", text) for name, text in model.notes.items()]
    checks += _checks(model, task, device)
    return Report(
        str(source), entry.name, tuple(checks), time.monotonic() - start, model.hash, model.carried, model.facts
    )


def _checks(model: LoadedModel, task: Task, device: torch.device) -> Iterator[Check]:
    victim = model.victim
    weights = weight_versions(victim)
    yield evaluation_mode(victim)
    wanted = f"{task.name} wants {task.interface.inputs}, answered by {task.interface.scores}"
    try:
        inputs, truth = task.sample(SAMPLE, device)
        given = inputs.clone()
        with torch.no_grad():
            scores = victim(inputs)
    except Exception as error:
        yield Check("answers", "problem", f"{type(error).__name__}: {error}", wanted)
        return
    if fault := _fault(scores, inputs) or task.fault(scores, inputs, model.others):
        yield Check("scores", "problem", fault, wanted)
        return
    yield Check("scores", "ok", f"{list(scores.values.shape)} for {list(inputs.values.shape)}")
    if not inputs.same_as(given):
        yield Check("inputs", "problem", "the model writes into its inputs", "copy what it changes")
        inputs = given
    if not bool(scores.finite().all()):
        yield value_range(victim, inputs, scores, Flip(torch.zeros(len(inputs), dtype=torch.int64)))
        return
    goal = truth if truth is not None else Flip(scores.values.argmax(1))
    for name, check in CHECKS.items():
        try:
            found = check(victim, inputs, scores, goal)
        except Exception as error:
            found = Check(name, "problem", f"{type(error).__name__}: {error}", wanted)
        if found is not None:
            yield found
    yield weights_unchanged(weights, weight_versions(victim))
    yield _clean(task, victim, device)


def _fault(scores: object, inputs: Inputs) -> str:
    """What is wrong with an answer, whatever the task; empty where nothing is."""
    if not isinstance(scores, Scores) or not isinstance(scores.values, Tensor):
        return f"the model answers {type(scores).__name__}, not adversarial.inputs.Scores"
    values = scores.values
    if values.dtype != torch.float32:
        return f"scores are {values.dtype}, expected float32: call model.float()"
    if values.device != inputs.values.device:
        return f"scores are on {values.device}, inputs on {inputs.values.device}"
    if values.shape[:1] != (len(inputs),):
        return f"{len(inputs)} examples, and scores of shape {list(values.shape)}"
    return ""


def _clean(task: Task, victim: Victim, device: torch.device) -> Check:
    try:
        measured = task.measure(victim, Trial(threat=None, attack=None, limit=SAMPLE, device=device), Ledger())
    except Exception as error:
        return Check("clean", "problem", f"{type(error).__name__}: {error}", "the task cannot measure the model")
    metric, value, classes = task.metric, measured.metric(), task.interface.classes
    chance = 1 / classes if classes and metric.name == "accuracy" else 0.0
    found = f"{metric.name} {value:.3g} on {len(measured.examples.ids)} examples"
    if metric.quality(value) <= math.ceil(chance * SAMPLE) / SAMPLE:
        return Check(
            "clean",
            "note",
            f"{found}, which is hardly better than chance",
            "are labels, channels or units in another order than the task's?",
        )
    return Check("clean", "ok", found)
