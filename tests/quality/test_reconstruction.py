"""Codecs whose worth is known, and swaps that may not stay at home."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.quality.frechet import fad, fad_interval
from m2l2_mir.quality.logmel import logmel_embeddings
from m2l2_mir.quality.reconstruction import clip_figures, other_clips, set_figures

RATE = 32_000
PIECES = ["a", "a", "b", "b", "c", "c", "d", "d"]


def test_a_codec_that_returns_its_input_and_one_that_is_given_other_latents(music) -> None:
    others = other_clips(PIECES, seed=0)
    own, swapped = (
        [clip_figures(clip, music[place], sample_rate=RATE) for clip, place in zip(music, places, strict=True)]
        for places in (range(len(music)), others)
    )
    for ours, theirs in zip(own, swapped, strict=True):
        assert ours == {"log_spectral_distance": 0, "log_spectral_distance_aligned": 0, "si_sdr": 100}
        assert theirs["log_spectral_distance"] > theirs["log_spectral_distance_aligned"] / 2 > 5
        assert theirs["si_sdr"] < 0
    embeddings = [logmel_embeddings(clip, sample_rate=RATE) for clip in music]
    assert set_figures(embeddings, embeddings, PIECES)["fad"] == pytest.approx(0, abs=1e-5)


def test_set_figures_leave_out_whole_pieces(rng) -> None:
    reference = list(rng.normal(size=(12, 5, 3)))
    estimated = [clip + rng.normal(size=clip.shape) + 1 for clip in reference]
    shuffled = ["c", "a", "b", "d", "a", "b", "c", "d", "d", "c", "b", "a"]
    found = set_figures(reference, estimated, shuffled)
    places = [[place for place, piece in enumerate(shuffled) if piece == name] for name in "abcd"]
    by_hand = [
        [np.concatenate([clips[place] for place in group]) for group in places] for clips in (reference, estimated)
    ]
    expected = fad_interval(*by_hand, paired=True)
    assert found["fad"] == pytest.approx(fad(np.concatenate(reference), np.concatenate(estimated)), rel=1e-9)
    assert (found["low"], found["high"]) == pytest.approx((expected["low"], expected["high"]), rel=1e-9)
    assert found["high"] != pytest.approx(fad_interval(reference, estimated, paired=True)["high"], rel=1e-3)
    assert (found["groups"], found["embeddings"]) == (4, 60)


def test_too_few_embeddings_tell_nothing_of_endless_music(rng) -> None:
    clips = list(rng.normal(size=(8, 4, 8)))  # 32 embeddings are just enough for 8 dimensions
    pieces = list("aabbccdd")
    noisy = [clip + rng.normal(size=clip.shape) for clip in clips]
    assert np.isfinite([set_figures(clips, noisy, pieces)[name] for name in ("unbiased", "fad_inf")]).all()
    few = set_figures([clip[:3] for clip in clips], [clip[:3] for clip in noisy], pieces)
    assert np.isnan([few["unbiased"], few["unbiased_low"], few["fad_inf"]]).all()
    assert few["low"] < few["fad"] < few["high"]


@pytest.mark.parametrize("sizes", [(3, 3), (1, 1, 1), (5, 4, 1), (2, 7, 3, 2)])
def test_each_clip_gets_one_of_another_piece_and_none_is_lost(sizes: tuple[int, ...], rng) -> None:
    pieces = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    for seed in range(20):
        others = other_clips(pieces, seed=seed)
        assert sorted(others) == list(range(len(pieces)))
        assert (pieces[others] != pieces).all()
    assert (other_clips(pieces, seed=3) == other_clips(pieces, seed=3)).all()
    many = np.arange(30)
    assert (other_clips(many, seed=0) != other_clips(many, seed=1)).any()


def test_bad_input(rng) -> None:
    with pytest.raises(InputError, match="3 of 5 clips"):
        other_clips(["a", "a", "a", "b", "c"], seed=0)
    clips = list(rng.normal(size=(4, 5, 2)))
    with pytest.raises(InputError, match="one group for each of 4"):
        set_figures(clips, clips, ["a", "b", "c"])
    with pytest.raises(InputError, match="4 clips and 3"):
        set_figures(clips, clips[:3], list("abcd"))
