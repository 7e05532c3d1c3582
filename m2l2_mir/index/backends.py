"""FAISS behind the index: which kind of search structure, how it is filled, how it is searched.

Conventions
-----------
* *Flat* compares with every track, and is exact. *HNSW*, a graph, is fast and needs more memory than the vectors.
  *IVF-PQ* holds a few bytes a track; what it finds is scored again with the true vectors.
* A row keeps its number: row i of the library is entry i here. Nothing is ever deleted, rows that do not count are left
  out of a search (FAISS cannot delete from HNSW), and the library is written anew when there are too many.

Sources: J. Johnson, M. Douze, H. Jégou, "Billion-scale similarity search with GPUs", IEEE Trans. Big Data 7, 2021; Y.
Malkov and D. Yashunin, "Efficient and robust approximate nearest neighbor search using HNSW graphs", TPAMI 42, 2020;
H. Jégou, M. Douze, C. Schmid, "Product quantization for nearest neighbor search", TPAMI 33, 2011.
"""

from __future__ import annotations

import importlib
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError, StoreError

faiss: Any = importlib.import_module("faiss")  # untyped: its own stubs lack half of what is used here

__all__ = ["RESCORED", "Backend", "Choice", "choose", "training_sample"]

EXACT_VALUES = 100_000_000  # numbers that a query is compared with in some 50 ms: 195,000 tracks of 512
HNSW_LINKS = 32
HNSW_CONSTRUCTION = 120
HNSW_BREADTH = 128  # candidates kept while searching
PROBED_SHARE = 1 / 16  # of the lists of an IVF index
TRAINED_PER_LIST = 64  # vectors
POINTS_PER_CENTROID = 39  # FAISS warns below
# Share of allowed rows below which these are compared one by one: a structure looks where the question lies, and what a
# filter leaves may all lie elsewhere. More than removed rows alone leave out.
SELECTIVE = 0.85
RESCORED = 20  # candidates for each wanted neighbour of a structure that does not hold the vectors
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


