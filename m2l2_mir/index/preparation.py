"""From embeddings to the unit vectors whose inner product is the similarity.

Conventions
-----------
* All embeddings share a large common part, which makes strangers look alike: the mean of the library is taken away
  first. A principal component analysis then drops the directions that tell nothing; above 5,000 tracks the kept ones
  are whitened, so that no loud direction rules the cosine.
* The covariance is shrunk towards a sphere by the share of Ledoit and Wolf [1]_: with few tracks the small variances
  are underestimated, and whitening would blow their noise up.
* Everything is frozen when the index is built. Tracks that are added later never move those that are there; how far
  they lie from what the preparation was made for is their *drift*.
* The zero vector has no direction: its similarity to everything is 0.

References
----------
.. [1] O. Ledoit and M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", JMVA 88, 2004.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from m2l2_mir.errors import InputError
from m2l2_mir.index.vectors import Rows
from m2l2_mir.recipe import close_match

__all__ = ["KINDS", "Drift", "Kind", "Preparation", "drift_of", "prepare"]

Kind = Literal["l2", "centred", "pca"]
KINDS: tuple[Kind, ...] = ("l2", "centred", "pca")

CENTRED_FROM = 20  # tracks: the mean of fewer is mostly the tracks themselves
PCA_FROM = 1000  # tracks: fewer do not span the directions of 8 x 64 numbers
WHITENED_ABOVE = 5000
VARIANCE_KEPT = 0.995
MOST_FITTED = 20_000  # tracks that mean and components are estimated from
LARGEST_DRIFT = 0.5
NEGLIGIBLE = 1e-6  # of the typical length: what is left of a vector by rounding only


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """A frozen map from embeddings [n, width] to unit vectors [n, rank].

    Parameters
    ----------
    kind
        "l2": length only; "centred": the mean is taken away before; "pca": projected as well.
    mean : np.ndarray [shape=(width,)]
    projection : np.ndarray [shape=(rank, width)], optional
        None: no change of coordinates.
    whitened
        Whether the projection brings all directions to the same variance.
    spread
        Root of the mean squared distance of the tracks from the mean, in the coordinates of the embedding.
    fitted
        Tracks in the library when it was made.

    Examples
    --------
    >>> simple = Preparation(kind="l2", mean=np.zeros(2, np.float32), spread=1.0, fitted=0)
    >>> simple(np.array([[3.0, 4.0], [0.0, 0.0]])).astype(float).round(2).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """

    kind: Kind
    mean: NDArray[np.float32]
    projection: NDArray[np.float32] | None = None
    whitened: bool = False
    spread: float
    fitted: int

    @property
    def width(self) -> int:
        """Numbers in an embedding."""
        return len(self.mean)

    @property
    def rank(self) -> int:
        """Numbers in a prepared vector."""
        return self.width if self.projection is None else len(self.projection)

    def coordinates(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """Prepared coordinates [n, rank] before they are brought to unit length."""
        centred: NDArray[np.float32] = np.asarray(vectors, np.float32) - self.mean
        return centred if self.projection is None else np.asarray(centred @ self.projection.T, np.float32)

    def __call__(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """Unit vectors [n, rank]; zero where there is no direction."""
        coordinates = self.coordinates(vectors)
        length = np.linalg.norm(coordinates, axis=1, keepdims=True)
        there = length > NEGLIGIBLE * np.linalg.norm(np.asarray(vectors, np.float32), axis=1, keepdims=True)
        unit: NDArray[np.float32] = np.divide(coordinates, length, out=np.zeros_like(coordinates), where=there)
        return unit

    def viewed(self, view: NDArray[np.floating]) -> Preparation:
        """The same after a linear map [width, width] of the centred embeddings: slot weights, a removed subspace."""
        turned = view if self.projection is None else self.projection @ view
        return replace(self, projection=np.asarray(turned, np.float32))

    def back(self, coordinates: NDArray[np.floating]) -> NDArray[np.float32]:
        """Centred embeddings [n, width] with these prepared coordinates; the shortest where several have them."""
        if self.projection is None:
            return np.asarray(coordinates, np.float32)
        return np.asarray(coordinates @ np.linalg.pinv(self.projection).T, np.float32)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far added tracks lie from those that the preparation was made for.

    Parameters
    ----------
    shift
        Distance between the two means in units of the library's spread, less what chance brings about. 0: none.
    outside
        Share of the variance of the added tracks that the projection drops.
    tracks
        Number of tracks added since.
    """

    shift: float
    outside: float
    tracks: int

    @property
    def large(self) -> bool:
        """Whether it is time to rebuild; a few tracks always lie apart."""
        return self.tracks >= CENTRED_FROM and self.shift > LARGEST_DRIFT


