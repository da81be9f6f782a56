"""The suite's parts as plain functions, on a user's own model and data. `import robustarena` is their public name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from adversarial.borrowing import borrowed
from adversarial.entries import AttackEntry, SurfaceEntry
from adversarial.errors import AccessDenied, InvalidOption, NotApplicable
from adversarial.ledger import Ledger
from adversarial.registry import Registry
from adversarial.spaces import snr_db
from adversarial.threats import Threat
from adversarial.victims import Victim
from benchmarks.arguments import Array, array_task, as_victim, bound, look_at, whole_number
from benchmarks.catalog import catalog
from benchmarks.results import AttackResult, Evaluation
from leaderboard.scoring.statistics import wilson
from tasks.measuring.protocol import Measurement, Trial
from tasks.measuring.static import measure_static


QUEUE: Final = 8  # batches loaded together, so that waiting rows take the places of those that are done
THREAT: Final = "pixels-linf:8/255"
ATTACKS: Final = ("noise", "fgsm", "pgd", "apgd-ce", "apgd-dlr", "apgd-t")  # of evaluate, where none are named

Model = nn.Module | Victim | Callable[..., Any]


def attack(
    model: Model,
    inputs: Array,
    labels: Array,
    attack: str = "pgd",
    threat: str | Threat = THREAT,
    *,
    targets: Array | None = None,
    mask: Array | None = None,
    scale: Array | None = None,
    fit: tuple[Array, Array] | tuple[Array, Array, Array] | None = None,
    surrogates: Model | Sequence[Model] = (),
    seed: int = 0,
    batch_size: int = 64,
    early_stopping: bool = True,
    half: bool = False,
    plugins: Sequence[str | Path] = (),
    **params: Any,
) -> AttackResult:
    """Attacks a classifier: `attack(model, images, labels, "pgd", "pixels-linf:8/255", steps=40)`.

    model: from inputs (and the mask, where one is given) to logits [batch, classes]: a module, a function, or any
    Victim. A tuple that starts with the logits, a dict or an output of transformers with `logits`, and logits of any
    float type will do; -inf is for classes that are never decided. Inputs are cast to the type of the weights. While
    this runs, the model is in evaluation mode and frozen; afterwards it is as it was found.
    inputs: floats [examples, ...] (tensor, array, nested lists), on the model's device. Pixels lie in [0, 1], so that
    the model normalises; waveforms are 16-bit samples over 32768; embeddings [examples, words, width]. labels: whole
    numbers [examples], the right classes from 0 on.
    targets: whole numbers [examples], wanted classes instead of any wrong one. mask: bool [examples, positions], True
    where a position is real. scale: positive [dimensions], the unit of observations. fit: inputs and labels, and the
    wanted classes where there are `targets`, that a fitted attack (universal) learns on. surrogates: the models that
    transfer makes its examples on. seed: of all draws; nothing draws from torch's generators. batch_size: rows in one
    pass. half: search in bfloat16, confirm in float32. plugins: files with attacks and surfaces of one's own. params:
    of the attack, as its page and docstring name them.
    An attack that looks for the nearest success may be given a budget of inf; with a finite one, successes beyond it do
    not count.
    Raises UnknownName, InvalidThreat, InvalidOption, DataError, ModelError, NotApplicable, AccessDenied where the
    threat allows less than the attack asks for, and AuditFailure if an attack or the model breaks the rules.
    """
    run = _Run.of(threat, seed, batch_size, plugins)
    (name,) = _names(attack)
    entry = run.registry.attack(name)
    others = tuple(surrogates) if isinstance(surrogates, Sequence) else (surrogates,)
    with borrowed(model, *others):
        task = array_task(inputs, labels, targets=targets, mask=mask, scale=scale, fit=fit, surface=run.surface)
        victim = as_victim(model)
        rivals = tuple(as_victim(other) for other in others)
        for each in (victim, *rivals):
            look_at(each, task)
        ledger = Ledger()
        trial = run.trial(entry, params, task.inputs.values.device)
        trial = replace(trial, surrogates=rivals, early_stopping=early_stopping, half=half)
        measured = measure_static(task, victim, trial, ledger)
    values = task.inputs.values
    decisions = torch.tensor(measured.examples.columns["decision"], dtype=torch.int64, device=values.device)
    # A decision of -1 is none: scores that are not finite are a diagnostic, and no success.
    wrong = decisions != task.labels if task.targets is None else decisions == task.targets
    distances = torch.tensor(measured.examples.distances, dtype=torch.float64, device=values.device)
    return AttackResult(
        inputs=_shaped(measured, values),
        success=wrong & (decisions >= 0),
        distances=snr_db(distances) if run.threat.norm == "snr" else distances,
        cost=ledger,
        diagnostics=_texts(measured),
    )


def evaluate(
    model: Model,
    inputs: Array,
    labels: Array,
    attacks: str | Sequence[str] | None = None,
    threat: str | Threat = THREAT,
    *,
    mask: Array | None = None,
    scale: Array | None = None,
    seed: int = 0,
    batch_size: int = 64,
    plugins: Sequence[str | Path] = (),
) -> Evaluation:
    """Measures a classifier clean and under attacks: `evaluate(model, images, labels, threat="pixels-linf:8/255")`.

    attacks: names, or one; every row meets every attack. By default noise, fgsm, pgd, apgd-ce, apgd-dlr and apgd-t, of
    which those are left out, and listed, that do not fit the threat or the model; what is named and does not fit
    raises. Other arguments and errors as for attack. Robust accuracy is the worst case per example over the attacks and
    the clean pass.
    """
    run = _Run.of(threat, seed, batch_size, plugins)
    entries = [run.registry.attack(name) for name in _names(attacks)]
    with borrowed(model):
        task, victim = array_task(inputs, labels, mask=mask, scale=scale, surface=run.surface), as_victim(model)
        look_at(victim, task)
        device = task.inputs.values.device
        clean = measure_static(task, victim, Trial(None, None, batch_size=run.batch_size, device=device), Ledger())
        measured: dict[str, Measurement] = {}
        left_out: dict[str, str] = {}
        for entry in entries:
            try:
                measured[entry.name] = measure_static(task, victim, run.trial(entry, {}, device), Ledger())
            except (NotApplicable, AccessDenied) as error:
                if attacks is not None:
                    raise
                left_out[entry.name] = str(error)
    worst = torch.tensor([each.examples.values for each in (clean, *measured.values())], dtype=torch.float64).amin(0)
    texts = {"none": _texts(clean), **{name: _texts(each) for name, each in measured.items()}}
    return Evaluation(
        clean=clean.metric(),
        clean_interval=wilson(int(sum(clean.examples.values)), len(worst)),
        robust=float(worst.mean()),
        robust_interval=wilson(int(worst.sum()), len(worst)),
        attacks={name: each.metric() for name, each in measured.items()},
        diagnostics={name: found for name, found in texts.items() if found},
        complete=any(_is_search(entry) for entry in entries if entry.name in measured),
        left_out=left_out,
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """What holds for every attack of a call."""

    registry: Registry
    threat: Threat
    seed: int
    batch_size: int

    @classmethod
    def of(cls, threat: str | Threat, seed: object, batch_size: object, plugins: Sequence[str | Path]) -> _Run:
        """Raises InvalidThreat, InvalidOption, UnknownName, and DataError for a plugin that does not fit."""
        registry = catalog(plugins)
        parsed = registry.checked(threat) if isinstance(threat, Threat) else registry.threat(threat)
        return cls(registry, parsed, whole_number("seed", seed, 0), whole_number("batch_size", batch_size, 1))

    @property
    def surface(self) -> SurfaceEntry:
        return self.registry.surface_of(self.threat)

    def trial(self, entry: AttackEntry, params: Mapping[str, Any], device: torch.device) -> Trial:
        """Raises NotApplicable where the attack is not defined on the threat's surface."""
        threat = self.threat
        if reason := self.registry.misfit(entry, threat):
            raise NotApplicable(f"{entry.name} on {threat.surface}: {reason}")
        if entry.access in ("none", "surrogate"):
            threat = threat.with_access("none" if entry.access == "none" else "surrogate")
        function, fitted = bound(entry, params), entry.stage == "fit"
        return Trial(
            threat=threat,
            attack=None if fitted else function,
            fit=function if fitted else None,
            seed=self.seed,
            batch_size=self.batch_size,
            device=device,
            queue=QUEUE,
            minimum_norm=entry.minimum_norm,
        )


