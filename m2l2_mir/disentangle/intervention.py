"""Decoder interventions: give a slot of one clip to another, decode, and hear whether an attribute moves along.

hosts, donors --swap slot k--> embeddings --decode, fixed noise seed--> audio --estimators--> did it move to the donor?

Conventions
-----------
* moved[k, f]: share of pairs whose attribute f, measured on the decoded swap, is nearer to the donor's than to the
  host's, both measured on their plain reconstructions with the same noise seed. Counted are pairs whose plain
  reconstructions differ in f by more than twice the estimator's tolerance. T[k, f] = moved less the same share for null
  swaps: a random subspace as wide as a slot, of all whitened dimensions, is taken from the donor.
* Ceiling: all slots are the donor's. Floor: none is, decoded with another noise seed, which says how far noise alone
  moves an attribute. Every swap is decoded with each of the seeds, and a pair's share is its mean over them.
* Context leaks attributes: a decoder hears the chunk before. So swaps are also decoded behind a chunk of the host, of
  the donor, or behind none, and only what follows it is measured.
* Known failure: an estimator that is wrong on reconstructions moves at random; see
  :func:`m2l2_mir.disentangle.attributes.calibrate` and its ``agreement``, and read no T where that is low.

Source of the whitening and of random bases: :mod:`m2l2_mir.disentangle.bases`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.disentangle.attributes import ESTIMATORS, Estimator
from m2l2_mir.disentangle.bases import random_basis, whitening
from m2l2_mir.errors import InputError
from m2l2_mir.probe.statistics import cluster_bootstrap

__all__ = ["CONTEXTS", "Swaps", "intervene", "null_projections"]

Context = Literal["none", "host", "donor"]
CONTEXTS: tuple[Context, ...] = ("none", "host", "donor")
SEEDS = (0, 1, 2, 3, 4)
NULL_SWAPS = 8
LEAST_PAIRS = 5  # that differ in an attribute, for a number

Floats = NDArray[np.float64]
Decode = Callable[[Floats, int], NDArray[np.floating]]


@dataclass(frozen=True, kw_only=True)
class Swaps:
    """Hosts and donors.

    Parameters
    ----------
    hosts, donors : np.ndarray [pairs, chunks, K, d]
        Of equal lengths.
    reference : np.ndarray [clips, K, d]
        Single chunks that the null is whitened on.
    groups
        Of each pair, for intervals.
    """

    hosts: Floats
    donors: Floats
    reference: Floats
    groups: Sequence[str]

    def __post_init__(self) -> None:
        if self.hosts.ndim != 4 or self.hosts.shape != self.donors.shape or not self.hosts.size:
            raise InputError(
                f"hosts {list(self.hosts.shape)} and donors {list(self.donors.shape)} do not fit; give both as "
                "[pairs, chunks, K, d]"
            )
        if self.reference.ndim != 3 or self.reference.shape[1:] != self.hosts.shape[2:]:
            raise InputError(
                f"the reference has shape {list(self.reference.shape)}; give [clips, {self.hosts.shape[2]}, "
                f"{self.hosts.shape[3]}]"
            )
        if len(self.groups) != len(self.hosts):
            raise InputError(f"{len(self.groups)} groups for {len(self.hosts)} pairs; give one for each")


def intervene(
    decode: Decode,
    swaps: Swaps,
    sample_rate: int,
    *,
    context: Context = "none",
    seeds: Sequence[int] = SEEDS,
    null_swaps: int = NULL_SWAPS,
    estimators: Mapping[str, Estimator] = ESTIMATORS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Swap every slot of every pair.

    Parameters
    ----------
    decode
        From embeddings [chunks, K, d] and a noise seed to mono samples, as many for each chunk.
    swaps
        Hosts and donors.
    sample_rate
        Of what is decoded, in Hz.
    context
        What is decoded before, and not measured; see the module's conventions.
    seeds
        Noise seeds; at least two, since the floor is the host with the next one.
    null_swaps
        Random subspaces.
    estimators
        By name of the attribute.
    seed
        Of the subspaces.
    progress
        Called with the number of pairs done and of all.

    Returns
    -------
    dict
        ``attributes`` (names), ``counted`` [F] (pairs that differ), ``transfer`` [K, F] (T), ``low`` and ``high``
        [K, F] (95 %, over groups), ``moved`` [K, F], ``null``, ``ceiling`` and ``floor`` [F] (shares); nan with fewer
        than five pairs. ``difference`` [pairs, K, F]: T of each pair. ``plain`` [2, pairs, F]: what was measured on
        hosts and donors, with the first seed.

    Raises
    ------
    InputError
        Seeds are too few, the context is unknown, or what is decoded has a length that no chunk divides.

    Notes
    -----
    Decodes pairs x seeds x (K + null_swaps + 4) clips.
    """
    if context not in CONTEXTS or len(seeds) < 2 or null_swaps < 1:
        raise InputError(
            f"context {context!r}, {len(seeds)} seeds, {null_swaps} null swaps; give one of {', '.join(CONTEXTS)}, two "
            "seeds or more and a null swap"
        )
    names = list(estimators)
    pairs, _, slots, _ = swaps.hosts.shape
    projections = null_projections(swaps.reference, null_swaps, seed=seed)
    shares = {part: np.full((pairs, count, len(names)), np.nan) for part, count in _counts(slots).items()}
    plain = np.full((2, pairs, len(names)), np.nan)

    chosen = list(estimators.values())

    def heard(embeddings: Floats, before: Floats, noise: int) -> Floats:
        audio = _decoded(decode, embeddings, before, noise)
        return np.array([estimator.measure(audio, sample_rate) for estimator in chosen])

    for pair, (host, donor) in enumerate(zip(swaps.hosts, swaps.donors, strict=True)):
        before = {"none": host[:0], "host": host[:1], "donor": donor[:1]}[context]
        swapped = np.repeat(host[None], slots, axis=0)
        swapped[np.arange(slots), :, np.arange(slots)] = donor.swapaxes(0, 1)
        step = (donor - host).reshape(len(host), -1)
        nulls = [host + (step @ projection).reshape(host.shape) for projection in projections]
        found: dict[str, list[Floats]] = {part: [] for part in shares}
        for place, noise in enumerate(seeds):
            other = seeds[(place + 1) % len(seeds)]
            ours, theirs = heard(host, before, noise), heard(donor, before, noise)
            if place == 0:
                plain[:, pair] = ours, theirs
            for part, many, drawn in (
                ("slots", swapped, noise),
                ("null", nulls, noise),
                ("ceiling", [donor], other),
                ("floor", [host], other),
            ):
                moved = np.array([_moved(heard(one, before, drawn), ours, theirs, chosen) for one in many])
                found[part].append(moved if part == "slots" else _mean(moved, axis=0)[None])
        for part, many in found.items():
            shares[part][pair] = _mean(np.array(many), axis=0)
        if progress is not None:
            progress(pair + 1, pairs)

    counted = np.isfinite(shares["ceiling"][:, 0]).sum(axis=0)
    enough = counted >= LEAST_PAIRS
    difference = shares["slots"] - shares["null"]
    intervals = np.full((2, slots, len(names)), np.nan)
    for slot in range(slots):
        for place in np.flatnonzero(enough).tolist():
            one = cluster_bootstrap(difference[:, slot, place], list(swaps.groups), draws=2000)
            intervals[:, slot, place] = one.low, one.high
    mean = {part: np.where(enough, _mean(values, axis=0), np.nan) for part, values in shares.items()}
    return {
        "attributes": names,
        "counted": counted,
        "transfer": np.where(enough, _mean(difference, axis=0), np.nan),
        "low": intervals[0],
        "high": intervals[1],
        "moved": mean["slots"],
        **{part: mean[part][0] for part in ("null", "ceiling", "floor")},
        "difference": difference,
        "plain": plain,
    }


