"""Reconstructions of clips: the figures of each, those of the set, and whose latents to swap.

    clip --codec--> reconstruction
    clip_figures: each clip     set_figures: all of them     other_clips: is it the latents that the decoder goes by?

Conventions
-----------
- Clips come in groups, such as excerpts of one piece, that are not independent. What is left out, drawn or swapped is
  always a group with all its clips.
- Conventions of clips: :mod:`m2l2_mir.quality.waveform_pairs`; of the figures: the module of each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.quality.extrapolation import fad_inf
from m2l2_mir.quality.frechet import fad_interval
from m2l2_mir.quality.kernel import kad_interval, median_distance
from m2l2_mir.quality.log_spectral import log_spectral_distance
from m2l2_mir.quality.si_sdr import si_sdr

__all__ = ["clip_figures", "other_clips", "set_figures"]

GROUPS_PER_DIMENSION = 4
"""Groups for each dimension from which the FAD of endless music is estimated: 512 for log-mel embeddings.

With fewer its interval may never hold the truth (figures: :mod:`m2l2_mir.quality.intervals`).
"""

_MOST_IN_PAIRS = 6000  # embeddings that KAD compares each with each: some seconds


def clip_figures(
    reference: NDArray[np.floating], estimated: NDArray[np.floating], *, sample_rate: int
) -> dict[str, float]:
    """Compare a clip with its reconstruction.

    Parameters
    ----------
    reference, estimated : np.ndarray [samples] or [channels, samples]
        Aligned and of equal shapes.
    sample_rate
        Rate in Hz, of both.

    Returns
    -------
    dict
        ``log_spectral_distance``, ``log_spectral_distance_aligned`` (a wrong level forgiven) and ``si_sdr``, all in dB;
        nan where the reference is silent.

    Raises
    ------
    InputError
        Shapes differ, there are no samples, a sample is not finite, or the rate is below 100 Hz.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=22050)
    >>> {name: round(value, 2) for name, value in clip_figures(noise, 2 * noise, sample_rate=22050).items()}
    {'log_spectral_distance': 6.02, 'log_spectral_distance_aligned': 0.0, 'si_sdr': 100.0}
    """
    figures = {
        "log_spectral_distance": log_spectral_distance(reference, estimated, sample_rate=sample_rate),
        "log_spectral_distance_aligned": log_spectral_distance(
            reference, estimated, sample_rate=sample_rate, align_level=True
        ),
        "si_sdr": si_sdr(reference, estimated),
    }
    return {name: float(value) for name, value in figures.items()}


def set_figures(
    reference: Sequence[NDArray[np.floating]], estimated: Sequence[NDArray[np.floating]], groups: ArrayLike
) -> dict[str, float]:
    """Distances between the embeddings of clips and those of their reconstructions, with intervals over groups.

    Parameters
    ----------
    reference, estimated : sequence of np.ndarray [frames, d]
        Embeddings of each clip, such as :func:`m2l2_mir.quality.logmel.logmel_embeddings`, and of its reconstruction.
    groups : array-like [clips]
        Group of each clip, at least three different ones.

    Returns
    -------
    dict
        ``fad`` with ``low`` and ``high``, 95 %, for as much music; ``kad`` with ``kad_low`` and ``kad_high``, which has
        no bias however little music there is: nan where most reference embeddings are equal. ``unbiased`` with
        ``unbiased_low`` and ``unbiased_high``, and ``fad_inf``, FAD of endless music: nan with fewer than
        :data:`GROUPS_PER_DIMENSION` groups for each dimension. Besides ``groups`` and ``embeddings``, numbers of.

    Raises
    ------
    InputError
        See :func:`m2l2_mir.quality.embedding_sets.embedding_sets`; or there are fewer than three groups, or not one for
        each clip.
    """
    codes = _codes(groups, len(reference))
    members = [np.flatnonzero(codes == code).tolist() for code in range(codes.max() + 1)]
    if len(estimated) != len(reference):
        raise InputError(f"{len(reference)} clips and {len(estimated)} reconstructions; give one for each")
    ours, theirs = (
        [np.concatenate([embeddings[clip] for clip in group]) for group in members]
        for embeddings in (reference, estimated)
    )
    interval = fad_interval(ours, theirs, paired=True)
    found = {name: interval[name] for name in ("fad", "low", "high")}
    endless = dict.fromkeys(("unbiased", "unbiased_low", "unbiased_high", "fad_inf"), math.nan)
    # Embeddings of one group are alike: the bias falls with the number of groups, however many each of them has.
    if len(members) >= GROUPS_PER_DIMENSION * theirs[0].shape[1]:
        endless = {name: interval[name] for name in ("unbiased", "unbiased_low", "unbiased_high")}
        endless["fad_inf"] = fad_inf(ours, theirs, paired=True)["fad_inf"]
    embeddings = sum(map(len, theirs))
    return {**found, **_kernel_figures(ours, theirs), **endless, "groups": len(members), "embeddings": embeddings}


def other_clips(groups: ArrayLike, *, seed: int) -> NDArray[np.intp]:
    """Assign to each clip another one of another group; each is assigned once.

    Decoding a clip from the latents of the other shows how far the decoder goes by its latents.

    Parameters
    ----------
    groups : array-like [clips]
        Group of each clip.
    seed
        The same seed gives the same assignment.

    Returns
    -------
    np.ndarray [clips]
        Numbers of clips, a permutation.

    Raises
    ------
    InputError
        One group has more than half of the clips, or there are none.

    Examples
    --------
    >>> other_clips(["a", "a", "b", "b"], seed=0).tolist() in ([2, 3, 0, 1], [3, 2, 1, 0], [2, 3, 1, 0], [3, 2, 0, 1])
    True
    """
    codes = _codes(groups, len(np.asarray(groups, dtype=object)))
    largest = int(np.bincount(codes).max())
    if 2 * largest > len(codes):
        raise InputError(
            f"one group has {largest} of {len(codes)} clips, so not each clip can have one of another group; "
            "take clips of more groups"
        )
    generator = np.random.default_rng(seed)
    # Groups one after the other around a circle: the largest group's size further on lies another group.
    place = generator.permutation(codes.max() + 1)[codes]
    circle = np.lexsort((generator.random(len(codes)), place))
    others = np.empty_like(circle)
    others[circle] = np.roll(circle, largest)
    return others


def _kernel_figures(ours: list[NDArray[np.floating]], theirs: list[NDArray[np.floating]]) -> dict[str, float]:
    step = math.ceil(sum(map(len, ours)) / _MOST_IN_PAIRS)
    some = [[group[::step] for group in side] for side in (ours, theirs)]
    if not median_distance(some[0]):
        return dict.fromkeys(("kad", "kad_low", "kad_high"), math.nan)
    found = kad_interval(*some, paired=True)
    return {"kad": found["kad"], "kad_low": found["low"], "kad_high": found["high"]}


def _codes(groups: ArrayLike, clips: int) -> NDArray[np.intp]:
    names = np.asarray(groups, dtype=object)
    if names.shape != (clips,) or not clips:
        raise InputError(f"groups have shape {list(names.shape)}; give one group for each of {clips} clips, 1 or more")
    return np.unique(names, return_inverse=True)[1]
