"""Threats: their strings are their ids, and what cannot be is refused with the expected form."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adversarial.errors import InvalidThreat
from adversarial.threats import ACCESSES, LARGEST, Threat


@given(
    surface=st.sampled_from(["pixels", "waveform", "embeddings", "observations"]),
    norm=st.sampled_from(["linf", "l2", "l1"]),
    budget=st.floats(0, 1e6).map(lambda value: float(f"{value:.6g}")),
    access=st.sampled_from(ACCESSES),
    queries=st.none() | st.integers(1, 10**6),
    share=st.sampled_from([1.0, 0.5, 0.25, 0.01]),
)
def test_a_threat_is_its_string(
    surface: str, norm: str, budget: float, access: str, queries: int | None, share: float
) -> None:
    if (surface, norm) == ("pixels", "linf"):
        budget /= 1e6  # a pixel's whole range is 1
    threat = Threat(surface, norm, budget, access, queries, share)  # type: ignore[arg-type]
    assert Threat.parse(str(threat)) == threat


@given(budget=st.floats(0, LARGEST) | st.just(math.inf), share=st.floats(0, 1, exclude_min=True))
def test_no_two_threats_share_an_id(budget: float, share: float) -> None:
    threat = Threat("observations", "linf", budget, share=share)
    assert Threat.parse(str(threat)) == threat
    decibels = Threat("waveform", "snr", -budget)
    assert Threat.parse(str(decibels)) == decibels
    assert str(Threat("pixels", "linf", -0.0)) == str(Threat("pixels", "linf", 0)) == "pixels-linf:0@gradient"


def test_the_documented_forms() -> None:
    assert Threat.parse("pixels-linf:0.15") == Threat("pixels", "linf", 0.15, "gradient")
    assert Threat.parse("waveform-snr:30@scores<=1000").query_limit == 1000
    assert Threat.parse("observations-linf:0.2*0.25@gradient").share == 0.25
    assert math.isinf(Threat.parse("pixels-l2:inf").radius)
    assert math.isinf(Threat.parse("pixels-linf:inf").radius)
    assert Threat.parse("observations-linf:0.2*1/4@gradient") == Threat.parse("observations-linf:0.2*0.25")


def test_a_budget_may_be_a_fraction_and_its_id_is_a_number() -> None:
    threat = Threat.parse("pixels-linf:8/255@scores<=10")
    assert threat == Threat("pixels", "linf", 8 / 255, "scores", 10)
    assert str(threat) == f"pixels-linf:{8 / 255!r}@scores<=10"


def test_what_a_board_ranks_by_leaves_out_what_the_attacker_sees() -> None:
    assert Threat.parse("observations-linf:0.2*0.25@scores<=7").place == "observations-linf:0.2*0.25"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("pixels", "expected surface-norm:budget@access"),
        ("pixels-linf:abc", "could not convert"),
        ("pixels-l9:0.1", "unknown norm 'l9'"),
        ("pixels-linf:0.1@root", "unknown access 'root'"),
        ("pixels-linf:-1", "at least 0"),
        ("pixels-linf:8", "write pixels-linf:8/255"),
        ("pixels-linf:1e400", "beyond all numbers"),
        ("pixels-l2:1e39", "below 3.4e\\+38"),
        ("pixels-linf:1_0/255", "could not convert"),
        ("pixels-linf:0.1 ", "could not convert"),
        ("pixels-linf:0.1@scores<=99999999999999999999", "64 bits"),
        ("pixels-linf:8/0", "division by zero"),
        ("pixels-linf:8/", "could not convert"),
        ("pixels-linf:1/2/3", "could not convert"),
        ("pixels-linf:nan", "at least 0"),
        ("pixels-snr:30", "pixels cannot be bounded by snr"),
        ("words-linf:3", "words cannot be bounded by linf"),
        ("pixels-linf:0.1*0@gradient", "share of steps"),
        ("pixels-linf:0.1@scores<=0", "query limit must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidThreat, match=reason):
        Threat.parse(text)


@pytest.mark.parametrize("text", [0.03, None, 3, b"pixels-linf:0.1", ("pixels", 0.1)])
def test_a_threat_is_a_text(text: object) -> None:
    with pytest.raises(InvalidThreat, match="a threat is a text like"):
        Threat.parse(text)  # type: ignore[arg-type]


def test_decibels_are_a_ratio_of_norms_and_scaling_is_of_distances() -> None:
    threat = Threat.parse("waveform-snr:20")
    assert threat.radius == pytest.approx(0.1)
    assert threat.scaled(2).radius == pytest.approx(0.2)
    assert threat.scaled(2).budget == pytest.approx(13.979400)
    assert Threat.parse("pixels-linf:0.1").scaled(0.5).budget == pytest.approx(0.05)
    assert str(Threat.parse("pixels-linf:0.1").scaled(3)) == "pixels-linf:0.3@gradient"
    assert threat.scaled(0).radius == 0
    assert Threat("pixels", "linf", math.inf).scaled(0).radius == 0
    assert [Threat("waveform", "snr", decibels).radius for decibels in (math.inf, -1e9, -math.inf)] == [
        0,
        math.inf,
        math.inf,
    ]
