"""Which kind of search structure an index has, and why.

Conventions
-----------
* *Flat* compares with every track, and is exact. *HNSW*, a graph, is fast and needs more memory than the vectors.
  *IVF-PQ* holds a few bytes a track; what it finds is scored again with the true vectors.

Sources: J. Johnson, M. Douze, H. Jégou, "Billion-scale similarity search with GPUs", IEEE Trans. Big Data 7, 2021; Y.
Malkov and D. Yashunin, "Efficient and robust approximate nearest neighbor search using HNSW graphs", TPAMI 42, 2020;
H. Jégou, M. Douze, C. Schmid, "Product quantization for nearest neighbor search", TPAMI 33, 2011.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from m2l2_mir.errors import InputError

__all__ = ["MEGABYTE", "Choice", "choose", "training_sample"]

EXACT_VALUES = 100_000_000  # numbers that a query is compared with in some 50 ms: 195,000 tracks of 512
HNSW_LINKS = 32
TRAINED_PER_LIST = 64  # vectors
POINTS_PER_CENTROID = 39  # FAISS warns below
MEGABYTE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A kind of structure and why it was taken.

    Parameters
    ----------
    kind
        "Flat", "HNSW", "IVF-PQ" or "own".
    factory
        FAISS factory string.
    reasons
        For a person to read.
    """

    kind: str
    factory: str
    reasons: tuple[str, ...]


def choose(
    count: int, width: int, *, exact: bool = False, memory_mb: float | None = None, factory: str | None = None
) -> Choice:
    """Choose the structure for `count` vectors of `width` numbers.

    Parameters
    ----------
    exact
        Flat, whatever its size.
    memory_mb
        Budget in MiB for the structure in memory; None: half of the machine's memory.
    factory
        FAISS factory string, taken as it is.

    Raises
    ------
    InputError
        Options contradict each other, or nothing fits the budget.

    Examples
    --------
    >>> [choose(tracks, 512, memory_mb=4096).kind for tracks in (1_000, 1_000_000, 10_000_000)]
    ['Flat', 'HNSW', 'IVF-PQ']
    """
    if exact + (memory_mb is not None) + (factory is not None) > 1:
        raise InputError("exact, memory_mb and factory exclude each other: give one of them")
    if factory is not None:
        return Choice(kind="own", factory=factory, reasons=(f"{factory}, as asked for",))
    flat, hnsw = count * width * 4, count * (width * 4 + HNSW_LINKS * 2 * 4 + 16)
    if exact:
        return Choice(kind="Flat", factory="Flat", reasons=(f"exact, as asked for: {_size(flat)}",))
    budget = _half_of_memory() if memory_mb is None else memory_mb * MEGABYTE
    told = f"half of this machine's memory, {_size(budget)}" if memory_mb is None else f"the {memory_mb:g} MiB given"
    if not budget > 0:
        raise InputError(f"memory_mb must be above 0: {memory_mb}")
    if count * width <= EXACT_VALUES and flat <= budget:
        return Choice(
            kind="Flat",
            factory="Flat",
            reasons=(f"exact: {count:,} x {width} numbers are compared fast enough; {_size(flat)} of memory",),
        )
    if hnsw <= budget:
        return Choice(
            kind="HNSW",
            factory=f"HNSW{HNSW_LINKS},Flat",
            reasons=(
                f"approximate: exact search in {count:,} x {width} numbers would be slow",
                f"a graph of {_size(hnsw)} fits {told}",
            ),
        )
    lists = _lists(count)
    divisors = [size for size in range(width // 2, 0, -1) if width % size == 0 and size <= 128]
    fitting = [size for size in divisors if count * (size + 8) + lists * width * 4 <= budget]
    if not fitting or count < POINTS_PER_CENTROID * 256:
        least = _size(flat if count < POINTS_PER_CENTROID * 256 else count * 9 + lists * width * 4)
        raise InputError(f"{count:,} vectors of {width} numbers need at least {least}, more than {told}")
    size = fitting[0]
    return Choice(
        kind="IVF-PQ",
        factory=f"IVF{lists},PQ{size}",
        reasons=(
            f"compressed: exact search takes {_size(flat)} and a graph {_size(hnsw)}, more than {told}",
            f"{size + 8} bytes a track in {lists} lists, {_size(count * (size + 8) + lists * width * 4)}; what is "
            "found is scored again with the true vectors from disk",
        ),
    )


def training_sample(count: int, factory: str) -> int:
    """How many vectors a structure is trained with."""
    lists = _lists(count) if "IVF" in factory else 256
    return min(count, max(TRAINED_PER_LIST * lists, 256 * POINTS_PER_CENTROID))


def _lists(count: int) -> int:
    """About four times the root of the number of vectors, a power of two, with enough vectors in each list."""
    wanted = 2 ** round(math.log2(4 * math.sqrt(max(count, 1))))
    return max(1, min(wanted, count // POINTS_PER_CENTROID))


def _half_of_memory() -> float:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    except (AttributeError, ValueError, OSError):  # not known on every system
        return math.inf


def _size(count: float) -> str:
    return f"{count / MEGABYTE:,.0f} MiB" if count >= 10 * MEGABYTE else f"{count / MEGABYTE:.1f} MiB"
