"""Figures of streams are those of the whole clip."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.quality.reconstruction import clip_figures
from m2l2_mir.quality.streams import segments, stream_figures

RATE = 8000


def cut(clip: np.ndarray, *ends: int):
    """A stream of a clip, cut at some samples."""

    def stream() -> Iterator[np.ndarray]:
        yield from np.split(clip, ends, axis=1)

    return stream


@pytest.mark.parametrize("samples", [100, 511, 512, 80_000, 80_001, 200_123])
def test_same_as_of_the_clip(rng, samples: int) -> None:
    # Two channels, one of them with a constant added; louder towards the end, so that the floor is known last.
    clip = rng.normal(size=(2, samples)) * np.linspace(0.01, 1, samples) + [[0.0], [0.3]]
    estimated = 0.5 * clip + 0.1 * rng.normal(size=clip.shape)
    found = stream_figures(cut(clip, 7, 700, 90_000), cut(estimated, 33_333, 90_500), sample_rate=RATE)
    assert found == pytest.approx(clip_figures(clip, estimated, sample_rate=RATE), rel=1e-9)


def test_copies_and_silence(rng) -> None:
    clip = np.stack([rng.normal(size=30_000), np.zeros(30_000)])
    copy = stream_figures(cut(clip), cut(-0.5 * clip), sample_rate=RATE)
    assert (copy["si_sdr"], copy["log_spectral_distance_aligned"]) == (100, pytest.approx(0, abs=1e-12))
    silent = 0 * clip
    assert stream_figures(cut(clip), cut(silent), sample_rate=RATE)["si_sdr"] == -100
    assert np.isnan(list(stream_figures(cut(silent), cut(clip), sample_rate=RATE).values())).all()


def test_segments_of_ten_seconds(rng) -> None:
    clip = rng.normal(size=(1, 25 * RATE + 500))
    pieces = list(segments(cut(clip, 4_000), cut(2 * clip), sample_rate=RATE))
    assert [piece.shape[-1] / RATE for piece in pieces] == [10, 10, 5 + 500 / RATE]
    np.testing.assert_allclose(np.concatenate(pieces, axis=-1), [clip, 2 * clip])
    assert len(list(segments(cut(clip[:, : 10 * RATE + 9]), cut(clip[:, : 10 * RATE + 9]), sample_rate=RATE))) == 1
    assert len(list(segments(cut(clip[:, :9]), cut(clip[:, :9]), sample_rate=RATE))) == 1


def test_bad_streams(rng) -> None:
    clip = rng.normal(size=(1, 30_000))
    with pytest.raises(InputError, match="another length"):
        stream_figures(cut(clip), cut(clip[:, :-1]), sample_rate=RATE)
    with pytest.raises(InputError, match="NaN"):
        stream_figures(cut(clip), cut(np.where(clip > 3, np.nan, clip)), sample_rate=RATE)
    with pytest.raises(InputError, match="no samples"):
        stream_figures(lambda: [], lambda: [], sample_rate=RATE)
