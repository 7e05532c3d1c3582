"""Beat and key of a decoded minute, on music whose beat and key are known."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
RATE = 44_100
MAJOR = (0, 4, 7)
MINOR = (0, 3, 7)


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        yield importlib.import_module("_coherence")


def music(bpm: float, tonic: int, triad: tuple[int, ...] = MAJOR, seconds: float = 20) -> np.ndarray:
    """Clicks on the beat over a cadence (I IV V I), [1, samples]."""
    time = np.arange(round(seconds * RATE)) / RATE
    waveform = np.zeros_like(time)
    for place, root in enumerate((0, 5, 7, 0) * math.ceil(seconds / 4)):
        inside = slice(place * RATE, (place + 1) * RATE)
        third = triad if root != 7 else MAJOR
        for note in third:
            waveform[inside] += 0.05 * np.sin(2 * np.pi * 220 * 2 ** ((tonic - 9 + root + note) / 12) * time[inside])
    click = 0.5 * np.random.default_rng(0).normal(size=1000) * np.linspace(1, 0, 1000)
    for beat in np.arange(0.1, seconds - 0.1, 60 / bpm):
        waveform[round(beat * RATE) :][:1000] += click
    return waveform[None]


def test_what_stays_is_told_from_what_changes(script: ModuleType) -> None:
    original = script.course(music(100, tonic=2), RATE)
    assert set(original.keys) == {"D major"}
    assert len(original.keys) == 3  # windows from 0, 5 and 10 s
    np.testing.assert_allclose(original.tempi, 100, rtol=0.04)
    same = script.figures(original, script.course(0.5 * music(100, tonic=2), RATE))
    assert same == pytest.approx({"beats": 1, "tempo": 1, "key": 1, "tempo_steadiness": 0, "key_steadiness": 0})
    slower = script.figures(original, script.course(music(80, tonic=2), RATE))
    assert slower["tempo"] == 0
    assert slower["beats"] < 0.6
    assert (slower["key"], slower["tempo_steadiness"]) == (1, 0)
    other = script.figures(original, script.course(music(100, tonic=2, triad=MINOR), RATE))
    assert (other["beats"], other["tempo"]) == (1, 1)
    assert other["key"] == pytest.approx(0.2)  # the parallel minor, by MIREX


def test_a_key_that_wanders_is_less_steady(script: ModuleType) -> None:
    original = script.course(music(100, tonic=0, seconds=30), RATE)
    wandering = np.concatenate([music(100, tonic, seconds=10) for tonic in (0, 6, 3)], axis=1)
    found = script.figures(original, script.course(wandering, RATE))
    assert found["key_steadiness"] < -0.3
    assert found["key"] < 0.7


def test_silence(script: ModuleType) -> None:
    original, nothing = (script.course(one, RATE) for one in (music(100, 0), np.zeros((1, 20 * RATE))))
    lost = script.figures(original, nothing)
    assert (lost["beats"], lost["tempo"], lost["key"]) == (0, 0, 0)
    assert lost["key_steadiness"] == lost["tempo_steadiness"] == -1
    assert all(math.isnan(value) for value in script.figures(nothing, original).values())
    half = music(100, 0, seconds=30)
    half[:, : 15 * RATE] = 0
    found = script.figures(script.course(half, RATE), script.course(half, RATE))
    assert (found["tempo"], found["key"]) == (1, 1)


def test_octaves_of_the_tempo_and_fifths_of_the_key(script: ModuleType) -> None:
    beats = np.arange(0.0, 30.0)
    original = script.Course(beats=beats, tempi=np.full(4, 100.0), keys=("C major",) * 4)
    decoded = script.Course(
        beats=beats, tempi=np.array([200.0, 103.0, 50.0, 106.0]), keys=("G major", "C major", "A minor", "F# major")
    )
    found = script.figures(original, decoded)
    assert found["tempo"] == 0.25
    assert found["key"] == pytest.approx((0.5 + 1 + 0.3 + 0) / 4)
    assert found["tempo_steadiness"] == pytest.approx(0.5 - 1)  # 103 and 106, about their median of 104.5
    assert found["key_steadiness"] == pytest.approx(0.25 - 1)


def test_every_key_is_known_by_its_profile(script: ModuleType) -> None:
    named = [script.key_of(np.roll(profile, tonic)) for profile in (script.MAJOR, script.MINOR) for tonic in range(12)]
    assert len(set(named)) == 24
    assert (named[9], named[21]) == ("A major", "A minor")
    script.key.validate(named, named)
