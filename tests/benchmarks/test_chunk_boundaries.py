"""Drift of decoding is told from the course of the music."""

from __future__ import annotations

import importlib
import math
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.quality.boundaries import boundary_figures

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
RATE, CHUNK, OVERLAP = 2_000, 1_000, 100


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        yield importlib.import_module("chunk_boundaries")


def measured(music: dict[str, np.ndarray], decode) -> dict:
    sizes = {"sample_rate": RATE, "chunk_samples": CHUNK, "overlap": OVERLAP}
    return {name: boundary_figures(clip, decode(clip), **sizes) for name, clip in music.items()}


def pieces(rng: np.random.Generator, count: int, seconds: int = 60) -> dict[str, np.ndarray]:
    return {str(number): 0.1 * rng.normal(size=(1, seconds * RATE)) for number in range(count)}


def test_a_codec_without_memory_does_not_drift_where_music_fades(script: ModuleType) -> None:
    rng = np.random.default_rng(0)  # of 24 intervals like these two, for 12 seeds, one left 0 out
    fading = {name: clip * np.linspace(1, 0.05, clip.shape[1]) for name, clip in pieces(rng, 6).items()}
    noisy = [measured(fading, lambda clip: clip + 0.02 * rng.normal(size=clip.shape)) for _ in range(2)]
    still = {name: {**one, "level": 0 * one["level"]} for name, one in noisy[0].items()}
    for one in still.values():
        one["log_spectral_distance"] = np.zeros_like(one["log_spectral_distance"])
    alone = script.drift(noisy[0], still)  # its figures rise with the fading
    assert all(alone[figure]["low"] > 1 for figure in script.DRIFTING)
    found = script.drift(*noisy)
    assert all(found[figure]["low"] < 0 < found[figure]["high"] for figure in script.DRIFTING)
    assert all(abs(found[figure]["estimate"]) < 0.1 for figure in script.DRIFTING)
    assert "no drift" in script.drift_sentence("two-step", found, trained=True)


def test_a_rise_in_steps_is_found(script: ModuleType, rng) -> None:
    music = pieces(rng, 4)

    def rising(clip: np.ndarray) -> np.ndarray:
        return clip * np.repeat(10 ** (np.array([0, 3, 6]) / 20), clip.shape[1] // 3)

    found = script.drift(measured(music, rising), measured(music, lambda clip: clip))
    # the line through three steps of a minute: 8 / 9 of the steps' 2 x 3 dB x 4 / 3
    assert found["level"]["estimate"] == pytest.approx(8, rel=0.05)
    assert found["level"]["low"] > 7
    assert "level (dB) by 8" in script.drift_sentence("two-step", found, trained=True)
    one = {"0": music["0"]}
    alone = script.drift(measured(one, rising), measured(one, lambda clip: clip))
    assert alone["level"]["estimate"] == pytest.approx(8, rel=0.05)
    assert math.isnan(alone["level"]["low"])
    assert "single recording" in script.drift_sentence("two-step", alone, trained=True)


def test_long_recordings_count_most(script: ModuleType, rng) -> None:
    music = {"long": pieces(rng, 1, seconds=120)["0"], "short": pieces(rng, 1, seconds=20)["0"]}

    def of_the_long(clip: np.ndarray) -> np.ndarray:
        rise = 3 if clip.shape[1] == 120 * RATE else -3  # dB a minute
        return clip * 10 ** (rise * np.arange(clip.shape[1]) / RATE / 60 / 20)

    found = script.drift(measured(music, of_the_long), measured(music, lambda clip: clip))
    assert found["level"]["estimate"] == pytest.approx(3, rel=0.02)


def test_what_context_does_is_told_from_what_the_overlap_does(script: ModuleType) -> None:
    def rising(rise: float, more: float) -> dict[str, dict[str, list]]:
        inside = [[1.0 + piece + more] * 5 for piece in range(3)]
        return {
            str(piece): {
                "level": [0.0] * 5,
                **{name: [[value + rise, value] for value in inside[piece]] for name in script.FIGURES},
            }
            for piece in range(3)
        }

    found = script.of_context(rising(0.5, 0.3), rising(-0.2, 0.0))  # both nearer or further by themselves
    assert all(set(of) == set(script.FIGURES) for of in found.values())
    assert found["of_context"]["log_spectral_distance"]["estimate"] == pytest.approx(0.7)
    assert found["inside_of_context"]["log_spectral_distance"]["estimate"] == pytest.approx(0.3)


def test_a_model_that_takes_one_noise_level_has_no_use_of_context(script: ModuleType, capsys) -> None:
    class OneLevel:
        config = Namespace(context_chunks=2)

    def refuse(*given: object, **named: object) -> None:
        raise InputError("all chunks of a window have one noise level")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "energy_scores", refuse)
        assert script.use_of_context(OneLevel(), {"a": np.zeros((1, 9))}, {"a": None}, 0) is None
    assert "one noise level" in capsys.readouterr().err


def test_the_longest_of_each_collection_are_taken(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = {"a/1": 40, "a/2": 60, "a/3": 50, "b/1": 35, "b/short": 10, "b/silent": 90}
    sounds = {
        name: np.full((1, seconds * RATE), 0.0 if name == "b/silent" else 0.1, np.float32)
        for name, seconds in lengths.items()
    }
    monkeypatch.setattr(script, "held_out", lambda data, names: [])
    monkeypatch.setattr(script, "waveforms", lambda listed, config: iter(sounds.items()))
    options = Namespace(data=None, hold_out=["test"], files=3, minutes=0.75, quick=False)
    model = SimpleNamespace(config=SimpleNamespace(sample_rate=RATE))
    found = dict(script.recordings(options, model))
    assert list(found) == ["a/2", "b/1", "a/3"]
    assert [one.shape[1] / RATE for one in found.values()] == [45, 35, 45]
