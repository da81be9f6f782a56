"""A handful of adversarial examples of each attack, to be seen, read and heard: the first that succeeded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from leaderboard.pages.episodes import trajectory
from leaderboard.pages.evidence import examples_of, read_tensors
from leaderboard.pages.pictures import difference_pixels, image_pixels, png_uri
from leaderboard.pages.sentences import Piece, word_changes
from leaderboard.pages.sound import MOST_SECONDS, spectrogram, wav_uri
from leaderboard.printing import wording
from leaderboard.records.canonical import ResultError
from leaderboard.records.examples import Disturbed, Medium, Original, Originals
from leaderboard.records.record import Result


if TYPE_CHECKING:
    from markupsafe import Markup


HANDFUL: Final[dict[Medium, int]] = {"picture": 4, "text": 3, "sound": 2, "episode": 2}
MOST_BYTES: Final = 8_000_000  # of one task's examples on a page
DEFAULT_RATE_HZ: Final = 16_000


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in the page. alternative: what it shows, in words."""

    uri: str
    caption: str
    alternative: str


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound in the page, with its spectrogram."""

    uri: str
    caption: str
    spectrogram: Picture


@dataclass(frozen=True, slots=True)
class Specimen:
    """One adversarial example. outcome: what the attack made of it. before: whether the original is shown, too."""

    medium: Medium
    id: str
    truth: str
    outcome: str
    before: bool
    pictures: tuple[Picture, ...] = ()
    sounds: tuple[Sound, ...] = ()
    pieces: tuple[Piece, ...] = ()
    drawing: Markup | None = None

    @property
    def size(self) -> int:
        """Roughly its bytes in the page."""
        uris = [
            *(one.uri for one in self.pictures),
            *(uri for one in self.sounds for uri in (one.uri, one.spectrogram.uri)),
        ]
        return sum(map(len, uris)) + len(self.drawing or "")


@dataclass(frozen=True, slots=True)
class Shown:
    """What there is to see of one attack. note: why there is nothing, or what was left out; empty otherwise."""

    cell_id: str
    attack: str
    threat: str
    succeeded: int
    of: int
    specimens: tuple[Specimen, ...]
    note: str = ""


def gallery(
    clean: Result | None,
    attacked: Sequence[Result],
    read: Callable[[Result], bytes | None],
    originals: Originals | None = None,
) -> tuple[Shown, ...]:
    """Examples of every attack with stored ones, in the order given, until the page is full.

    clean: the clean pass of the same examples. read: the evidence file of a record, None where it is not there.
    """
    found: list[Shown] = []
    room = MOST_BYTES
    for result in attacked:
        if result.status != "ok" or not result.artifacts or result.examples is None:
            continue
        shown = _shown(result, clean, read, originals, room)
        room -= sum(one.size for one in shown.specimens)
        found.append(shown)
    return tuple(found)


def successes(result: Result, clean: Result | None) -> list[int]:
    """The places of the examples that the attack made worse than the clean pass found them, in the data's order."""
    if result.examples is None or result.metric is None or clean is None or clean.examples is None:
        return []
    before = dict(zip(clean.examples.ids, clean.examples.values, strict=True))
    sign = 1 if result.metric.higher_is_better else -1
    pairs = enumerate(zip(result.examples.ids, result.examples.values, strict=True))
    return [place for place, (name, value) in pairs if name in before and sign * (before[name] - value) > 0]


def _shown(
    result: Result, clean: Result | None, read: Callable[[Result], bytes | None], originals: Originals | None, room: int
) -> Shown:
    assert result.examples is not None
    places, count = successes(result, clean), len(result.examples.ids)
    cell = result.cell

    def told(note: str, specimens: tuple[Specimen, ...] = ()) -> Shown:
        return Shown(result.id, cell.attack, cell.threat, len(places), count, specimens, note)

    if not places:
        return told("No example was made worse.")
    if room <= 0:
        return told("This page is full; the examples are in the evidence file of the cell.")
    data = read(result)
    if data is None:
        return told("The evidence file is not here.")
    try:
        tensors = read_tensors(data)
        first = examples_of(tensors, places[:1])
        chosen = places[: HANDFUL[first[0].medium]] if first else []
        names = [result.examples.ids[place] for place in chosen]
        disturbed = dict(zip(names, examples_of(tensors, chosen), strict=True))
    except ResultError as error:
        return told(f"The examples cannot be shown: {error}")
    if not disturbed:
        return told("Stored as word vectors, which nobody can read.")
    before = originals(cell, disturbed) if originals is not None else {}
    specimens = tuple(
        _specimen(name, one, before.get(name), _outcome(result, clean, place))
        for place, (name, one) in zip(chosen, disturbed.items(), strict=True)
    )
    return told("", specimens)


