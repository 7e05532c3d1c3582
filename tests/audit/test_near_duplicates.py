"""Near duplicates: planted copies are found, strangers and relatives are left alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from m2l2_mir.audit import near_duplicates as module
from m2l2_mir.audit.near_duplicates import near_duplicates
from m2l2_mir.errors import InputError

RATE = 16_000
Array = NDArray[np.float64]


def _music(rng: np.random.Generator, seconds: float = 2.0) -> Array:
    """Eight random chords of decaying partials over a breath of coloured noise."""
    length = int(seconds * RATE / 8)
    time = np.arange(length) / RATE
    brightness, decay = rng.uniform(0.5, 2), rng.uniform(1, 8)
    chords = []
    for _ in range(8):
        roots = 110 * 2 ** (rng.integers(0, 36, size=3) / 12)
        partials = [
            np.sin(2 * np.pi * f * k * time) / k**brightness for f in roots for k in range(1, 13) if f * k < 7500
        ]
        chords.append(np.sum(partials, axis=0) * np.exp(-decay * time))
    tone = np.concatenate(chords)
    spectrum = np.fft.rfft(rng.normal(size=len(tone))) / np.arange(1, len(tone) // 2 + 2) ** rng.uniform(0, 0.4)
    noise = np.fft.irfft(spectrum, len(tone))
    mixed: Array = tone / tone.std() + 0.3 * noise / noise.std()
    return rng.uniform(0.02, 0.2) * mixed


def _embedding(sound: Array) -> Array:
    """Mean and spread over time of the level in 40 bands."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, 1024)[::512] * np.hanning(1024)
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = np.unique(np.geomspace(3, 450, 41).astype(int))
    bands = np.log(np.add.reduceat(power, edges, axis=1)[:, :-1] + 1e-6)
    return np.concatenate([bands.mean(axis=0), bands.std(axis=0)])


def _mp3(sound: Array) -> Array:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, RATE, format="MP3", compression_level=0.0)  # the best that is coded at variable rate
    decoded, _ = soundfile.read(io.BytesIO(buffer.getvalue()))
    return np.asarray(decoded[: len(sound)])


@pytest.fixture(scope="module")
def sounds() -> list[Array]:
    rng = np.random.default_rng(1)
    return [_music(rng) for _ in range(120)]


def test_copies_that_were_worked_on_are_found_and_nothing_else(sounds: list[Array]) -> None:
    rng = np.random.default_rng(2)
    strangers = [_embedding(sound) for sound in sounds]
    assert len(near_duplicates(np.array(strangers)).pairs) == 0
    copies = {
        0: 0.5 * sounds[0],
        1: sounds[1] + rng.normal(size=len(sounds[1])) * sounds[1].std() * 10 ** (-30 / 20),
        2: _mp3(sounds[2]),
        3: sounds[3][RATE // 10 :],
        4: sounds[4] * (1 + 1e-3),
    }
    found = near_duplicates(np.array(strangers + [_embedding(copy) for copy in copies.values()]))
    pairs = set(map(tuple, found.pairs[["first", "second"]].to_numpy().tolist()))
    assert pairs == {(original, 120 + number) for number, original in enumerate(copies)}
    assert (found.pairs["similarity"] > 0.7).all()
    assert found.pairs["ratio"].is_monotonic_increasing


@pytest.mark.parametrize("dimension", [2, 5, 10, 30])
def test_strangers_of_any_dimension_give_no_pairs_to_speak_of(dimension: int) -> None:
    listed = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        vectors = rng.normal(size=(300, dimension)) @ rng.normal(size=(dimension, 64))
        found = near_duplicates(vectors)
        listed.append(len(found.pairs))
    assert np.mean(listed) <= 1
    # unit vectors have lost one dimension, and a Gaussian has fewer to show in a finite sample
    assert 0.5 * dimension - 0.5 <= found.dimension <= dimension


def test_level_of_dimensions_and_blocks_make_no_difference(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = rng.normal(size=(90, 40))
    vectors[11] = vectors[80] + 0.05 * rng.normal(size=40)
    whole = near_duplicates(vectors).pairs
    assert whole[["first", "second"]].to_numpy().tolist() == [[11, 80]]
    scaled = np.column_stack([vectors * np.geomspace(1e-3, 1e3, 40) + 100, np.ones(90)]).reshape(90, 41, 1)
    again = near_duplicates(scaled).pairs
    assert again["ratio"].to_numpy() == pytest.approx(whole["ratio"].to_numpy(), rel=0.05)
    monkeypatch.setattr(module, "BLOCK_VALUES", 700)  # seven rows at once
    np.testing.assert_allclose(near_duplicates(vectors).pairs, whole, rtol=1e-4)


def test_a_recording_that_is_there_many_times_is_found(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(100, 20))
    vectors[:12] = vectors[0] + 1e-3 * rng.normal(size=(12, 20))
    found = near_duplicates(vectors).pairs
    assert set(found["first"]) | set(found["second"]) == set(range(12))


def test_a_given_threshold_is_kept_to(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(200, 20))
    found = near_duplicates(vectors, threshold=0.9)
    assert found.threshold == 0.9
    assert 0.6 < found.pairs["ratio"].iloc[0] < found.pairs["ratio"].iloc[-1] < 0.9


def test_what_cannot_be_compared_is_refused(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(20, 3))
    with pytest.raises(InputError, match="at least 20 tracks to compare with: 19"):
        near_duplicates(vectors[1:])
    with pytest.raises(InputError, match=r"threshold must lie between 0 and 1: 1\.0"):
        near_duplicates(vectors, threshold=1.0)
    vectors[3, 1] = np.nan
    with pytest.raises(InputError, match="hold NaN or infinity"):
        near_duplicates(vectors)
