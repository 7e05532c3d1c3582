"""Where slots come from: models on rendered clips, and stores that are there.

Conventions
-----------
* A source gives [n, K, d] for track ids. Slots of clips of several chunks are means over time.
* What stands beside a model is in :mod:`m2l2_mir.disentangle.controls`.
* A codec of more tokens than slots, such as CoDiCodec of 128 x 4, is given as slots of many tokens each: a regrouping,
  and called so. Its native tokens are analysed beside it.
* Embeddings are kept in ``disentangle`` in the user's cache, every chunk of them, and are taken up where a run stopped.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.durable import cache_home
from m2l2_mir.embedding.extract import Observer, extract
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import InputError, UntrainedWarning
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.probe.inputs import config_of, model_name

__all__ = ["Kind", "Observe", "Source", "embed", "model_source", "native_tokens", "regrouping_note", "store_source"]

Kind = Literal["model", "native", "basis", "untrained", "hand-made", "oracle", "rotated"]
Floats = NDArray[np.float32]
SlotsOf = Callable[[Sequence[str]], Floats]
Observe = Callable[[str], AbstractContextManager[Observer | None]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Slots by track id.

    Parameters
    ----------
    name
        Unique in a run.
    kind
        "model" for what is analysed, else a control.
    about
        What it is, for tables.
    shape
        (K, d).
    slots_of
        From track ids to [n, K, d].
    identity
        What they were made with; results of another are not the same.
    failed
        Track ids that have no slots, with the reason.
    store
        Of a model.
    """

    name: str
    kind: Kind
    about: str
    shape: tuple[int, int]
    slots_of: SlotsOf
    identity: dict[str, Any]
    failed: dict[str, str] = field(default_factory=dict)
    store: EmbeddingStore | None = None

    @property
    def ordered(self) -> bool:
        """Whether its slots are successive spans of time."""
        config = None if self.store is None else config_of(self.store)
        return config is not None and config.latents == "ordered"

    @property
    def trained(self) -> bool:
        return self.store is None or self.store.trained

    def digest(self, track_ids: Sequence[str]) -> str:
        """Of the slots themselves: a store may hold others under the same name."""
        slots = np.ascontiguousarray(self.slots_of(list(track_ids)), dtype=np.float32)
        return hashlib.sha256(slots.tobytes()).hexdigest()


def embed(
    model: Music2Latent2, name: str, dataset: Dataset, *, jobs: int | None = None, observe: Observe | None = None
) -> EmbeddingStore:
    """Embed the clips of a data set, every chunk, into the cache."""
    tracks = "\n".join(sorted(dataset.tracks["track_id"].astype(str)))
    digest = hashlib.sha256(tracks.encode()).hexdigest()[:12]
    with (observe or (lambda _: nullcontext()))(name) as observer, warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWarning)  # the report says so
        return extract(
            dataset,
            out=cache_home() / "disentangle" / model.fingerprint / digest,
            model=model,
            keep="chunks",
            jobs=jobs,
            observer=observer,
        )


def model_source(
    model: str, dataset: Dataset, *, device: str = "auto", jobs: int | None = None, observe: Observe | None = None
) -> Source:
    """A model as :func:`m2l2_mir.load_model` takes it, on a data set that is rendered if need be."""
    name = model_name(model)
    store = embed(load_model(model, device=device), name, dataset, jobs=jobs, observe=observe)
    return store_source(store, name)


def store_source(store: EmbeddingStore, name: str) -> Source:
    """Embeddings that are there already."""
    tracks = store.tracks
    bad = tracks[tracks["status"] != "ok"]
    settings = store.provenance["settings"]
    place = {track: row for row, track in enumerate(store.ok["track_id"])}
    if not place:
        raise InputError(
            f"{store.path} has no embeddings to analyse; 'm2l2 embed MUSIC/ --out {store.path}' makes them"
        )

    config = config_of(store)
    regrouped = config is not None and config.latent_tokens != store.num_embeddings
    grouping = f" (a regrouping of {config.latent_tokens} x {config.token_dim})" if config and regrouped else ""

    def slots_of(track_ids: Sequence[str]) -> Floats:
        rows = [place[track] for track in track_ids]
        return store.embeddings("mean")[rows]

    return Source(
        name=name,
        kind="model",
        about=f"{store.num_embeddings} x {store.dim}{grouping}, {settings.get('weights', 'unknown weights')}",
        shape=(store.num_embeddings, store.dim),
        slots_of=slots_of,
        identity={
            key: settings[key]
            for key in ("weights", "weights_sha256", "features", "excerpt", "loudness")
            if key in settings
        },
        failed=dict(zip(bad["track_id"].astype(str), bad["reason"].astype(str), strict=True)),
        store=store,
    )


def regrouping_note(source: Source) -> str | None:
    """What has to be said where slots are made of several tokens; None where they are not."""
    config = None if source.store is None else config_of(source.store)
    if config is None or config.latent_tokens == source.shape[0]:
        return None
    slots, width = source.shape
    return (
        f"the {slots} x {width} slots of {source.name} are a regrouping of its {config.latent_tokens} x "
        f"{config.token_dim} tokens, which it does not make itself: what a slot holds depends on which tokens are put "
        "together; its native tokens stand beside it, with fewer random rotations and permutations"
    )


def native_tokens(source: Source) -> Source | None:
    """The tokens that a codec bounds or rounds, where slots are made of several of them; None where they are not."""
    config = None if source.store is None else config_of(source.store)
    if config is None or config.latent_tokens == source.shape[0]:
        return None
    shape = (config.latent_tokens, config.token_dim)
    return Source(
        name=f"{source.name}, native tokens",
        kind="native",
        about=f"{shape[0]} x {shape[1]}, the tokens that slots of {source.name} are made of",
        shape=shape,
        slots_of=lambda ids: source.slots_of(ids).reshape(len(ids), *shape),
        identity={**source.identity, "tokens": list(shape)},
        failed=source.failed,
    )