def null_projections(reference: ArrayLike, draws: int, *, seed: int = 0) -> list[Floats]:
    """Matrices [K*d, K*d] that keep of a change what lies in a random subspace, as wide as a slot, of whitened codes.

    >>> [projection] = null_projections(np.random.default_rng(0).standard_normal((90, 3, 2)), 1)
    >>> bool(np.allclose(projection @ projection, projection)), round(float(np.trace(projection)))
    (True, 2)
    """
    clips = np.asarray(reference, dtype=np.float64)
    whiten = whitening(clips.reshape(len(clips), -1))
    colour = np.linalg.pinv(whiten)
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        basis = random_basis(whiten.shape[1], min(whiten.shape[1], clips.shape[2]), rng)
        found.append(whiten @ basis @ basis.T @ colour)
    return found


def _counts(slots: int) -> dict[str, int]:
    return {"slots": slots, "null": 1, "ceiling": 1, "floor": 1}


def _decoded(decode: Decode, embeddings: Floats, before: Floats, noise: int) -> Floats:
    """Mono samples of some chunks, decoded behind others."""
    audio = np.asarray(decode(np.concatenate([before, embeddings]), noise), dtype=np.float64)
    chunks = len(before) + len(embeddings)
    if audio.ndim != 1 or len(audio) % chunks:
        raise InputError(
            f"decoding {chunks} chunks gave {list(audio.shape)} samples; give mono, as many for each chunk"
        )
    return audio[len(audio) // chunks * len(before) :]


def _moved(heard: Floats, host: Floats, donor: Floats, estimators: Sequence[Estimator]) -> Floats:
    """1 where an attribute is nearer to the donor's, 0 to the host's, 1/2 between; nan where the two are alike."""
    shares = np.full(len(heard), np.nan)
    for place, estimator in enumerate(estimators):
        apart = float(estimator.distance(host[place], donor[place]))
        if not apart > 2 * estimator.tolerance:
            continue
        to_host, to_donor = (float(estimator.distance(heard[place], one[place])) for one in (host, donor))
        shares[place] = 0.5 if not np.isfinite(to_host) or to_host == to_donor else float(to_donor < to_host)
    return shares


def _mean(values: Floats, axis: int) -> Floats:
    """Mean of what is defined; nan where nothing is."""
    there = np.isfinite(values)
    total = np.where(there, values, 0.0).sum(axis=axis)
    count = there.sum(axis=axis)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
