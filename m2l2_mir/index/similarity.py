"""The similarity index: a library of track embeddings that answers "what is like this?".

store --prepare--> unit vectors --FAISS--> neighbours, each with its similarity (the cosine of prepared vectors) and
its percentile among random pairs of the library, since a raw cosine says nothing by itself.

The embeddings as they came are kept beside the search structure: results of approximate structures are scored again
with them, and they make slot weights, steering and a rebuild possible.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.embedding.provenance import utc_now
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import InputError
from m2l2_mir.index.backends import Backend
from m2l2_mir.index.candidates import nearest
from m2l2_mir.index.changes import Changes, advice_on, put, refuse_namesakes
from m2l2_mir.index.choice import choose
from m2l2_mir.index.files import Saved, load_parts, save_parts
from m2l2_mir.index.filling import filled
from m2l2_mir.index.library import SOURCE, Library, checked_ids, metadata_of
from m2l2_mir.index.preparation import Preparation, prepare
from m2l2_mir.index.query import query
from m2l2_mir.index.segments import Segments
from m2l2_mir.index.similarities import nearest_similarities, random_pairs
from m2l2_mir.index.sources import gone, refuse_other_model, source_of, tracks_of
from m2l2_mir.index.vectors import as_vectors

if TYPE_CHECKING:
    from m2l2_mir.index.duplicates import Rule

__all__ = ["Changes", "SimilarityIndex"]


class SimilarityIndex:
    """Neighbours in a library. Make one with :meth:`build`, :meth:`from_vectors` or :meth:`load`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> vectors = rng.normal(size=(50, 2, 4)).astype(np.float32)
    >>> index = SimilarityIndex.from_vectors(vectors, [f"track {n}" for n in range(50)])
    >>> index.query("track 7", k=2).columns.tolist()
    ['rank', 'track_id', 'similarity', 'percentile', 'among_nearest']
    >>> index.query(vectors[7], k=1)["track_id"].item()
    'track 7'
    """

    def __init__(
        self,
        library: Library,
        preparation: Preparation,
        backend: Backend,
        pairs: NDArray[np.float32],
        about: Mapping[str, Any],
        segments: Segments | None = None,
        saved: Saved | None = None,
        nearest: NDArray[np.float32] | None = None,
    ) -> None:
        self.library, self.preparation, self.backend = library, preparation, backend
        self.pairs = pairs
        """Similarities of random pairs of the library, sorted."""
        self.nearest = np.zeros(0, np.float32) if nearest is None else nearest
        """Similarities of random tracks of the library to their nearest neighbours, sorted."""
        self.about = dict(about)
        """slots, pooling, provenance, reasons, options, fitted_rows, created."""
        self.segments = segments
        self.duplicate_pairs: pd.DataFrame | None = None
        """Pairs of near duplicates, once someone has asked for them."""
        self.duplicate_rule: Rule | None = None
        """What near duplicates are in a large library, likewise."""
        self._saved = saved

    @classmethod
    def build(
        cls,
        store: EmbeddingStore | str | Path,
        *,
        metadata: pd.DataFrame | None = None,
        pooling: str = "mean",
        preparation: str = "auto",
        exact: bool = False,
        memory_mb: float | None = None,
        factory: str | None = None,
        segments: bool = False,
        seed: int = 0,
    ) -> Self:
        """Build the index of a store.

        Parameters
        ----------
        store : EmbeddingStore or path
        metadata : pd.DataFrame, optional
            Columns to travel along, matched by ``track_id``, or in the order of ``store.ok``. ``path`` and
            ``duration`` always come from the store; the table's are passed over.
        pooling : {"mean", "mean+std"}
            Of a track's chunks.
        preparation : {"auto", "l2", "centred", "pca", "whitened"}
            See :mod:`m2l2_mir.index.preparation`.
        exact, memory_mb, factory
            See :func:`m2l2_mir.index.choice.choose`. The first two hold for the structure of segments too, which has a
            budget of its own.
        segments
            Also index every chunk, for :meth:`find_segment`; the store must have kept them.
        seed
            Of what is sampled.

        Raises
        ------
        InputError, StoreError
            An option is wrong, or the store is damaged, empty, or kept no chunks.

        Notes
        -----
        Structures that hold the embeddings (Flat, HNSW) take n * width * 4 bytes, 2 GiB for 10^6 tracks of 512 numbers;
        `memory_mb` bounds the structure. The embeddings of a large store, and its chunks (segments), are read into a
        temporary file, not into memory (with "mean+std" they are held). What is loaded later is mapped.
        """
        opened = store if isinstance(store, EmbeddingStore) else EmbeddingStore.open(store)
        ids, vectors, table = tracks_of(opened, pooling, metadata)
        if not ids:
            raise InputError(f"{opened.path} has no track that could be embedded: nothing to index")
        options = {
            "preparation": preparation,
            "exact": exact,
            "memory_mb": memory_mb,
            "factory": factory,
            "seed": seed,
            "segments": segments,
        }
        about = {
            "slots": opened.num_embeddings,
            "pooling": pooling,
            "provenance": opened.provenance,
            "created": utc_now(),
        }
        library = Library.of(ids, vectors, table)
        chunks = Segments.build(opened, ids, seed, exact=exact, memory_mb=memory_mb) if segments else None
        return cls._fitted(library, about, options, chunks)

    @classmethod
    def from_vectors(
        cls,
        vectors: Any,
        ids: Sequence[str],
        metadata: pd.DataFrame | None = None,
        *,
        preparation: str = "auto",
        exact: bool = False,
        memory_mb: float | None = None,
        factory: str | None = None,
        seed: int = 0,
    ) -> Self:
        """Build the index of vectors from anywhere.

        Parameters
        ----------
        vectors : array_like [shape=(n, width) or (n, K, d)]
            n may be 0.
        ids : sequence of str
            Unique.
        metadata : pd.DataFrame, optional
            A row for each vector, or matched by ``track_id``.
        preparation, exact, memory_mb, factory, seed
            As in :meth:`build`.

        Raises
        ------
        InputError
            Vectors hold NaN or infinity, or ids are missing or there twice.
        """
        slots = int(np.shape(vectors)[1]) if np.ndim(vectors) == 3 else 1
        names = checked_ids(ids, len(vectors))
        flat = as_vectors(vectors, names)
        options = {
            "preparation": preparation,
            "exact": exact,
            "memory_mb": memory_mb,
            "factory": factory,
            "seed": seed,
            "segments": False,
        }
        about = {"slots": slots, "pooling": "mean", "provenance": {}, "created": utc_now()}
        return cls._fitted(Library.of(names, flat, metadata_of(names, metadata)), about, options, None)

    @classmethod
    def _fitted(
        cls, library: Library, about: dict[str, Any], options: dict[str, Any], segments: Segments | None
    ) -> Self:
        """Fit the preparation and fill the search structure of a library without dead rows."""
        made, why = prepare(library.rows, library.alive, options["preparation"], options["seed"])
        choice = choose(
            len(library),
            made.rank,
            exact=options["exact"],
            memory_mb=options["memory_mb"],
            factory=options["factory"],
        )
        backend = filled(library.rows, made, choice, width=made.rank, seed=options["seed"])
        about = {
            **about,
            "options": options,
            "reasons": {"preparation": list(why), "backend": list(backend.choice.reasons)}
            | ({} if segments is None else {"segments": list(segments.backend.choice.reasons)}),
            "fitted_rows": len(library.rows),
        }
        pairs = random_pairs(library, made, options["seed"])
        filled_index = cls(library, made, backend, pairs, about, segments)
        filled_index.nearest = nearest_similarities(filled_index)
        return filled_index

    # What is in it

    def __len__(self) -> int:
        return len(self.library)

    @property
    def ids(self) -> list[str]:
        """Ids of the tracks, in the order of :meth:`vectors` and :attr:`metadata`."""
        return self.library.ids

    @property
    def metadata(self) -> pd.DataFrame:
        """A row for each track: ``track_id`` and all columns that travel along; a copy."""
        return self.library.frame.iloc[self.library.live].reset_index(drop=True)

    @property
    def slots(self) -> int:
        """Summary embeddings in a vector, K; 1 where that is not known."""
        return int(self.about["slots"])

    @property
    def width(self) -> int:
        """Numbers in an embedding, K * d."""
        return self.library.rows.width

    @property
    def provenance(self) -> dict[str, Any]:
        """Provenance of the store that it was built from; empty if it was built from plain vectors."""
        return dict(self.about["provenance"])

    @property
    def reasons(self) -> dict[str, list[str]]:
        """Why the preparation and the search structure are what they are."""
        return dict(self.about["reasons"])

    def vectors(self) -> NDArray[np.float32]:
        """Prepared unit vectors [n, rank]; their inner product is the similarity."""
        prepared = np.empty((len(self), self.preparation.rank), np.float32)
        for first, block in self.library.rows.select(self.library.live).blocks():
            prepared[first : first + len(block)] = self.preparation(block)
        return prepared

    def embeddings(self) -> NDArray[np.float32]:
        """The embeddings as they were given, [n, width]."""
        return self.library.rows.take(self.library.live)

    def __repr__(self) -> str:
        place = f"{str(self._saved.folder)!r}: " if self._saved else ""
        return (
            f"SimilarityIndex({place}{len(self):,} tracks, {self.backend.choice.kind}, {self.preparation.kind}, "
            f"rank {self.preparation.rank}{', with segments' if self.segments else ''})"
        )

    def advice(self) -> str:
        """What to do about tracks added since it was built; empty: nothing."""
        return advice_on(self)

    # Asking

    def search(self, queries: NDArray[np.float32], k: int = 10) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Nearest tracks of prepared vectors, without any of the comfort of :meth:`query`.

        Parameters
        ----------
        queries : np.ndarray [shape=(m, rank)]
            Of unit length, as :meth:`vectors` gives them.
        k
            At most as many as there are tracks are found.

        Returns
        -------
        similarity : np.ndarray [shape=(m, min(k, n))], float32
        positions : np.ndarray [shape=(m, min(k, n))], int64
            In :attr:`ids`; -1 where an approximate structure has found no more.
        """
        return nearest(self, queries, k)

    def query(self, what: Any, k: int = 10, **options: Any) -> pd.DataFrame:
        """Neighbours of tracks of the library, audio files or vectors; see :func:`m2l2_mir.index.query.query`."""
        return query(self, what, k, **options)

    def find_segment(self, audio: str | os.PathLike[str], k: int = 5, **options: Any) -> pd.DataFrame:
        """Where in the library a snippet occurs; see :func:`m2l2_mir.index.snippets.find_segment`."""
        from m2l2_mir.index.snippets import find_segment

        return find_segment(self, audio, k, **options)

    def duplicates(self) -> pd.DataFrame:
        """Pairs of tracks much closer than their neighbourhood; see :mod:`m2l2_mir.index.duplicates`."""
        from m2l2_mir.index.duplicates import near_pairs

        return near_pairs(self)

    # Changing

    def add(
        self,
        store: EmbeddingStore | str | Path,
        *,
        metadata: pd.DataFrame | None = None,
        files: Literal["kept", "checked"] = "kept",
    ) -> Changes:
        """Bring the index to the state of a store: add, update and remove exactly what differs.

        Tracks of other stores stay. The preparation stays as it is, so no similarity between old tracks changes.

        Parameters
        ----------
        store : EmbeddingStore or path
            Made by the index's model.
        metadata : pd.DataFrame, optional
            Matched by ``track_id``; as in :meth:`build`.
        files : {"kept", "checked"}
            "checked": tracks of the store whose audio file is gone are removed as well.

        Raises
        ------
        StoreError
            The store was made by another model or with other settings.
        InputError
            A track of another store has the same id, or none of the audio files is there.
        """
        opened = store if isinstance(store, EmbeddingStore) else EmbeddingStore.open(store)
        refuse_other_model(self.about["provenance"], opened.provenance, str(opened.path))
        ids, vectors, table = tracks_of(opened, self.about["pooling"], metadata)
        source = source_of(opened)
        if self.segments is not None and not opened.provenance.get("keep_chunks"):
            raise InputError("the index has segments, but the store kept no chunks: embed again with --keep chunks")
        refuse_namesakes(self.library, ids, vectors, source)
        if files == "checked":
            there = ~gone(table)
            if not there.all():
                ids = [name for name, keep in zip(ids, there, strict=True) if keep]
                vectors, table = vectors[there], table[there].reset_index(drop=True)
        live = self.library.live
        mine = self.library.frame[SOURCE].to_numpy()[live] == source
        held = self.library.frame["track_id"].to_numpy()[live]
        lost = live[mine & ~pd.Index(held).isin(ids)]
        return put(self, ids, vectors, table, lost, opened)

    def add_vectors(self, vectors: Any, ids: Sequence[str], metadata: pd.DataFrame | None = None) -> Changes:
        """Add or update tracks given as vectors; see :meth:`from_vectors`.

        Raises
        ------
        InputError
            As :meth:`from_vectors` does, or the vectors have another width.
        """
        names = checked_ids(ids, len(vectors))
        if self.segments is not None:
            raise InputError("this index has segments, which plain vectors have not: add a store")
        flat = as_vectors(vectors, names)
        if flat.shape[1] != self.width:
            raise InputError(f"vectors have {flat.shape[1]} numbers, those of the index {self.width}")
        return put(self, names, flat, metadata_of(names, metadata), np.zeros(0, np.int64))

    def remove(self, ids: Sequence[str]) -> Changes:
        """Remove tracks.

        Raises
        ------
        InputError
            One is not there; nothing is removed then.
        """
        rows = self.library.known_rows(list(dict.fromkeys(ids)))
        return put(self, [], np.zeros((0, self.width), np.float32), pd.DataFrame(index=range(0)), rows)

    def rebuild(self, **options: Any) -> Self:
        """A new index of the same tracks: preparation and structure made for what is there now.

        Parameters
        ----------
        **options
            preparation, exact, memory_mb, factory, seed, as in :meth:`build`; default: those it was built with.
        """
        unknown = sorted(set(options) - {"preparation", "exact", "memory_mb", "factory", "seed"})
        if unknown:
            raise InputError(f"rebuild has no option {unknown[0]!r}; preparation, exact, memory_mb, factory, seed")
        size = {"exact": False, "memory_mb": None, "factory": None}
        kept = self.about["options"] | (size if options.keys() & size.keys() else {})
        about = {key: self.about[key] for key in ("slots", "pooling", "provenance", "created")}
        wanted = {**kept, **options}
        sizes = {name: wanted[name] for name in ("exact", "memory_mb")}
        segments = None if self.segments is None else self.segments.rebuilt(**sizes)
        made = self._fitted(self.library.compacted(), about, wanted, segments)
        made._saved = self._saved
        return made

    # Keeping

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the index to a folder, so that a crash leaves what was there or all of this.

        Parameters
        ----------
        overwrite
            Replace whatever index is there.

        Raises
        ------
        StoreError
            The folder cannot be written, holds something else, or holds an index that is not the one this was loaded
            from (or was changed since).
        """
        self._saved = save_parts(self, Path(path), self._saved, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mapped: bool = True) -> Self:
        """Open a saved index.

        Files of up to 64 MiB are read and compared with their SHA-256. Of larger ones the size and 64 blocks of 1 MiB
        are: what is truncated is always found, what changed inside by chance; ``m2l2 doctor`` reads every byte.

        Parameters
        ----------
        mapped
            Map vectors and structure from disk rather than read them: opening takes no memory to speak of, and a
            change of the index reads the structure then.

        Raises
        ------
        StoreError
            The folder is no index, or a file is truncated, was found to be changed, or does not fit the others.
        """
        return cls(**load_parts(Path(path), mapped=mapped))
