"""A search structure with all vectors of a library, which looks as widely as it must to find the nearest.

How much an approximate structure misses depends on the vectors, and cannot be known beforehand. So some of them are
asked for their neighbours, which are known exactly from filling, and the structure is widened until it finds
:data:`WANTED` of them, or gains little by it. A question that is no track of the library is answered somewhat less
well; ``m2l2 index evaluate`` measures both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.index.backends import RESCORED, Backend, faiss
from m2l2_mir.index.choice import Choice, training_sample
from m2l2_mir.index.search_quality import TIE
from m2l2_mir.index.vectors import Rows

__all__ = ["WANTED", "filled"]

ASKED = 200  # vectors
NEAREST = 10
WANTED = 0.98  # of the nearest ten, found
GAIN = 0.005  # by looking twice as widely; less is not worth the time
MEASURED = "measured when filled: "

Vectors = NDArray[np.float32]


def filled(
    rows: Rows,
    prepared: Callable[[Vectors], Vectors],
    choice: Choice,
    *,
    width: int,
    seed: int,
    among: NDArray[np.int64] | None = None,
) -> Backend:
    """Fill a structure with all rows.

    Parameters
    ----------
    rows : Rows
        Embeddings.
    prepared
        From embeddings [n, ...] to the unit vectors [n, width] that are compared.
    choice
        Of the structure. That of the result says besides how much is found.
    width
        Numbers in a prepared vector.
    seed
        Of what is sampled.
    among : np.ndarray [n], optional
        Rows to train with and to ask; None: all.

    Raises
    ------
    InputError
        FAISS cannot make the structure, or there are too few rows to train it.
    """
    rng = np.random.default_rng(seed)
    among = np.arange(len(rows)) if among is None else among
    backend = Backend.of(choice, width)
    if not backend.index.is_trained:
        sample = rng.choice(among, min(training_sample(len(rows), choice.factory), len(among)), replace=False)
        backend.train(len(rows), prepared(rows.take(np.sort(sample))))
    own = rng.choice(among, min(ASKED, len(among)), replace=False) if backend.breadth else among[:0]
    asked = prepared(rows.take(own))
    nearest = faiss.ResultHeap(len(own), NEAREST + 1, keep_max=True)  # a track finds itself
    for first, block in rows.blocks():
        vectors = prepared(block)
        backend.add(vectors)
        if len(own):
            scores, found = faiss.knn(asked, vectors, min(NEAREST + 1, len(vectors)), metric=faiss.METRIC_INNER_PRODUCT)
            nearest.add_result(scores, np.where(found < 0, found, found + first))
    if len(own) > 1:
        nearest.finalize()
        # Of tracks at one distance, such as copies, any will do: what counts is how near the found ones are.
        bounds = np.array([_bound(*pair) for pair in zip(nearest.D, own[:, None] != nearest.I, strict=True)])
        share = _widened(backend, partial(_share, backend, rows, prepared, asked, own, bounds))
        reasons = [reason for reason in choice.reasons if not reason.startswith(MEASURED)]
        backend.choice = replace(choice, reasons=(*reasons, _told(backend, share, len(own))))
    return backend


def _bound(scores: NDArray[np.float32], others: NDArray[np.bool_]) -> tuple[float, int]:
    """Similarity of the last of a track's nearest others, and how many these are."""
    kept = scores[others & np.isfinite(scores)][:NEAREST]
    return (float(kept[-1]) - TIE, len(kept)) if len(kept) else (np.inf, 1)


def _widened(backend: Backend, measured: Callable[[], float]) -> float:
    """Look more widely until enough is found, and return the share that is."""
    backend.breadth = backend.breadth_for(_candidates(backend))
    share = measured()
    while share < WANTED and backend.breadth < backend.widest:
        before = backend.breadth
        backend.breadth = min(2 * before, backend.widest)
        wider = measured()
        if wider - share < GAIN:
            backend.breadth = before
            break
        share = wider
    return share


def _candidates(backend: Backend) -> int:
    return min((NEAREST + 1) * (RESCORED if backend.rescored else 1), len(backend))


def _share(
    backend: Backend,
    rows: Rows,
    prepared: Callable[[Vectors], Vectors],
    asked: Vectors,
    own: NDArray[np.int64],
    bounds: NDArray[np.float64],
) -> float:
    """Share of the nearest others, or of as near ones, that the structure finds."""
    answer = backend.search(asked, _candidates(backend))
    assert answer is not None  # no row is left out
    shares = []
    for one, itself, (bound, count), found in zip(asked, own, bounds, answer[1], strict=True):
        others = found[(found >= 0) & (found != itself)]
        near = int(np.count_nonzero(prepared(rows.take(others)) @ one >= bound))
        shares.append(min(near, count) / count)
    return float(np.mean(shares))


def _told(backend: Backend, share: float, asked: int) -> str:
    missing = "" if share >= WANTED else ", fewer than wanted: --exact finds all"
    return (
        f"{MEASURED}{share:.1%} of the {NEAREST} nearest are found by looking at "
        f"{min(backend.breadth, len(backend)):,} of {backend.places} ({asked} asked{missing})"
    )