def _names(attacks: str | Sequence[str] | None) -> tuple[str, ...]:
    if attacks is None:
        return ATTACKS
    names = (attacks,) if isinstance(attacks, str) else attacks
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise InvalidOption(f"attacks must be names of attacks, or one, got {attacks!r:.80}")
    if not names:
        raise InvalidOption("attacks names none, and a model that nothing attacks is not robust; leave it out for all")
    return tuple(names)


def _is_search(entry: AttackEntry) -> bool:
    """Whether an attack asks the model itself about each example; the rest bounds its robustness on one side only."""
    return entry.stage == "test" and entry.access not in ("none", "surrogate")


def _shaped(measured: Measurement, inputs: Tensor) -> Tensor:
    if not measured.evidence:
        return inputs.clone()
    found = measured.evidence["inputs"]
    if "lengths" not in measured.evidence:
        return found
    padded = inputs.clone()
    width = inputs[0, 0].numel()
    parts = torch.split(found, [int(length) * width for length in measured.evidence["lengths"]])
    for row, part in enumerate(parts):
        padded[row, : len(part) // width] = part.reshape(-1, *inputs.shape[2:])
    return padded


def _texts(measured: Measurement) -> tuple[str, ...]:
    return tuple(f"{finding.name}: {finding.detail}" for finding in measured.findings)
