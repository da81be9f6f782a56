"""What the tasks' examples were before they were disturbed, for pages. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from leaderboard.records.examples import Disturbed, Original, Originals
from leaderboard.records.record import Cell
from tasks.data import OwnData


def originals(cell: Cell, disturbed: Mapping[str, Disturbed]) -> Mapping[str, Original]:
    """The bundled tasks' own examples by id; nothing for data that is not theirs.

    Raises DataError where the bundled data are damaged.
    """
    find = _FINDERS.get(cell.task)
    return find(cell, disturbed) if find is not None else {}


def originals_of(data: Sequence[OwnData]) -> Originals:
    """As `originals`, for cells on users' own data as well."""
    known = {one.data_hash(split): (one, split) for one in data for split in one.manifest.splits}

    def found(cell: Cell, disturbed: Mapping[str, Disturbed]) -> Mapping[str, Original]:
        if cell.data_hash not in known:
            return originals(cell, disturbed)
        own = _own(*known[cell.data_hash])
        return {name: own[name] for name in disturbed if name in own}

    return found


@lru_cache(maxsize=4)
def _own(data: OwnData, split: str) -> Mapping[str, Original]:
    from tasks.image import custom_data as images
    from tasks.sentiment import custom_data as reviews
    from tasks.sentiment.tokens import tokenise
    from tasks.speech import custom_data as utterances

    manifest = data.manifest
    if manifest.shape:
        own = images.load(data, split)
        rows = zip(own.ids, own.images, own.labels.tolist(), strict=True)
        return {name: Original(image, truth=manifest.classes[label]) for name, image, label in rows}
    if manifest.rate_hz:
        said = utterances.load(data, split)
        spoken = zip(said.ids, said.samples, said.transcripts, strict=True)
        return {name: Original(samples, truth=text, rate_hz=manifest.rate_hz) for name, samples, text in spoken}
    read = reviews.load(data, split)
    texts = zip(read.ids, read.texts, read.labels, strict=True)
    return {name: Original(text=" ".join(tokenise(text)), truth=manifest.classes[label]) for name, text, label in texts}


def _images(cell: Cell, disturbed: Mapping[str, Disturbed]) -> dict[str, Original]:
    from tasks.image.dataset import SPLITS, data_hash, load_split

    if cell.split not in SPLITS or data_hash(cell.split) != cell.data_hash:
        return {}
    digits = load_split(cell.split)
    places = {name: place for place, name in enumerate(digits.ids)}
    return {
        name: Original(digits.images[places[name]], truth=str(int(digits.labels[places[name]])))
        for name in disturbed
        if name in places
    }


def _reviews(cell: Cell, disturbed: Mapping[str, Disturbed]) -> dict[str, Original]:
    from tasks.sentiment.dataset import LABELS, SPLITS, data_hash, load_split
    from tasks.sentiment.tokens import tokenise

    if cell.split not in SPLITS or data_hash(cell.split) != cell.data_hash:
        return {}
    reviews = load_split(cell.split)
    places = {name: place for place, name in enumerate(reviews.ids)}
    return {
        name: Original(text=" ".join(tokenise(reviews.texts[places[name]])), truth=LABELS[reviews.labels[places[name]]])
        for name in disturbed
        if name in places
    }


def _utterances(cell: Cell, disturbed: Mapping[str, Disturbed]) -> dict[str, Original]:
    from tasks.speech.dataset import HASHES, SAMPLE_RATE

    if HASHES.get(cell.split) != cell.data_hash:
        return {}
    data = _spoken(cell.split)
    places = {name: place for place, name in enumerate(data.ids)}
    return {
        name: Original(data.samples[places[name]], truth=data.transcripts[places[name]], rate_hz=SAMPLE_RATE)
        for name in disturbed
        if name in places
    }


@lru_cache(maxsize=2)
def _spoken(split: str):  # type: ignore[no-untyped-def]
    from tasks.speech.dataset import load_split

    return load_split(split)


def _episodes(cell: Cell, disturbed: Mapping[str, Disturbed]) -> dict[str, Original]:
    """The true observations, by stepping the environment with the stored actions."""
    from tasks.control.cartpole import CARTPOLE
    from tasks.measuring.environments import Episodes

    if cell.split not in CARTPOLE.splits or CARTPOLE.data_hash(cell.split) != cell.data_hash:
        return {}
    seeds = dict(zip(CARTPOLE.ids(cell.split), CARTPOLE.seeds(cell.split), strict=True))
    names = [name for name, one in disturbed.items() if name in seeds and one.actions is not None]
    if not names:
        return {}
    episodes = Episodes(CARTPOLE, [seeds[name] for name in names])
    acted = np.stack([np.asarray(disturbed[name].actions, dtype=np.int64) for name in names], axis=1)
    seen: list[list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]] = [[] for _ in names]
    for actions in acted:
        slots = episodes.slots
        if not len(slots):
            break
        for slot, observation in zip(slots.tolist(), episodes.observe(), strict=True):
            seen[slot].append(observation)
        episodes.step(actions[slots])
    return {
        name: Original(np.stack(rows), names=CARTPOLE.numbers) for name, rows in zip(names, seen, strict=True) if rows
    }


_FINDERS: Final[Mapping[str, Callable[[Cell, Mapping[str, Disturbed]], Mapping[str, Original]]]] = {
    "image-digits": _images,
    "sentiment-reviews": _reviews,
    "speech-digits": _utterances,
    "control-cartpole": _episodes,
}
