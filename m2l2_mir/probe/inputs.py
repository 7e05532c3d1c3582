"""From models and embedding stores to the rows of an experiment.

data set --extract--> store, kept in the user's cache --View--> one row for each of its parts

Conventions
-----------
* Beside models stands the same architecture with random weights, drawn anew for each seed. What the features of an
  untrained network give is the floor that training has to raise. Its seeds begin at 1000, so that it is never the
  model that ``random:NAME`` names.
* Stores go to ``probe`` in the cache folder, one for each model and set of tracks: a run that was killed goes on there.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.dataset.table_file import names_in
from m2l2_mir.durable import cache_home
from m2l2_mir.embedding.extract import Observer, extract
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import ConfigError, UntrainedWarning
from m2l2_mir.model.autoencoder import Features, Music2Latent2
from m2l2_mir.model.checkpoint import load_model, random_model
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.probe.rows import Row, align, content_hash, require_known
from m2l2_mir.probe.space import Space, View

__all__ = ["Extraction", "config_of", "model_name", "model_store", "store_rows", "untrained_rows"]

UNTRAINED_SEED = 1000  # the first; 0 and what follows are what "random:NAME" has, which may itself be probed

Vectors = NDArray[np.float32]
Observe = Callable[[str], AbstractContextManager[Observer | None]]


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """How models are run over the tracks.

    Parameters
    ----------
    device, jobs, features, excerpt, loudness
        As in :func:`m2l2_mir.embedding.extract.extract`.
    cache
        Folder of the stores; None: ``probe`` in the user's cache folder.
    observe
        From the name of a row to what is told of its extraction.
    """

    device: str = "auto"
    jobs: int | None = None
    features: Features = "bottleneck"
    excerpt: tuple[float, float] | None = None
    loudness: float | None = None
    cache: Path | None = None
    observe: Observe = lambda _: nullcontext()

    @property
    def target(self) -> torch.device:
        """The device, as :func:`m2l2_mir.load_model` would choose it."""
        return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device)

    def store(self, model: Music2Latent2, name: str, dataset: Dataset) -> EmbeddingStore:
        """Embed a data set, going on where an earlier run stopped."""
        tracks = "\n".join(f"{track}\t{path}" for track, path in zip(*_ids_and_paths(dataset), strict=True))
        digest = hashlib.sha256(tracks.encode()).hexdigest()[:12]
        folder = self.cache or cache_home() / "probe"
        heard = "" if self.excerpt is None else "@{:g}+{:g}".format(*self.excerpt)
        heard += "" if self.loudness is None else f"{self.loudness:+g}LUFS-heard"
        with self.observe(name) as observer, warnings.catch_warnings():
            warnings.simplefilter("ignore", UntrainedWarning)  # the row says so
            return extract(
                dataset,
                out=folder / f"{model.fingerprint}-{self.features}{heard}" / digest,
                model=model,
                jobs=self.jobs,
                features=self.features,
                excerpt=self.excerpt,
                loudness=self.loudness,
                observer=observer,
            )


def model_store(model: str | os.PathLike[str], dataset: Dataset, extraction: Extraction) -> EmbeddingStore:
    """Embed a data set, rendered if need be, with a model as :func:`m2l2_mir.load_model` takes it.

    Raises
    ------
    CheckpointError, InputError, StoreError
        There is no such model, or no audio to embed.
    """
    return extraction.store(load_model(os.fspath(model), device=extraction.device), model_name(model), dataset)


def store_rows(
    store: EmbeddingStore, name: str, dataset: Dataset, views: Sequence[View] = (View(),), *, model: str = ""
) -> list[Row]:
    """Rows of a store that has all tracks of the data set: one for each view, more where slots are taken one by one.

    Parameters
    ----------
    store
        Its embeddings.
    name
        Of the rows.
    dataset
        Its tracks, in order; the store may call them otherwise, if it is made of the same files.
    views
        How embeddings become vectors.
    model
        As :func:`m2l2_mir.load_model` takes it, for a fitted probe to find its model again; "" if it is not known.

    Raises
    ------
    InputError
        It lacks tracks.
    """
    track_ids = names_in(store.tracks, *_ids_and_paths(dataset))
    failed = _failures(store, track_ids)
    audio = _audio(store, track_ids)
    rows = []
    for view in views:
        for number, (suffix, part) in enumerate(view.of(store.embeddings(view.pooling)[:1])):
            rows.append(
                Row(
                    name=name + suffix,
                    kind="model",
                    width=part.shape[1],
                    load=_loader(store, view, number, track_ids),
                    about=f"{store.num_embeddings} x {store.dim}, {store.provenance['settings'].get('weights')}",
                    failed=failed,
                    note="" if store.trained else f"{name}: the weights are untrained; not for conclusions about music",
                    provenance={
                        "store": _identity(store),
                        "audio_sha256": content_hash(audio),
                        "view": [view.slots, view.pooling, number],
                    },
                    space=Space.of(store, view, number, model=model),
                    audio=audio,
                )
            )
    return rows


def untrained_rows(
    configs: Iterable[tuple[str, ModelConfig]],
    dataset: Dataset,
    *,
    seeds: int,
    view: View = View(),  # noqa: B008 (frozen)
    extraction: Extraction = Extraction(),
) -> list[Row]:
    """A row for each different architecture, with weights drawn anew for each seed.

    Parameters
    ----------
    configs
        Names of models and their configurations.
    dataset
        Rendered and embedded if need be.
    seeds
        How many initialisations.
    view
        The one that trained models are read in; slots one by one give a row each.
    """
    different: dict[str, tuple[str, ModelConfig]] = {}
    for name, config in configs:
        different.setdefault(repr(config), (name, config))
    presets = [config.name for _, config in different.values()]
    rows = []
    track_ids, _ = _ids_and_paths(dataset)
    for name, config in different.values():
        title = f"untrained {config.name if presets.count(config.name) == 1 else name}"
        stores = [
            extraction.store(random_model(config, seed).to(extraction.target), f"{title}, seed {seed}", dataset)
            for seed in range(UNTRAINED_SEED, UNTRAINED_SEED + seeds)
        ]
        failed: dict[int, str] = {}
        for store in stores:
            failed |= _failures(store, track_ids)
        audio = _audio(stores[0], track_ids)
        for number, (suffix, part) in enumerate(view.of(stores[0].embeddings(view.pooling)[:1])):
            loaders = [_loader(store, view, number, track_ids) for store in stores]
            rows.append(
                Row(
                    name=title + suffix,
                    kind="untrained",
                    width=part.shape[1],
                    load=lambda seed, loaders=loaders: loaders[seed](seed),  # type: ignore[misc]
                    about=f"the architecture of {name} with random weights, drawn anew for each seed",
                    failed=failed,
                    provenance={
                        "stores": [_identity(store) for store in stores],
                        "audio_sha256": content_hash(audio),
                        "view": [view.slots, view.pooling, number],
                    },
                    audio=audio,
                )
            )
    return rows


def config_of(store: EmbeddingStore) -> ModelConfig | None:
    """Configuration of the model that made a store; None if it was none of this package."""
    try:
        return ModelConfig.from_dict(store.provenance["settings"]["model"])
    except (KeyError, TypeError, ConfigError):
        return None


def model_name(model: str | os.PathLike[str]) -> str:
    """Name of a model's row: a file by its folder and stem, since many are called "weights".

    >>> model_name("runs/first/weights.safetensors"), model_name("random:m2l2-small")
    ('first/weights', 'random:m2l2-small')
    """
    text = os.fspath(model)
    return "/".join(Path(text).with_suffix("").parts[-2:]) if text.endswith((".safetensors", ".pt")) else text


def _ids_and_paths(dataset: Dataset) -> tuple[list[str], list[str]]:
    return dataset.tracks["track_id"].astype(str).tolist(), dataset.tracks["path"].astype(str).tolist()


def _failures(store: EmbeddingStore, track_ids: Sequence[str]) -> dict[int, str]:
    tracks = store.tracks
    require_known(str(store.path), tracks["track_id"].tolist(), track_ids)
    bad = tracks[tracks["status"] != "ok"]
    reasons = dict(zip(bad["track_id"], bad["reason"], strict=True))
    return {position: reasons[track] for position, track in enumerate(track_ids) if track in reasons}


def _audio(store: EmbeddingStore, track_ids: Sequence[str]) -> list[str]:
    """SHA-256 of each track's file, of failed ones too where it could be read."""
    known = store.tracks.set_index("track_id")["audio_sha256"]
    return known.reindex(pd.Index(track_ids)).fillna("").tolist()


def _loader(store: EmbeddingStore, view: View, number: int, track_ids: Sequence[str]) -> Callable[[int], Vectors]:
    def load(_: int) -> Vectors:
        # Opened anew, so that no store keeps its vectors in memory.
        fresh = EmbeddingStore.open(store.path)
        return align(view.of(fresh.embeddings(view.pooling))[number][1], fresh.ok["track_id"].tolist(), track_ids)

    return load


def _identity(store: EmbeddingStore) -> dict[str, object]:
    settings = store.provenance["settings"]
    named = ("weights", "weights_sha256", "features", "excerpt", "loudness")
    return {key: settings[key] for key in named if key in settings}
