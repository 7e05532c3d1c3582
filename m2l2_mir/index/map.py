"""A library on a plane: where each track lies, and how far that can be trusted.

Up to 50 tracks the plane is that of the first two principal components; above, t-SNE [1]_ on the first 50 of them,
which keeps neighbours together and says nothing about large distances. Above 2,000 tracks, t-SNE places 2,000 of them
and each of the others goes to the middle of the three of them that are nearest to it. Trustworthiness [2]_ is 1 where
no strangers have become neighbours on the plane.

References
----------
.. [1] L. van der Maaten and G. Hinton, "Visualizing data using t-SNE", JMLR 9, 2008.
.. [2] J. Venna and S. Kaski, "Neighborhood preservation in nonlinear projection methods", ICANN 2001.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import NearestNeighbors

from m2l2_mir.errors import InputError
from m2l2_mir.index.retrieval import check_vectors
from m2l2_mir.recipe import close_match

__all__ = ["METHODS", "Plane", "check_method", "place"]

METHODS = ("auto", "pca", "tsne")
TSNE_ABOVE = 50  # tracks
MOST_PLACED = 2000  # tracks by t-SNE itself, some 20 s on one core
COMPONENTS = 50
PERPLEXITY = 30.0
JUDGED = 2000  # tracks that trustworthiness is measured on; it takes their n x n distances
NEIGHBOURS = 10


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Tracks on a plane.

    Parameters
    ----------
    points : np.ndarray [n, 2]
        Between -1 and 1, the longer side filled.
    method
        In words.
    trust
        Trustworthiness with 10 neighbours, nan for fewer than 30 tracks.
    """

    points: NDArray[np.float64]
    method: str
    trust: float


def place(vectors: NDArray[np.floating], *, method: str = "auto", seed: int = 0) -> Plane:
    """Place tracks on a plane.

    Parameters
    ----------
    vectors : np.ndarray [n, dim]
        Of unit length for cosine similarity.
    method
        "auto", "pca" or "tsne".
    seed
        The same seed gives the same plane.

    Raises
    ------
    InputError
        There is no such method, t-SNE is asked for fewer than 5 tracks, or vectors are not [n, dim] or not finite.

    Examples
    --------
    >>> plane = place(np.eye(3))
    >>> plane.points.shape, plane.method
    ((3, 2), 'principal components, 100 % of the variance')
    """
    vectors = check_vectors(vectors)
    total = len(vectors)
    check_method(method)
    if method == "tsne" and total < 5:
        raise InputError(f"t-SNE needs at least 5 tracks, there are {total}; take pca")
    if total < 2:
        return Plane(points=np.zeros((total, 2)), method="a single track", trust=math.nan)
    reduced = PCA(min(COMPONENTS, *vectors.shape), random_state=seed)
    flat = reduced.fit_transform(vectors.astype(np.float64))
    if method == "tsne" or (method == "auto" and total > TSNE_ABOVE):
        placed, title = _tsne(flat, seed)
    else:
        placed = np.pad(flat[:, :2], ((0, 0), (0, max(0, 2 - flat.shape[1]))))
        share = np.nan_to_num(reduced.explained_variance_ratio_[:2]).sum()
        title = f"principal components, {share:.0%} of the variance".replace("%", " %")
    judged = np.random.default_rng(seed).permutation(total)[:JUDGED]
    trust = trustworthiness(vectors[judged], placed[judged], n_neighbors=NEIGHBOURS) if total >= 30 else math.nan
    return Plane(points=_filled(np.asarray(placed, np.float64)), method=title, trust=float(trust))


def check_method(method: str) -> None:
    """Raise an InputError unless there is such a method."""
    if method not in METHODS:
        raise InputError(f"no method {method!r}{close_match(method, list(METHODS))}; there are {', '.join(METHODS)}")


def _tsne(flat: NDArray[np.float64], seed: int) -> tuple[NDArray[np.float64], str]:
    """Points [n, 2] and the method in words, from principal components [n, c]."""
    drawn = np.sort(np.random.default_rng(seed).permutation(len(flat))[:MOST_PLACED])
    sample = flat[drawn]
    perplexity = min(PERPLEXITY, (len(sample) - 1) / 4)
    start = np.pad(sample[:, :2], ((0, 0), (0, max(0, 2 - sample.shape[1]))))
    start *= 1e-4 / max(float(start.std(axis=0).max()), 1e-12)
    found = TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(sample)
    title = f"t-SNE, perplexity {perplexity:g}"
    if len(sample) == len(flat):
        return np.asarray(found, np.float64), title
    nearest = NearestNeighbors(n_neighbors=3).fit(sample).kneighbors(flat, return_distance=False)
    placed = found[nearest].mean(axis=1)
    placed[drawn] = found
    return placed, f"{title}, of {len(sample):,} tracks; the others among the three nearest of these"


def _filled(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points moved and scaled into the square from -1 to 1."""
    low, high = points.min(axis=0), points.max(axis=0)
    scaled: NDArray[np.float64] = (points - (low + high) / 2) * (2 / max(float((high - low).max()), 1e-12))
    return scaled