def prepare(
    rows: Rows, alive: NDArray[np.bool_], kind: str = "auto", seed: int = 0
) -> tuple[Preparation, tuple[str, ...]]:
    """Make the preparation of a library.

    Parameters
    ----------
    rows : Rows
        Embeddings.
    alive : np.ndarray [shape=(n,)], bool
        The rows that count.
    kind : {"auto", "l2", "centred", "pca"}
        "auto": by the number of tracks.
    seed
        Chooses the tracks of a large library that it is estimated from.

    Returns
    -------
    Preparation
    reasons : tuple of str

    Raises
    ------
    InputError
        The kind is unknown, or there are too few tracks for it.

    Examples
    --------
    >>> tracks = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32) + 10
    >>> prepared, reasons = prepare(Rows([tracks]), np.ones(30, bool))
    >>> prepared.kind, prepared.rank
    ('centred', 4)
    """
    count = int(alive.sum())
    if kind != "auto" and kind not in KINDS:
        raise InputError(f"unknown preparation {kind!r}{close_match(kind, ['auto', *KINDS])}: auto, {', '.join(KINDS)}")
    chosen: str = kind
    reasons = [f"{kind}, as asked for"]
    if kind == "auto":
        chosen = "l2" if count < CENTRED_FROM else "centred" if count < PCA_FROM else "pca"
        reasons = [
            {
                "l2": f"unit length only: the mean of {count} tracks says little (taken away from {CENTRED_FROM} on)",
                "centred": f"mean taken away, unit length: {count} tracks are too few for principal components "
                f"(from {PCA_FROM:,} on)",
                "pca": f"mean taken away, principal components, unit length: {count:,} tracks",
            }[chosen]
        ]
    sample = _sample(rows, alive, seed)
    zero = np.zeros(rows.width, np.float32)
    if chosen == "l2":
        spread = float(np.sqrt(np.mean(np.sum(np.square(sample, dtype=np.float64), axis=1)))) if count else 0.0
        return Preparation(kind="l2", mean=zero, spread=spread, fitted=count), tuple(reasons)
    if count < 2 or (chosen == "pca" and count < 3):
        raise InputError(f"preparation {chosen!r} needs at least {2 if chosen == 'centred' else 3} tracks: {count}")
    mean = sample.mean(axis=0, dtype=np.float64)
    spread = float(np.sqrt(np.mean(np.sum(np.square(sample - mean), axis=1))))
    if chosen == "centred":
        return (
            Preparation(kind="centred", mean=mean.astype(np.float32), spread=spread, fitted=count),
            tuple(reasons),
        )
    projection, facts = _components(sample - mean, count, whiten=count > WHITENED_ABOVE)
    return (
        Preparation(
            kind="pca",
            mean=mean.astype(np.float32),
            projection=projection,
            whitened=count > WHITENED_ABOVE,
            spread=spread,
            fitted=count,
        ),
        (*reasons, *facts),
    )


def drift_of(preparation: Preparation, added: Iterator[NDArray[np.float32]] | list[NDArray[np.float32]]) -> Drift:
    """Measure the drift of tracks, given in blocks [n, width], that were added after the preparation was made.

    >>> frozen = Preparation(kind="centred", mean=np.zeros(2, np.float32), spread=1.0, fitted=100)
    >>> drift_of(frozen, [np.full((400, 2), 1.0, np.float32)]).large
    True
    """
    total, squares, kept, count = np.zeros(preparation.width), 0.0, 0.0, 0
    inside = None if preparation.projection is None else _span(preparation.projection)
    for block in added:
        centred = np.asarray(block, np.float64) - preparation.mean
        total += centred.sum(axis=0)
        squares += float(np.sum(np.square(centred)))
        kept += float(np.sum(np.square(centred if inside is None else centred @ inside.T)))
        count += len(block)
    if not count or preparation.kind == "l2" or not preparation.spread:
        return Drift(shift=0.0, outside=0.0, tracks=count)
    shift = np.sum(np.square(total / count)) / preparation.spread**2 - 1 / count
    outside = 1 - kept / squares if squares else 0.0
    return Drift(shift=float(np.sqrt(max(shift, 0.0))), outside=float(max(outside, 0.0)), tracks=count)


def _sample(rows: Rows, alive: NDArray[np.bool_], seed: int) -> NDArray[np.float32]:
    live = np.flatnonzero(alive)
    if len(live) > MOST_FITTED:
        live = np.sort(np.random.default_rng(seed).choice(live, MOST_FITTED, replace=False))
    return rows.take(live)


def _components(
    centred: NDArray[np.float64], count: int, *, whiten: bool
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Principal directions [rank, width], divided by their standard deviation if they are to be whitened."""
    scale = max(float(np.sqrt(np.mean(np.square(centred)))), np.finfo(np.float64).tiny)
    covariance, shrinkage = ledoit_wolf(centred / scale, assume_centered=True)
    values, axes = np.linalg.eigh(covariance)
    values, axes = values[::-1], axes[:, ::-1]  # largest first
    shares = np.cumsum(values) / np.sum(values)
    wanted = -(-(int(np.searchsorted(shares, VARIANCE_KEPT)) + 1) // 8) * 8  # product quantisers like round numbers
    rank = min(wanted, len(values), len(centred) - 1)
    directions = axes[:, :rank].T
    facts = [f"rank {rank} of {len(values)} keeps {100 * shares[rank - 1]:.1f} % of the variance"]
    if whiten:
        directions = directions / (scale * np.sqrt(values[:rank, None]))
        facts.append(f"whitened: {count:,} tracks, above {WHITENED_ABOVE:,}; covariance shrunk by {shrinkage:.3f}")
    return directions.astype(np.float32), tuple(facts)


def _span(projection: NDArray[np.float32]) -> NDArray[np.float64]:
    """Orthonormal directions of what a projection keeps."""
    return np.linalg.svd(projection.astype(np.float64), full_matrices=False)[2]
