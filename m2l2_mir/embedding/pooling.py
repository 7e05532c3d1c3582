"""From the chunks of a track to one summary of it, and from summaries to the arrays probes use.

Conventions: ``n`` counts chunks or tracks, ``K`` summary embeddings, ``d`` their numbers. Chunks are
weighted by the real samples they hold, so the padding of a last chunk does not count; chunks of
weight zero (silent, or nothing but padding) are left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.recipe import close_match

__all__ = ["POOLINGS", "RunningPool", "apply_pooling", "pool_time", "uses_std"]

POOLINGS: dict[str, str] = {
    "mean": "[n, K, d]: mean over time",
    "mean+std": "[n, K, 2d]: mean and standard deviation over time, side by side in each embedding",
    "flatten": "[n, K*d]: the mean as one vector",
    "mean+std-flatten": "[n, K*2d]: mean+std as one vector",
    "slot-mean": "[n, d]: the mean over time, averaged over the K embeddings",
}
"""Name of each pooling, and what it gives."""


class RunningPool:
    """Weighted mean and population standard deviation over time, one chunk at a time and in bounded memory.

    The update of West (1979), in float64: as exact as two passes, and it holds no chunk.

    >>> pool = RunningPool()
    >>> pool.add(np.array([[0.0]]), 3)
    >>> pool.add(np.array([[4.0]]), 1)
    >>> mean, std = pool.result()
    >>> mean.item(), round(std.item(), 4)
    (1.0, 1.7321)
    """

    def __init__(self) -> None:
        self.weight = 0.0
        self._mean: NDArray[np.float64] = np.zeros(())
        self._squares: NDArray[np.float64] = np.zeros(())

    def add(self, chunk: NDArray[np.floating], weight: float) -> None:
        """Take the embeddings [K, d] of one chunk; a weight of 0 leaves them out, whatever they hold."""
        if weight == 0:
            return
        self.weight += weight
        values = np.asarray(chunk, np.float64)
        deviation = values - self._mean
        self._mean = self._mean + deviation * (weight / self.weight)
        self._squares = self._squares + weight * deviation * (values - self._mean)

    def result(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation [K, d] of what was added with a weight above 0."""
        return self._mean.astype(np.float32), np.sqrt(self._squares / self.weight).astype(np.float32)


def pool_time(chunks: ArrayLike, weights: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weighted mean and population standard deviation of a track's embeddings over time.

    Parameters
    ----------
    chunks : array_like [shape=(n, K, d)]
        Embeddings of the chunks of one track.
    weights : array_like [shape=(n,)]
        Real samples in each chunk; 0 leaves a chunk out, whatever its embedding holds.

    Returns
    -------
    mean, std : np.ndarray [shape=(K, d)], float32
        Computed in float64, see :class:`RunningPool`.

    Raises
    ------
    InputError
        If the shapes do not fit, a weight is negative or not finite, or all weights are zero.

    Examples
    --------
    >>> chunks = np.array([[[0.0]], [[4.0]], [[np.nan]]])
    >>> mean, std = pool_time(chunks, weights=[3, 1, 0])
    >>> mean.item(), round(std.item(), 4)
    (1.0, 1.7321)
    """
    values = np.asarray(chunks)
    weight = np.asarray(weights, dtype=np.float64)
    if values.ndim != 3 or weight.shape != values.shape[:1]:
        raise InputError(f"chunks {values.shape} and weights {weight.shape} do not fit: [n, K, d] and [n] are needed")
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise InputError("weights count the real samples of each chunk: they must be finite and not negative")
    if not weight.any():
        raise InputError(f"all {len(weight)} chunks have weight zero (silent or empty): nothing to pool")

    pool = RunningPool()
    for chunk, samples in zip(values, weight, strict=True):
        pool.add(chunk, float(samples))
    return pool.result()


def apply_pooling(
    pooling: str, mean: NDArray[np.float32], std: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Arrange the summaries of many tracks as a pooling asks.

    Parameters
    ----------
    pooling : str
        One of :data:`POOLINGS`.
    mean : np.ndarray [shape=(n, K, d)]
        Mean over time of each track.
    std : np.ndarray [shape=(n, K, d)], optional
        Standard deviation over time; needed where :func:`uses_std` says so.

    Returns
    -------
    np.ndarray
        Shaped as :data:`POOLINGS` tells. "mean" and "flatten" are views of `mean`.

    Raises
    ------
    InputError
        If the name is unknown, the shapes do not fit, or `std` is needed and missing.

    Examples
    --------
    >>> mean, std = np.zeros((5, 8, 64), np.float32), np.ones((5, 8, 64), np.float32)
    >>> {name: apply_pooling(name, mean, std).shape for name in ("mean+std", "flatten", "slot-mean")}
    {'mean+std': (5, 8, 128), 'flatten': (5, 512), 'slot-mean': (5, 64)}
    """
    if mean.ndim != 3:
        raise InputError(f"mean has shape {mean.shape}: [n, K, d] is needed")
    n, num_embeddings, dim = mean.shape  # named, because -1 is ambiguous where there are no tracks
    if uses_std(pooling):
        if std is None or std.shape != mean.shape:
            found = None if std is None else std.shape
            raise InputError(f"pooling {pooling!r} needs std shaped like mean {mean.shape}, not {found}")
        both = np.concatenate([mean, std], axis=-1)
        return both if pooling == "mean+std" else both.reshape(n, num_embeddings * 2 * dim)
    if pooling == "flatten":
        return mean.reshape(n, num_embeddings * dim)
    return mean.mean(axis=1) if pooling == "slot-mean" else mean


def uses_std(pooling: str) -> bool:
    """Whether a pooling needs the standard deviation; an unknown name is an InputError.

    Examples
    --------
    >>> uses_std("mean"), uses_std("mean+std")
    (False, True)
    """
    if pooling not in POOLINGS:
        hint = close_match(str(pooling), list(POOLINGS))
        raise InputError(f"unknown pooling {pooling!r}{hint}; there are: {', '.join(POOLINGS)}")
    return pooling.startswith("mean+std")
