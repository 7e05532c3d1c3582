"""FAISS behind the index: how a search structure is filled, searched, written and read.

Conventions
-----------
* A row keeps its number: row i of the library is entry i here. Nothing is ever deleted, rows that do not count are left
  out of a search (FAISS cannot delete from HNSW), and the library is written anew when there are too many.
"""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError, StoreError
from m2l2_mir.index.choice import MEGABYTE, Choice

faiss: Any = importlib.import_module("faiss")  # untyped: its own stubs lack half of what is used here

__all__ = ["RESCORED", "Backend", "faiss"]

HNSW_CONSTRUCTION = 120
HNSW_BREADTH = 128  # candidates kept while searching, at least
HNSW_WIDEST = 2048
PROBED_SHARE = 1 / 16  # of the lists of an IVF index, at least
# Share of allowed rows below which these are compared one by one: a structure looks where the question lies, and what a
# filter leaves may all lie elsewhere. More than removed rows alone leave out.
SELECTIVE = 0.85
RESCORED = 20  # candidates for each wanted neighbour of a structure that does not hold the vectors


class Backend:
    """A filled FAISS structure.

    >>> backend = Backend.of(Choice(kind="Flat", factory="Flat", reasons=()), 2)
    >>> backend.add(np.eye(3, 2, dtype=np.float32))
    >>> backend.search(np.array([[1.0, 0.0]], np.float32), 2)[1].tolist()
    [[0, 1]]
    """

    def __init__(self, index: Any, choice: Choice, mapped: Path | None = None) -> None:
        self.index, self.choice, self._mapped = index, choice, mapped
        self.name: str | None = None
        """The file that it lies in as it is."""
        self._inner = self._searched = faiss.downcast_index(index)
        while isinstance(self._searched, faiss.IndexPreTransform):
            self._searched = faiss.downcast_index(self._searched.index)

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

    @property
    def breadth(self) -> int:
        """How widely it looks: candidates of a graph, lists of an IVF index; 0: there is nothing to set.

        It is kept where FAISS keeps it, and so written and read with the structure.
        """
        inner = self._searched
        if isinstance(inner, faiss.IndexHNSW):
            return max(HNSW_BREADTH, int(inner.hnsw.efSearch))
        if isinstance(inner, faiss.IndexIVF):
            return min(inner.nlist, max(8, math.ceil(inner.nlist * PROBED_SHARE), int(inner.nprobe)))
        return 0

    @breadth.setter
    def breadth(self, wanted: int) -> None:
        if isinstance(self._searched, faiss.IndexHNSW):
            self._searched.hnsw.efSearch = wanted
        elif isinstance(self._searched, faiss.IndexIVF):
            self._searched.nprobe = wanted

    def breadth_for(self, count: int) -> int:
        """How widely it looks for so many neighbours: a graph keeps twice as many candidates, at least."""
        return max(self.breadth, 2 * count) if isinstance(self._searched, faiss.IndexHNSW) else self.breadth

    @property
    def widest(self) -> int:
        """Beyond what breadth comparing with every vector would be as good."""
        return int(self._searched.nlist) // 2 if isinstance(self._searched, faiss.IndexIVF) else HNSW_WIDEST

    @property
    def places(self) -> str:
        """What :attr:`breadth` counts."""
        lists = isinstance(self._searched, faiss.IndexIVF)
        return f"{self._searched.nlist:,} lists" if lists else f"{len(self):,} vectors"

    def parameters(self, count: int, selector: Any = None) -> Any:
        """What FAISS is told when it searches for `count` neighbours; None: nothing to tell."""
        if isinstance(self._searched, faiss.IndexHNSW):
            told = faiss.SearchParametersHNSW(sel=selector, efSearch=self.breadth_for(count))
        elif isinstance(self._searched, faiss.IndexIVF):
            told = faiss.SearchParametersIVF(sel=selector, nprobe=self.breadth)
        else:
            return None if selector is None else faiss.SearchParameters(sel=selector)
        return told if self._searched is self._inner else faiss.SearchParametersPreTransform(index_params=told)

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
            they are so few that comparing their embeddings one by one is better.
        """
        structure, selector = self.index, None
        if allowed is not None and not allowed.all():
            if not self.exact and allowed.mean() < SELECTIVE:
                if not isinstance(self._inner, faiss.IndexHNSWFlat):
                    return None
                structure = faiss.downcast_index(self._inner.storage)  # its vectors one by one, without the graph
            elif not isinstance(self._inner, faiss.IndexFlat | faiss.IndexHNSW | faiss.IndexIVF):
                return None
            bits = np.packbits(allowed, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)  # refers to `bits`, which lives until the search is over
        whole = structure is self.index
        parameters = self.parameters(count, selector) if whole else faiss.SearchParameters(sel=selector)
        scores, rows = structure.search(np.ascontiguousarray(queries, np.float32), count, params=parameters)
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


def _reason(error: RuntimeError) -> str:
    """What FAISS says, without the place in its source."""
    text = " ".join(str(error).split())
    return text.rpartition(".cpp:")[2].partition(": ")[2].rpartition("failed: ")[2][:200] or text[:200]
