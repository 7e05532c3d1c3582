"""Hand-made rows on sound of known musical truth, and their defined results at the edges."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from m2l2_mir.audio import save
from m2l2_mir.embedding.reading import SILENCE_DBFS
from m2l2_mir.errors import AudioError, InputError
from m2l2_mir.probe import baselines, frame_features
from m2l2_mir.probe.baselines import BASELINES, features_of_file
from m2l2_mir.probe.frame_features import HOP, SAMPLE_RATE


def _chord(pitches: list[int], *, cents: float = 0.0, seconds: float = 3.0, sample_rate: int = SAMPLE_RATE):
    """Harmonic tones of MIDI numbers, six partials each."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    hertz = 440 * 2 ** ((np.array(pitches) + cents / 100 - 69) / 12)
    partials = np.multiply.outer(hertz, np.arange(1, 7)).ravel()
    heights = np.tile(0.6 ** np.arange(6), len(pitches))
    return 0.1 * heights @ np.sin(2 * np.pi * partials[:, None] * time)


def _clicks(bpm: float, seconds: float) -> np.ndarray:
    """A burst of noise on every beat."""
    samples = np.zeros(round(seconds * SAMPLE_RATE))
    burst = 0.5 * np.random.default_rng(0).normal(size=2000) * np.exp(-np.arange(2000) / 300)
    for onset in np.arange(0, seconds - 0.1, 60 / bpm):
        start = round(onset * SAMPLE_RATE)
        samples[start : start + len(burst)] += burst
    return samples


