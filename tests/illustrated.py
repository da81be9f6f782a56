"""A small board with stored adversarial examples of every kind, for the tests of the pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec
import numpy as np
from safetensors.numpy import save
from synthetic import CONTROL, IMAGE, SPEECH, by_id, cell, first, journal_entry, ok, plan, small_board

from leaderboard.pages.site import SiteSource
from leaderboard.records.examples import Disturbed, Original
from leaderboard.records.record import Cell, Result


COUNT = 40
RATE_HZ = 8_000
TEXT = "text-reviews"
SENTENCES = tuple(f"the film number {index} was <b>good</b> & long" for index in range(COUNT))
CHANGED = tuple(text.replace("good", "goood") for text in SENTENCES)


def images(disturbed: bool) -> np.ndarray:
    ramp = np.linspace(0, 1, COUNT * 64, dtype=np.float32).reshape(COUNT, 1, 8, 8)
    return np.clip(ramp + (0.1 if disturbed else 0.0) * (np.indices(ramp.shape).sum(0) % 2), 0, 1).astype(np.float32)


def sounds(disturbed: bool) -> list[np.ndarray]:
    time = [np.arange(1200 + 40 * index) / RATE_HZ for index in range(COUNT)]
    noise = np.random.default_rng(0).normal(size=RATE_HZ)
    return [
        (8000 * np.sin(2 * np.pi * 440 * t) + (500 * noise[: len(t)] if disturbed else 0)).astype(np.int16)
        for t in time
    ]


def episodes() -> dict[str, np.ndarray]:
    steps = 60
    seen = np.zeros((steps, COUNT, 4), dtype=np.float32)
    seen[:50] = np.sin(np.arange(50)[:, None, None] / 9 + np.arange(4)) * 0.2
    return {"observations": seen, "actions": (np.arange(steps)[:, None] // 7 % 2).repeat(COUNT, 1).astype(np.int64)}


def evidence(task: str) -> bytes:
    """A file as the tasks write it."""
    if task == IMAGE:
        return save({"images": images(True)})
    if task == SPEECH:
        heard = sounds(True)
        return save({"samples": np.concatenate(heard), "lengths": np.array([len(one) for one in heard])})
    if task == TEXT:
        texts = [text.encode() for text in CHANGED]
        joined = np.frombuffer(b"".join(texts), dtype=np.uint8).copy()
        return save({"text": joined, "lengths": np.array([len(text) for text in texts])})
    return save(episodes())


def originals(of: Cell, disturbed: Mapping[str, Disturbed]) -> dict[str, Original]:
    """What the examples of the board were before."""
    found = {}
    for name, one in disturbed.items():
        row = int(name.removeprefix("e"))
        match one.medium:
            case "picture":
                found[name] = Original(images(False)[row], truth=f"<{row}>")
            case "sound":
                found[name] = Original(sounds(False)[row], truth="one two", rate_hz=RATE_HZ)
            case "text":
                found[name] = Original(text=SENTENCES[row], truth="positive")
            case "episode":
                true = np.asarray(episodes()["observations"][:50, row]) * 0.5
                found[name] = Original(true, names=("position", "velocity", "angle", "angular velocity"))
    assert of.task in (IMAGE, SPEECH, TEXT, CONTROL)
    return found


def illustrated() -> SiteSource:
    """small_board with evidence for every attack, and a fourth task of sentences."""
    results, missing = small_board()
    for model, right in (("undefended", 6), ("adversarial-training", 22), ("masked-gradient", 20)):
        clean = replace_task(cell(model=model, attack="none"))
        attacked = replace_task(cell(model=model, threat="words-l0:3@gradient"))
        columns = {"budget_x0.5": first(right + 10), "budget_x1": first(right), "budget_x2": first(max(0, right - 5))}
        results += [_of_text(clean, first(38), {}), _of_text(attacked, first(right), columns)]
    stored = [
        msgspec.structs.replace(one, artifacts={f"{one.id}.safetensors": "0" * 64})
        if one.status == "ok" and one.cell.attack != "none"
        else one
        for one in results
    ]
    written = plan(stored, missing)
    written = msgspec.structs.replace(written, ranking_threats={**written.ranking_threats, TEXT: "words-l0:3@gradient"})
    journal = {result.id: journal_entry(result) for result in stored}
    source = SiteSource(
        written, by_id(stored), journal, levels={"undefended": "reference", "masked-gradient": "claimed"}
    )
    return replace(source, read=lambda result: evidence(result.cell.task), originals=originals)


def replace_task(of: Cell) -> Cell:
    return msgspec.structs.replace(of, task=TEXT)


def _of_text(of: Cell, values: list[float], columns: Mapping[str, list[float]]) -> Result:
    plain = ok(msgspec.structs.replace(of, task=IMAGE), values, columns=columns)
    return msgspec.structs.replace(plain, id=of.id, cell=of)
