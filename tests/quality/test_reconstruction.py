"""Codecs whose worth is known, and swaps that may not stay at home."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.quality.frechet import fad, fad_interval
from m2l2_mir.quality.kernel import kad_interval
from m2l2_mir.quality.logmel import logmel_embeddings
from m2l2_mir.quality.reconstruction import GROUPS_PER_DIMENSION, clip_figures, other_clips, set_figures

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


def test_few_groups_tell_nothing_of_endless_music_however_long_they_are(rng) -> None:
    few, enough = GROUPS_PER_DIMENSION * 2 - 1, GROUPS_PER_DIMENSION * 2
    clips = list(rng.normal(size=(enough, 1, 2)) + 0.1 * rng.normal(size=(enough, 300, 2)))
    noisy = [clip + 0.2 * rng.normal(size=clip.shape) for clip in clips]
    endless = ("unbiased", "unbiased_low", "unbiased_high", "fad_inf")
    found = set_figures(clips, noisy, range(enough))
    assert np.isfinite([found[name] for name in endless]).all()
    found = set_figures(clips[:few], noisy[:few], range(few))
    assert np.isnan([found[name] for name in endless]).all()
    assert found["low"] < found["fad"] < found["high"]


def test_kad_beside_fad(rng) -> None:
    reference = list(rng.normal(size=(12, 5, 3)))
    estimated = [clip + 1 for clip in reference]
    pieces = list("abcabcabcabc")
    found = set_figures(reference, estimated, pieces)
    by_hand = [
        [np.concatenate([clips[place] for place in range(first, 12, 3)]) for first in range(3)]
        for clips in (reference, estimated)
    ]
    expected = kad_interval(*by_hand, paired=True)
    assert (found["kad"], found["kad_low"], found["kad_high"]) == pytest.approx(
        tuple(expected[name] for name in ("kad", "low", "high")), rel=1e-9
    )
    silence = [0 * clip for clip in reference]
    assert np.isnan(set_figures(silence, silence, pieces)["kad"])


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