def _row(name: str, waveform: np.ndarray, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    return BASELINES[name].features(waveform, sample_rate)


@pytest.mark.parametrize("cents", [0, 35])
def test_chroma_rotates_with_transposition(cents: float) -> None:
    c_major = _row("chroma", _chord([48, 60, 64, 67]))
    assert set(np.argsort(c_major)[-3:]) == {0, 4, 7}
    up = _row("chroma", _chord([53, 65, 69, 72], cents=cents))  # F major, tuned higher: tuning is estimated
    assert np.corrcoef(np.roll(c_major, 5), up)[0, 1] > 0.98


def test_tempograms_peak_at_the_beat() -> None:
    whole = _row("tempogram", _clicks(100, 10.0))
    frames = 60 / 100 * SAMPLE_RATE / HOP
    assert abs(20 + whole[20:40].argmax() - frames) < 1
    # Within a chunk of 32 frames a beat must come twice.
    fast = _row("tempogram-chunks", _clicks(200, 10.0))
    assert abs(8 + fast[8:20].argmax() - frames / 2) < 1


def test_levels_are_decibels() -> None:
    noise = 0.05 * np.random.default_rng(0).normal(size=4 * SAMPLE_RATE)
    quiet, loud = _row("log-mel", noise), _row("log-mel", 2 * noise)
    np.testing.assert_allclose(loud[:256] - quiet[:256], 20 * np.log10(2), atol=1e-3)
    np.testing.assert_allclose(loud[256:], quiet[256:], atol=1e-3)
    assert quiet[256:].min() > 0.5  # no band without a bin, which would be constant
    tone = _row("log-mel", np.sin(2 * np.pi * 1000 * np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE))
    assert tone[:256].max() == pytest.approx(0, abs=3)  # one band holds most of a full-scale sine


def test_rows_tell_sounds_apart_but_not_formats() -> None:
    for name in BASELINES:
        low, high = _row(name, _chord([40], seconds=2)), _row(name, _chord([76], seconds=2))
        stereo = _row(name, np.stack([_chord([40], seconds=2, sample_rate=48_000)] * 2), 48_000)
        assert np.linalg.norm(stereo - low) < 0.2 * np.linalg.norm(high - low) or name.startswith("tempogram")


@pytest.mark.parametrize("samples", [1, 500, 33_000])
@pytest.mark.parametrize("sound", ["silence", "constant", "noise"])
def test_short_and_silent_clips(sound: str, samples: int) -> None:
    noise = 0.1 * np.random.default_rng(0).normal(size=samples)
    waveform = {"silence": np.zeros(samples), "constant": np.full(samples, 0.3), "noise": noise}[sound]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = {name: _row(name, waveform) for name in BASELINES}
    assert all(rows[name].shape == (baseline.width,) for name, baseline in BASELINES.items())
    assert all(np.isfinite(row).all() for row in rows.values())
    if sound == "silence":
        assert not rows["chroma"].any()
        assert not rows["tempogram"].any()
        np.testing.assert_allclose(rows["log-mel"][:256], -100, atol=1e-4)
        assert not rows["log-mel"][256:].any()


def test_silent_chunks_are_left_out_as_they_are_of_embeddings() -> None:
    noise = np.random.default_rng(0).normal(scale=0.1, size=8 * 32768)
    with_silence = np.concatenate([np.zeros(4 * 32768), noise, np.zeros(4 * 32768)])
    for name in BASELINES.keys() - {"tempogram"}:  # its windows of 8.9 s reach into the silence
        alone, beside = (_row(name, sound) for sound in (noise, with_silence))
        assert np.abs(beside - alone).max() < 0.1 * np.abs(alone).max(), name
    assert frame_features.SILENCE_DBFS == SILENCE_DBFS
    # What is behind the last whole chunk is judged by itself.
    quiet_end, end = np.concatenate([noise, np.zeros(20_000)]), np.concatenate([noise, np.zeros(32768), noise[:20_000]])
    for name in ("log-mel", "chroma"):
        np.testing.assert_allclose(_row(name, quiet_end), _row(name, noise), atol=0.5)
        assert np.abs(_row(name, end) - _row(name, noise)).max() > 0
    assert frame_features.Segment(end.astype(np.float32)).audible(316)[[0, 255, 270, 290, 315]].tolist() == [
        True,
        True,
        False,
        True,
        True,
    ]


def test_silence_has_no_spread() -> None:
    assert not _row("log-mel", np.zeros(439 * HOP))[256:].any()  # sums over 440 frames leave a rounding error


@pytest.mark.parametrize("waveform", [np.zeros(0), np.array([0.1, np.nan])])
def test_no_sound(waveform: np.ndarray) -> None:
    with pytest.raises(InputError, match="has no samples or some are not finite"):
        _row("mfcc", waveform)


def test_a_file_has_the_rows_of_its_waveform(tmp_path: Path) -> None:
    chord = _chord([50, 57, 65], seconds=2, sample_rate=48_000)
    save(tmp_path / "chord.wav", chord, 48_000)
    rows = features_of_file(tmp_path / "chord.wav", list(BASELINES))
    for name, row in rows.items():
        np.testing.assert_allclose(row, _row(name, chord, 48_000), rtol=1e-2, atol=0.05)  # 24 bits
    excerpt = features_of_file(tmp_path / "chord.wav", ["chroma"], excerpt=(0.5, 1.0))
    np.testing.assert_allclose(excerpt["chroma"], _row("chroma", chord[24_000:72_000], 48_000), rtol=1e-2, atol=0.05)
    with pytest.raises(InputError, match=r"no baseline 'chrome'.*chroma"):
        features_of_file(tmp_path / "chord.wav", ["chrome"])
    with pytest.raises(AudioError):
        features_of_file(tmp_path / "none.wav", ["chroma"])


def test_long_clips_are_pooled_over_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = _chord([48, 55], seconds=8)
    whole = {name: _row(name, clip) for name in ("log-mel", "chroma", "waveform")}
    monkeypatch.setattr(baselines, "SEGMENT", 2 * SAMPLE_RATE)
    lengths = [len(piece) for piece in baselines._segments([clip[None, :30_000], clip[None, 30_000:]])]
    assert lengths == [2 * SAMPLE_RATE] * 4
    for name, row in whole.items():
        assert np.corrcoef(_row(name, clip), row)[0, 1] > 0.98
    # Sound after another one half as long: means weigh frames alike.
    noise = np.random.default_rng(0).normal(scale=1e-3, size=4 * SAMPLE_RATE)
    mixed = _row("log-mel", np.concatenate([noise, clip]))[:256]
    np.testing.assert_allclose(mixed, (_row("log-mel", noise)[:256] + 2 * _row("log-mel", clip)[:256]) / 3, atol=1.5)
    assert len(list(baselines._segments([np.zeros((1, 2 * SAMPLE_RATE + 100), np.float32)]))) == 1


def test_a_chunk_tells_periods_of_more_than_half_of_it() -> None:
    slow = _row("tempogram-chunks", _clicks(120, 10.0))  # a click every 21.5 of 32 frames
    assert slow[[21, 22]].max() > 0.1
    assert slow[[21, 22]].max() > 2 * np.abs(slow[[14, 15, 16]]).max()
