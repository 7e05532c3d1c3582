"""Where vectors come from: whose embeddings they are, and how a track's K embeddings became one vector.

store --View--> vectors, one row of results for each part --Space--> what a saved probe demands of embeddings

Conventions
-----------
* A view is how the K summary embeddings of a track become one vector: "flatten" (all side by side), "mean" (over
  slots), "each" (a row for each slot alone) or "leave-one-out" (a row without each slot), of the mean over time or of
  mean and standard deviation ("mean+std").
* Every view is a linear map, so that what a linear read-out does in it can be said in the embedding's own coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import InputError
from m2l2_mir.recipe import close_match

__all__ = ["POOLINGS", "SLOTS", "Space", "View"]

SLOTS = ("flatten", "mean", "each", "leave-one-out")
POOLINGS = ("mean", "mean+std")

_COMPARED = ("features", "loudness", "num_embeddings", "dim")


@dataclass(frozen=True, kw_only=True)
class View:
    """How a track's summary embeddings become one vector; see the module's conventions."""

    slots: str = "flatten"
    pooling: str = "mean"

    def __post_init__(self) -> None:
        for value, known, what in ((self.slots, SLOTS, "slots"), (self.pooling, POOLINGS, "pooling")):
            if value not in known:
                raise InputError(
                    f"{what} is {value!r}{close_match(value, list(known))}; it must be one of {', '.join(known)}"
                )

    def of(self, embeddings: NDArray[Any]) -> list[tuple[str, NDArray[Any]]]:
        """Vectors [tracks, width] and what to add to the name of the row, for embeddings [tracks, K, d].

        >>> [(suffix, part.shape) for suffix, part in View(slots="leave-one-out").of(np.zeros((5, 2, 64)))]
        [(', without slot 1', (5, 64)), (', without slot 2', (5, 64))]
        """
        tracks, slots, _ = embeddings.shape
        added = "" if self.pooling == "mean" else f", {self.pooling}"
        if self.slots == "flatten":
            return [(added, embeddings.reshape(tracks, -1))]
        if self.slots == "mean":
            return [(f"{added}, mean of slots", embeddings.mean(axis=1))]
        if self.slots == "each":
            return [(f"{added}, slot {slot + 1}", embeddings[:, slot]) for slot in range(slots)]
        return [
            (f"{added}, without slot {slot + 1}", np.delete(embeddings, slot, axis=1).reshape(tracks, -1))
            for slot in range(slots)
        ]


@dataclass(frozen=True, kw_only=True)
class Space:
    """The embeddings that vectors are made of, and the part of a view that they are.

    Parameters
    ----------
    model
        As :func:`m2l2_mir.load_model` takes it; "" where only the weights are known.
    weights, weights_sha256
        Name of the weights, and SHA-256 of the encoder's; "" where none is stated.
    trained
        Whether they come from training.
    features, loudness, excerpt
        As in :func:`m2l2_mir.embedding.extract.extract`.
    num_embeddings, dim
        K and d.
    slots, pooling, part
        The view, and which of its parts, counted from 0.

    Examples
    --------
    >>> model = {"model": "", "weights": "sha256:12", "weights_sha256": "34", "trained": True}
    >>> made = {"features": "bottleneck", "loudness": None, "excerpt": None, "num_embeddings": 8, "dim": 64}
    >>> slot_3 = Space(**model, **made, slots="each", pooling="mean", part=2)
    >>> slot_3.vectors(np.zeros((5, 8, 64))).shape, slot_3.back(np.ones((1, 64))).shape
    ((5, 64), (1, 512))
    """

    model: str
    weights: str
    weights_sha256: str
    trained: bool
    features: str
    loudness: float | None
    excerpt: tuple[float, float] | None
    num_embeddings: int
    dim: int
    slots: str
    pooling: str
    part: int

    def __post_init__(self) -> None:
        if self.num_embeddings < 1 or self.dim < 1:
            raise InputError(f"embeddings are {self.num_embeddings} x {self.dim}; both must be at least 1")
        parts = self.num_embeddings if self.view.slots in ("each", "leave-one-out") else 1
        if not 0 <= self.part < parts or self.width < 1:
            raise InputError(f"part {self.part} of slots {self.slots!r} is none of {self.num_embeddings} embeddings")

    @classmethod
    def of(cls, store: EmbeddingStore, view: View, part: int = 0, *, model: str = "") -> Self:
        """The space of a store's embeddings."""
        settings = store.provenance["settings"]
        excerpt = settings.get("excerpt")
        return cls(
            model=model,
            weights=str(settings.get("weights", "")),
            weights_sha256=str(settings.get("weights_sha256", "")),
            trained=store.trained,
            features=str(settings.get("features", "bottleneck")),
            loudness=settings.get("loudness"),
            excerpt=None if excerpt is None else (excerpt[0], excerpt[1]),
            num_embeddings=store.num_embeddings,
            dim=store.dim,
            slots=view.slots,
            pooling=view.pooling,
            part=part,
        )

    @property
    def view(self) -> View:
        """How embeddings become vectors."""
        return View(slots=self.slots, pooling=self.pooling)

    @property
    def shape(self) -> tuple[int, int]:
        """Of one track's embeddings under this pooling: [K, d], or [K, 2 d] with standard deviations."""
        return self.num_embeddings, self.dim * (2 if self.pooling == "mean+std" else 1)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return int(self.view.of(np.zeros((1, *self.shape), np.float32))[self.part][1].shape[1])

    @property
    def name(self) -> str:
        """Model and weights, for a person."""
        weights = self.weights if self.weights.startswith("random:") else self.weights[:19]
        return " ".join(filter(None, (self.model, f"({weights})" if self.model else weights))) or "a model of no name"

    def vectors(self, embeddings: NDArray[Any]) -> NDArray[np.float64]:
        """Vectors [tracks, width] of embeddings [tracks, K, d]; what is [tracks, width] already stays as it is.

        Raises
        ------
        InputError
            They have another shape.
        """
        given = np.asarray(embeddings, dtype=np.float64)
        if given.ndim == 3 and given.shape[1:] == self.shape:
            return self.view.of(given)[self.part][1]
        if given.ndim == 2 and given.shape[1] == self.width:
            return given
        slots, width = self.shape
        raise InputError(
            f"embeddings have shape {list(given.shape)}; {self.name} with pooling {self.pooling!r} has "
            f"[tracks, {slots}, {width}], or [tracks, {self.width}] once they are vectors"
        )

    def back(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Functionals of vectors [r, width] as functionals of embeddings [r, K*d], in the embedding's coordinates."""
        slots, width = self.shape
        every = np.eye(slots * width).reshape(-1, slots, width)
        return directions @ self.view.of(every)[self.part][1].T

    def require(self, store: EmbeddingStore) -> None:
        """Refuse the embeddings of another model, or made in another way.

        Raises
        ------
        InputError
            Weights, features or loudness differ; the message names both.
        """
        other = Space.of(store, self.view, self.part)
        mine, theirs = ((space.weights_sha256 or space.weights) for space in (self, other))
        if mine != theirs:
            raise InputError(
                f"{store.path} holds embeddings of {other.name}, the probe reads those of {self.name}; embed the "
                "audio with that model, or fit the probe on the store's"
            )
        for key in _COMPARED:
            if getattr(self, key) != getattr(other, key):
                raise InputError(
                    f"{store.path} was made with {key} {getattr(other, key)}, what the probe was fitted on with "
                    f"{getattr(self, key)}; embed the audio in the same way"
                )
