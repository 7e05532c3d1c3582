"""Where slots come from: models, the time bases of ordered ones, and the controls that stand beside them.

Conventions
-----------
* A source gives [n, K, d] for track ids. Slots of clips of several chunks are means over time.
* Controls: the architecture with random weights; slots of the model turned inside themselves, which must not move slot
  scores; an oracle, whose slots hold one factor each of a stratum, one-hot; log-mel statistics of equal width (eight
  bands of 32 means and 32 standard deviations over frames), where K x d is 8 x 64.
* Time bases mix the K positions of ordered latents, the same way in every dimension: the discrete cosine transform, and
  the principal components over positions. Both are linear, so that they commute with the mean over time.
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
from scipy.fft import dct

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.disentangle.bases import random_basis
from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.durable import cache_home
from m2l2_mir.embedding.extract import Observer, extract
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import InputError, UntrainedWarning
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model, random_model
from m2l2_mir.probe.baseline_vectors import baseline_vectors
from m2l2_mir.probe.baselines import VERSION as BASELINES_VERSION
from m2l2_mir.probe.inputs import UNTRAINED_SEED, config_of, model_name

__all__ = [
    "Source",
    "embed",
    "log_mel_source",
    "model_source",
    "native_tokens",
    "oracle_source",
    "rotated_inside",
    "store_source",
    "time_bases",
    "untrained_source",
]

Kind = Literal["model", "native", "basis", "untrained", "hand-made", "oracle", "rotated"]
Floats = NDArray[np.float32]
SlotsOf = Callable[[Sequence[str]], Floats]
Observe = Callable[[str], AbstractContextManager[Observer | None]]

LOG_MEL_SHAPE = (8, 64)


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


def untrained_source(
    beside: Source, dataset: Dataset, *, jobs: int | None = None, observe: Observe | None = None, seed: int = 0
) -> Source | None:
    """The architecture of a source with random weights; None if it is unknown."""
    config = None if beside.store is None else config_of(beside.store)
    if config is None:
        return None
    name = f"untrained {config.name}"
    store = embed(random_model(config, UNTRAINED_SEED + seed), name, dataset, jobs=jobs, observe=observe)
    made = store_source(store, name)
    return Source(
        name=name,
        kind="untrained",
        about=f"the architecture of {beside.name} with random weights",
        shape=made.shape,
        slots_of=made.slots_of,
        identity=made.identity,
        failed=made.failed,
    )


def time_bases(source: Source, blocks: Sequence[Block]) -> list[Source]:
    """A source in the bases of its K positions: "DCT", and "PCA", fitted on the clips of all blocks."""
    slots = source.slots_of([track for block in blocks for track in block.track_ids]).astype(np.float64)
    centred = slots - slots.mean(axis=0)
    _, axes = np.linalg.eigh(np.einsum("nkd,njd->kj", centred, centred))
    size = slots.shape[1]
    mixes = {"DCT": dct(np.eye(size), axis=0, norm="ortho"), "PCA": axes[:, ::-1].T}
    return [
        _derived(source, f"{source.name}, {name} over positions", "basis", f"its K positions mixed by the {name}", mix)
        for name, mix in mixes.items()
    ]


def rotated_inside(source: Source, *, seed: int = 0) -> Source:
    """A source whose slots are turned inside themselves, each by a random rotation of its own."""
    slots, width = source.shape
    rng = np.random.default_rng(seed)
    turns = np.stack([random_basis(width, width, rng) for _ in range(slots)])
    return Source(
        name=f"{source.name}, turned inside slots",
        kind="rotated",
        about="each slot in a random basis of its own: must not move slot scores",
        shape=source.shape,
        slots_of=lambda ids: np.einsum("nkd,kde->nke", source.slots_of(ids).astype(np.float64), turns),
        identity={**source.identity, "turned": seed},
        failed=source.failed,
    )


def oracle_source(blocks: Sequence[Block], shape: tuple[int, int]) -> Source:
    """Slots that hold the factors themselves: in each stratum the first factor in slot 1, and so on, in turns.

    Factors of different strata share slots.
    """
    number, width = shape
    codes: dict[str, NDArray[np.float64]] = {}
    columns: dict[str, tuple[int, int]] = {}  # slot and first dimension of each factor
    used: dict[str, int] = {}
    filled = [0] * number
    sizes = {
        factor.name: max(len(values), 1)
        for block in blocks
        for factor, values in zip(block.schema, block.values, strict=True)
    }
    for block in blocks:
        for factor, stratum in zip(block.schema, block.strata, strict=True):
            slot = used.get(stratum, 0) % number
            used[stratum] = used.get(stratum, 0) + 1
            columns[factor.name] = (slot, filled[slot])
            filled[slot] += sizes[factor.name]
    width = max(width, *filled)
    for block in blocks:
        for track, line in block.codes.iterrows():
            one = np.zeros((number, width))
            for name, value in line.items():
                slot, start = columns[str(name)]
                if sizes[str(name)] > 1:
                    one[slot, start + int(value)] = 1
                else:
                    one[slot, start] = value
            codes[str(track)] = one
    return Source(
        name="oracle",
        kind="oracle",
        about="slots that hold one factor each of a stratum: what a perfect code scores",
        shape=(number, width),
        slots_of=lambda ids: np.stack([codes[track] for track in ids]),
        identity={"oracle": [number, width]},
    )


def log_mel_source(
    dataset: Dataset, *, jobs: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Source:
    """Log-mel statistics in 8 bands of 64 numbers, computed once for each file and kept in the user's cache."""
    tracks = dataset.tracks
    computed = baseline_vectors(tracks["path"].astype(str).tolist(), ["log-mel"], jobs=jobs, progress=progress)
    bands, width = LOG_MEL_SHAPE
    halves = computed.vectors["log-mel"].reshape(len(tracks), 2, bands, width // 2)  # means, then deviations
    slots = halves.swapaxes(1, 2).reshape(len(tracks), bands, width)
    place = {track: row for row, track in enumerate(tracks["track_id"])}
    return Source(
        name="log-mel statistics",
        kind="hand-made",
        about="8 bands of mean and standard deviation over frames of 32 log-mel bins: as wide as 8 x 64",
        shape=LOG_MEL_SHAPE,
        slots_of=lambda ids: slots[[place[track] for track in ids]],
        identity={"hand-made": "log-mel", "version": BASELINES_VERSION},
        failed={str(track): why for track, why in zip(tracks["track_id"], computed.reasons, strict=True) if why},
    )


def _derived(source: Source, name: str, kind: Kind, about: str, mix: NDArray[np.float64]) -> Source:
    return Source(
        name=name,
        kind=kind,
        about=about,
        shape=source.shape,
        slots_of=lambda ids: np.einsum("jk,nkd->njd", mix, source.slots_of(ids).astype(np.float64)),
        identity={**source.identity, "mix": np.round(mix, 6).tolist()},
        failed=source.failed,
    )
