"""From embeddings to the unit vectors whose inner product is the similarity.

Conventions
-----------
* All embeddings share a large common part, which makes strangers look alike: the mean of the library is taken away
  first. A principal component analysis then drops the directions that tell nothing; it changes no similarity to speak
  of, and saves memory and time.
* "whitened" brings the kept directions to the same variance besides, so that no loud one rules the cosine. That changes
  who is near whom, for the better where loud is nuisance and for the worse where loud is music: P@10 of 6,000 synthetic
  tracks whose classes lie in the 40 loudest of 512 directions falls from .27 to .08 by it. So it is never done unasked;
  ``m2l2 index evaluate`` puts all preparations beside each other. It takes more than 5,000 tracks, and the variances
  that it divides by are shrunk towards a sphere by the share of Ledoit and Wolf [1]_, since few tracks underestimate
  the small ones. How many directions are kept is read from the tracks' own spectrum, without shrinkage.
* Everything is frozen when the index is built. Tracks that are added later never move those that are there; how far
  they lie from what the preparation was made for is their *drift*.
* A vector that is 0 once the mean is taken away has no direction: its similarity to everything is 0.

References
----------
.. [1] O. Ledoit and M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", JMVA 88, 2004.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf_shrinkage

from m2l2_mir.errors import InputError
from m2l2_mir.index.vectors import Rows
from m2l2_mir.recipe import close_match

__all__ = ["KINDS", "WHITENED_ABOVE", "Drift", "Kind", "Preparation", "drift_of", "possible", "prepare"]

Kind = Literal["l2", "centred", "pca", "whitened"]
KINDS: tuple[Kind, ...] = ("l2", "centred", "pca", "whitened")

CENTRED_FROM = 20  # tracks: the mean of fewer is mostly the tracks themselves
PCA_FROM = 1000  # tracks: fewer do not span the directions of 8 x 64 numbers
WHITENED_ABOVE = 5000
_LEAST: dict[str, int] = {"l2": 0, "centred": 2, "pca": 3, "whitened": WHITENED_ABOVE + 1}
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
        "l2": length only; "centred": the mean is taken away before; "pca": projected as well; "whitened": and all
        directions brought to the same variance.
    mean : np.ndarray [shape=(width,)]
    projection : np.ndarray [shape=(rank, width)], optional
        None: no change of coordinates.
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


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far added tracks lie from those that the preparation was made for.

    Parameters
    ----------
    shift
        Distance between the two means in units of the library's spread, less what chance brings about. 0: none.
    tracks
        Number of tracks added since.
    """

    shift: float
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
    kind : {"auto", "l2", "centred", "pca", "whitened"}
        "auto": one of the first three, by the number of tracks.
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
    if not possible(chosen, count):
        raise InputError(
            f"preparation {chosen!r} needs at least {_LEAST[chosen]:,} tracks, there are {count:,}"
            + ("; take pca, which divides by no variance" if chosen == "whitened" else "")
        )
    mean = sample.mean(axis=0, dtype=np.float64)
    spread = float(np.sqrt(np.mean(np.sum(np.square(sample - mean), axis=1))))
    projection = None
    if chosen != "centred":
        projection, facts = _components(sample - mean, whiten=chosen == "whitened")
        reasons += facts
    made = Preparation(
        kind=cast(Kind, chosen), mean=mean.astype(np.float32), projection=projection, spread=spread, fitted=count
    )
    return made, tuple(reasons)


def possible(kind: str, count: int) -> bool:
    """Whether so many tracks are enough for a preparation."""
    return count >= _LEAST[kind]


def drift_of(preparation: Preparation, added: Iterator[NDArray[np.float32]] | list[NDArray[np.float32]]) -> Drift:
    """Measure the drift of tracks, given in blocks [n, width], that were added after the preparation was made.

    >>> frozen = Preparation(kind="centred", mean=np.zeros(2, np.float32), spread=1.0, fitted=100)
    >>> drift_of(frozen, [np.full((400, 2), 1.0, np.float32)]).large
    True
    """
    total, count = np.zeros(preparation.width), 0
    for block in added:
        total += (np.asarray(block, np.float64) - preparation.mean).sum(axis=0)
        count += len(block)
    if not count or preparation.kind == "l2" or not preparation.spread:
        return Drift(shift=0.0, tracks=count)
    shift = np.sum(np.square(total / count)) / preparation.spread**2 - 1 / count
    return Drift(shift=float(np.sqrt(max(shift, 0.0))), tracks=count)


def _sample(rows: Rows, alive: NDArray[np.bool_], seed: int) -> NDArray[np.float32]:
    live = np.flatnonzero(alive)
    if len(live) > MOST_FITTED:
        live = np.sort(np.random.default_rng(seed).choice(live, MOST_FITTED, replace=False))
    return rows.take(live)


def _components(centred: NDArray[np.float64], *, whiten: bool) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Principal directions [rank, width], divided by their shrunk standard deviation if they are to be whitened."""
    values, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    values, axes = np.maximum(values[::-1], 0), axes[:, ::-1]  # largest first
    total = max(float(np.sum(values)), np.finfo(np.float64).tiny)
    shares = np.cumsum(values) / total
    wanted = -(-(int(np.searchsorted(shares, VARIANCE_KEPT)) + 1) // 8) * 8  # product quantisers like round numbers
    rank = min(wanted, len(values), len(centred) - 1)
    directions = axes[:, :rank].T
    facts = [f"rank {rank} of {len(values)} keeps {100 * shares[rank - 1]:.1f} % of the variance"]
    if whiten:
        # numbers of about 1, whatever the scale of the embedding
        shrinkage = float(ledoit_wolf_shrinkage(centred / np.sqrt(total / len(values)), assume_centered=True))
        shrunk = (1 - shrinkage) * values[:rank] + shrinkage * total / len(values)
        directions = directions / np.sqrt(np.maximum(shrunk, np.finfo(np.float64).tiny))[:, None]
        facts.append(
            f"whitened, variances shrunk by {shrinkage:.3f}: this changes who is near whom (m2l2 index evaluate "
            "compares); --preparation pca leaves it out"
        )
    return directions.astype(np.float32), tuple(facts)
