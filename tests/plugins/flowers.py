"""A plugin in one file: a task of four lengths with a class each, which takes data of a user's own."""

from __future__ import annotations

import hashlib
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import nn

from adversarial.entries import SurfaceEntry, TaskEntry
from adversarial.spaces.ball import Ball
from adversarial.spaces.norms import geometry
from benchmarks.suites.suite import NONE, Suite, TrialSpec
from leaderboard.records.examples import Original
from tasks.data.labels import class_names, label_of
from tasks.data.overlap import apart
from tasks.data.preparing import Collected, Preparing
from tasks.measuring.classification import Classification, Labelled
from tasks.measuring.protocol import ModelInterface


TASK, THREAT = "flowers", "lengths-linf:0.3"
ROLES = {"lengths": ("lengths", "measured"), "label": ("label", "kind")}


@cache
def load(split: str) -> Labelled:
    draw = np.random.default_rng([1, len(split)])
    labels = draw.integers(0, 2, 40)
    values = (draw.random((40, 4)) + labels[:, None]).astype(np.float32)
    return Labelled(tuple(f"{split}-{number}" for number in range(40)), values, labels)


def data_hash(split: str) -> str:
    return hashlib.sha256(load(split).values.tobytes()).hexdigest()


def collect(test: Any, fit: Any, wanted: Any) -> Collected:
    classes, parts, rows = class_names((test, fit), wanted.classes), {}, {}
    scale = wanted.options.get("divisor", 1)
    for split, part in (("test", test), ("validation", fit)):
        rows[split] = [
            (
                tuple(float(number) / scale for number in row["lengths"].split()),
                label_of(row["label"], classes, (), f"row {number} of {part.name}"),
            )
            for number, row in part
        ]
    rows["validation"], notes = apart(rows["test"], rows["validation"], lambda row: repr(row[0]).encode())
    for split, found in rows.items():
        parts[split] = {
            "values": np.array([lengths for lengths, _ in found], np.float32),
            "labels": np.array([label for _, label in found], np.int64),
        }
    counts = {split: len(found) for split, found in rows.items()}
    return Collected(parts, counts, classes, {"numbers": 4}, notes=notes)


def own(data: Any, split: str) -> Labelled:
    arrays = data.arrays(split)
    return Labelled(data.ids(split), arrays["values"], arrays["labels"])


def shown(cell: Any, disturbed: Any, data: Any) -> dict[str, Original]:
    found = load(cell.split) if data is None else own(data, cell.split)
    names = ("thin", "thick") if data is None else data.manifest.classes
    return {
        name: Original(text=" ".join(map(str, values)), truth=names[label])
        for name, values, label in zip(found.ids, found.values, found.labels, strict=True)
        if name in disturbed
    }


def ball(inputs: Any, threat: Any) -> Ball:
    radius = torch.full((len(inputs),), threat.radius, device=inputs.values.device)
    return Ball(inputs, radius, geometry(threat.norm))


def linear() -> nn.Module:
    return nn.Linear(4, 2)


def make(data: Any = None) -> Classification:
    return Classification(
        name=TASK,
        interface=ModelInterface("lengths, float32 [batch, 4]", "logits [batch, 2]", 2),
        load=load if data is None else cache(partial(own, data)),
        data_hash=data_hash if data is None else data.data_hash,
        surface="lengths",
        make_space=ball,
        architectures={"linear": linear},
        trained=("linear", {}),
    )


def register(registry: Any) -> None:
    registry.add(
        SurfaceEntry(
            "lengths", "four lengths", ("linf",), "centimetres", frozenset({"steps", "bounds", "classes"}), code=ball
        ),
        TaskEntry(
            TASK,
            make,
            data_hash,
            "thin or thick",
            ("lengths",),
            (),
            "",
            custom_data=make,
            preparing=Preparing(ROLES, collect),
            clean_examples=shown,
        ),
        Suite(
            "flowers@1",
            "one attack",
            trials=(TrialSpec(TASK, NONE, NONE), TrialSpec(TASK, "fgsm", f"{THREAT}@gradient")),
            ranking_threats={TASK: THREAT},
        ),
    )