class Backend:
    """A filled FAISS structure.

    >>> backend = Backend.of(choose(3, 2), 2)
    >>> backend.add(np.eye(3, 2, dtype=np.float32))
    >>> backend.search(np.array([[1.0, 0.0]], np.float32), 2)[1].tolist()
    [[0, 1]]
    """

    def __init__(self, index: Any, choice: Choice, mapped: Path | None = None) -> None:
        self.index, self.choice, self._mapped = index, choice, mapped
        self.name: str | None = None
        """The file that it lies in as it is."""
        self._inner = faiss.downcast_index(index)

    @classmethod
    def of(cls, choice: Choice, width: int) -> Backend:
        """An empty structure, not trained yet."""
        try:
            index = faiss.index_factory(width, choice.factory, faiss.METRIC_INNER_PRODUCT)
        except RuntimeError as error:
            raise InputError(
                f"FAISS cannot make {choice.factory!r} for vectors of {width} numbers: {_reason(error)}"
            ) from error
        if isinstance(faiss.downcast_index(index), faiss.IndexIDMap):
            raise InputError(f"{choice.factory!r}: leave IDMap out, rows are numbered here")
        backend = cls(index, choice)
        if isinstance(backend._inner, faiss.IndexHNSW):
            backend._inner.hnsw.efConstruction = HNSW_CONSTRUCTION
        return backend

    def train(self, count: int, sample: NDArray[np.float32]) -> None:
        """Fit what has to be fitted, to a sample of the vectors.

        Raises
        ------
        InputError
            There are too few.
        """
        if self.index.is_trained:
            return
        _ready(self.index)
        try:
            self.index.train(sample)
        except RuntimeError as error:
            raise InputError(
                f"{self.choice.factory!r} cannot be trained with {count:,} tracks ({_reason(error)}): take a "
                "smaller structure or --exact"
            ) from error

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Append prepared vectors to a :meth:`writable` structure."""
        if len(vectors):
            self.name = None
            self.index.add(np.ascontiguousarray(vectors))

    def writable(self) -> Backend:
        """The same in memory: FAISS ends the process where something is added to a mapped structure.

        Raises
        ------
        StoreError
            The file is gone, because another process has changed the index since.
        """
        if self._mapped is None:
            return self
        try:
            return Backend.read(self._mapped, self.choice, mapped=False)
        except FileNotFoundError as error:
            raise StoreError(
                f"{self._mapped.parent} was changed by another process since it was opened: open it again"
            ) from error

    def __len__(self) -> int:
        return int(self.index.ntotal)

    @property
    def exact(self) -> bool:
        """Whether every vector is compared, without loss."""
        return isinstance(self._inner, faiss.IndexFlat)

    @property
    def rescored(self) -> bool:
        """Whether scores are those of compressed vectors, and candidates are to be scored again."""
        return not isinstance(self._inner, faiss.IndexFlat | faiss.IndexHNSWFlat)

    def search(
        self, queries: NDArray[np.float32], count: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """Nearest rows of each query.

        Parameters
        ----------
        queries : np.ndarray [shape=(m, width)]
        count
            How many; at most as many as there are.
        allowed : np.ndarray [shape=(n,)], bool, optional
            Rows that may be found.

        Returns
        -------
        scores, rows : np.ndarray [shape=(m, count)]
            Best first; row -1 where there are no more. None where this kind cannot search among the allowed rows, or
            they are so few that comparing them one by one is better.
        """
        selector = None
        if allowed is not None and not allowed.all():
            if not self.exact and allowed.mean() < SELECTIVE:
                return None
            bits = np.packbits(allowed, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)  # refers to `bits`, which lives until the search is over
        inner = self._inner
        if isinstance(inner, faiss.IndexFlat):
            parameters = None if selector is None else faiss.SearchParameters(sel=selector)
        elif isinstance(inner, faiss.IndexHNSW):
            breadth = max(HNSW_BREADTH, 2 * count)
            parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=breadth)
        elif isinstance(inner, faiss.IndexIVF):
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=max(8, math.ceil(inner.nlist * PROBED_SHARE)))
        elif selector is None:
            parameters = None
        else:
            return None
        scores, rows = self.index.search(np.ascontiguousarray(queries, np.float32), count, params=parameters)
        return scores, rows

    def memory_bytes(self) -> int:
        """Bytes of the structure, as it is written."""
        size = 0

        def count(piece: bytes) -> int:
            nonlocal size
            size += len(piece)
            return len(piece)

        faiss.write_index(self.index, faiss.PyCallbackIOWriter(count, MEGABYTE))
        return size

    def write(self, file: IO[bytes]) -> None:
        """Write the structure to an open file."""
        faiss.write_index(self.index, faiss.PyCallbackIOWriter(file.write, MEGABYTE))

    @classmethod
    def read(cls, path: Path, choice: Choice, *, mapped: bool) -> Backend:
        """Read a structure, or map it so that only what is looked at comes into memory.

        Raises
        ------
        StoreError
            The file is damaged.
        FileNotFoundError
            It is gone.
        """
        if not path.exists():
            raise FileNotFoundError(path)
        flags = 0
        if mapped:  # IVF has its own way of mapping
            flags = faiss.IO_FLAG_MMAP if "IVF" in choice.factory else faiss.IO_FLAG_MMAP_IFC
        try:
            backend = cls(faiss.read_index(str(path), flags), choice, path if mapped else None)
        except RuntimeError as error:
            raise StoreError(f"{path} is damaged ({_reason(error)})") from error
        backend.name = path.name
        return backend


def training_sample(count: int, factory: str) -> int:
    """How many vectors a structure is trained with."""
    lists = _lists(count) if "IVF" in factory else 256
    return min(count, max(TRAINED_PER_LIST * lists, 256 * POINTS_PER_CENTROID))


def _lists(count: int) -> int:
    """About four times the root of the number of vectors, a power of two, with enough vectors in each list."""
    wanted = 2 ** round(math.log2(4 * math.sqrt(max(count, 1))))
    return max(1, min(wanted, count // POINTS_PER_CENTROID))


def _ready(index: Any) -> None:
    """Settings of the training inside a structure."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return _ready(index.index)
    clusterings = [index.cp] if isinstance(index, faiss.IndexIVF) else []
    if hasattr(index, "pq"):
        clusterings.append(index.pq.cp)
        index.do_polysemous_training = False  # takes seconds for each byte of a code, for a search that is not used
    for part in clusterings:
        part.min_points_per_centroid = 1  # too few vectors are told in one line rather than in hundreds


def _half_of_memory() -> float:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    except (AttributeError, ValueError, OSError):  # not known on every system
        return math.inf


def _size(count: float) -> str:
    return f"{count / MEGABYTE:,.0f} MiB" if count >= 10 * MEGABYTE else f"{count / MEGABYTE:.1f} MiB"


def _reason(error: RuntimeError) -> str:
    """What FAISS says, without the place in its source."""
    text = " ".join(str(error).split())
    return text.rpartition(".cpp:")[2].partition(": ")[2].rpartition("failed: ")[2][:200] or text[:200]