def _outcome(result: Result, clean: Result | None, place: int) -> str:
    """What happened to one example: the metric before and after, and how far it was moved."""
    examples, metric = result.examples, result.metric
    assert examples is not None
    assert metric is not None
    name, weight = examples.ids[place], examples.weights[place] or 1.0
    after = examples.values[place] / weight
    usual = dict(zip(clean.examples.ids, clean.examples.values, strict=True)) if clean and clean.examples else {}
    if metric.name == "accuracy" and usual.get(name) == 1.0 and after == 0.0:
        told = "right before, wrong now"
    elif name in usual:
        told = f"{metric.name} {wording.metric(usual[name] / weight)} before, {wording.metric(after)} now"
    else:
        told = f"{metric.name} {wording.metric(after)}"
    if "snr_db" in examples.columns:
        return f"{told}; noise {examples.columns['snr_db'][place]:.0f} dB below the sound"
    return f"{told}; distance {examples.distances[place]:.3g}"


def _specimen(name: str, one: Disturbed, before: Original | None, outcome: str) -> Specimen:
    truth = before.truth if before is not None else ""
    match one.medium:
        case "picture":
            return Specimen("picture", name, truth, outcome, _same(one, before), pictures=_pictures(name, one, before))
        case "text":
            pieces = word_changes(before.text, one.text) if before is not None else (Piece("", one.text),)
            return Specimen("text", name, truth, outcome, before is not None, pieces=pieces)
        case "sound":
            return Specimen("sound", name, truth, outcome, before is not None, sounds=_sounds(name, one, before))
        case "episode":
            return Specimen("episode", name, truth, outcome, before is not None, drawing=trajectory(one, before, name))


def _same(one: Disturbed, before: Original | None) -> bool:
    return (
        before is not None
        and before.values is not None
        and one.values is not None
        and before.values.shape == one.values.shape
    )


def _pictures(name: str, one: Disturbed, before: Original | None) -> tuple[Picture, ...]:
    assert one.values is not None
    disturbed = Picture(png_uri(image_pixels(one.values)), "disturbed", f"{name}, disturbed")
    if before is None or before.values is None or not _same(one, before):
        return (disturbed,)
    change, most = difference_pixels(one.values, before.values)
    return (
        Picture(png_uri(image_pixels(before.values)), "clean", f"{name}, clean"),
        disturbed,
        Picture(png_uri(change), f"difference, \N{PLUS-MINUS SIGN}{most:.3g}", f"what was changed in {name}"),
    )


def _sounds(name: str, one: Disturbed, before: Original | None) -> tuple[Sound, ...]:
    assert one.values is not None
    rate = before.rate_hz if before is not None and before.rate_hz else DEFAULT_RATE_HZ
    samples = one.values.astype(np.int16)
    cut = f", the first {MOST_SECONDS:g} seconds" if len(samples) > MOST_SECONDS * rate else ""
    heard = [("disturbed", samples)]
    if before is not None and before.values is not None:
        heard.insert(0, ("clean", before.values.astype(np.int16)))
    found, loudest = [], None
    for caption, values in heard:
        pixels, loudest = spectrogram(values, rate, loudest)
        seconds = min(len(values) / rate, MOST_SECONDS)
        told = f"spectrogram of {name}, {caption}, 0 to {rate / 2000:g} kHz over {seconds:.1f} s"
        found.append(Sound(wav_uri(values, rate), f"{caption}{cut}", Picture(png_uri(pixels), caption, told)))
    return tuple(found)
