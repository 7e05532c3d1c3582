"""Audio files as questions to an index: embedded by its model, just as its store was."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.audio import read_info
from m2l2_mir.dataset.folder import AudioFile
from m2l2_mir.embedding.pipeline import Pipeline
from m2l2_mir.embedding.reading import Settings
from m2l2_mir.embedding.track import TrackResult
from m2l2_mir.errors import AudioError, CheckpointError, InputError, StoreError, UntrainedWarning
from m2l2_mir.index.sources import model_name
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model, read_metadata, tensors_sha256
from m2l2_mir.model.hub import local_path
from m2l2_mir.model.official_file import OFFICIAL
from m2l2_mir.model.shipped import shipped_names, shipped_path

if TYPE_CHECKING:
    from m2l2_mir.index.seeds import Part
    from m2l2_mir.index.similarity import SimilarityIndex

__all__ = ["embed_file", "model_of", "weights_at_hand"]

BATCH_SIZE = 8


def model_of(index: SimilarityIndex, given: Any = None, device: str = "auto") -> Music2Latent2:
    """The model that made the embeddings of an index.

    Parameters
    ----------
    given : str, path or Music2Latent2, optional
        None: found by what the index says: random weights, shipped ones, or official ones that are on this machine.

    Raises
    ------
    StoreError
        The index was made from plain vectors, or by other weights than those given.
    CheckpointError
        The weights are not at hand.
    """
    settings = index.about["provenance"].get("settings")
    if settings is None:
        raise StoreError("the index was made from plain vectors, so that it cannot listen: give a vector or a track")
    if given is None and (given := weights_at_hand(settings)) is None:
        raise CheckpointError(
            f"the weights of the index, {model_name(settings)}, are not at hand: name them with --model, "
            + (f"as {preset} or a file" if (preset := _official(settings)) else "by their file")
        )
    if isinstance(given, Music2Latent2):
        model = given
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UntrainedWarning)
            model = load_model(os.fspath(given), device=device)
    if tensors_sha256(model.encoder.state_dict()) != settings.get("weights_sha256"):
        mine = model_name({"weights": model.weights_id, "model": {"name": model.config.name}})
        raise StoreError(
            f"the index was made with {model_name(settings)}, this is {mine}: vectors of different models cannot be "
            "compared"
        )
    return model


def weights_at_hand(settings: Mapping[str, Any]) -> str | None:
    """The name that :func:`~m2l2_mir.load_model` finds the weights of embeddings by; nothing is downloaded.

    Parameters
    ----------
    settings : mapping
        That the embeddings were made with, of the provenance of an index or a store.

    Returns
    -------
    str or None
        None: they are neither shipped nor official weights that are on this machine, nor random.
    """
    weights = str(settings.get("weights", ""))
    if weights.startswith("random:"):
        return weights
    if preset := _official(settings):
        return preset if local_path(OFFICIAL[preset]) else None
    for name in shipped_names():
        path = shipped_path(name)
        if path.is_file() and f"sha256:{read_metadata(path).get('sha256')}" == weights:
            return name
    return None


def embed_file(index: SimilarityIndex, path: Path, part: Part) -> tuple[NDArray[np.float32], str]:
    """Embed a file, or a part of it, as the tracks of the index were; -> vector [1, width] and what is amiss.

    Raises
    ------
    AudioError
        The file cannot be used, or the part lies outside of it.
    """
    model = model_of(index, part.model, part.device)
    settings = _settings(index, path, part)
    pipeline = Pipeline(model, settings, keep_chunks=False, jobs=1, batch_size=BATCH_SIZE)
    for result in pipeline.run([AudioFile(track_id=path.name, path=path)], {}):
        if isinstance(result, TrackResult):
            if result.status != "ok" or result.mean is None or result.std is None:
                raise AudioError(result.reason)
            mean, std = result.mean, result.std
            vector = mean if index.about["pooling"] == "mean" else np.concatenate([mean, std], axis=-1)
            return vector.reshape(1, -1), result.reason
    raise AudioError(f"{path.name}: nothing could be embedded")


def excerpt_of(path: Path, start: float | None, end: float | None) -> tuple[float, float] | None:
    """Start and length in seconds of the part of a file; None for all of it.

    Raises
    ------
    InputError
        The end is not after the start, or one of them is no time.
    AudioError
        The part begins after the end of the file.
    """
    if start is None and end is None:
        return None
    begin = 0.0 if start is None else float(start)
    stop = math.inf if end is None else float(end)
    if not (math.isfinite(begin) and begin >= 0 and stop > begin):
        raise InputError(f"a part goes from 0 s or later to a later end: {begin:g} to {stop:g} s")
    duration = read_info(path).duration
    if begin >= duration:
        raise AudioError(f"{path.name} ends at {duration:.1f} s, before the part from {begin:g} s begins")
    if math.isinf(stop):
        stop = duration if math.isfinite(duration) else begin + 36_000.0
    return begin, stop - begin


def _settings(index: SimilarityIndex, path: Path, part: Part) -> Settings:
    stated = index.about["provenance"]["settings"]
    excerpt = stated.get("excerpt")
    made = Settings(
        features=stated["features"], excerpt=None if excerpt is None else tuple(excerpt), loudness=stated["loudness"]
    )
    own = excerpt_of(path, part.start, part.end)
    return made if own is None else replace(made, excerpt=own)


def _official(settings: Mapping[str, Any]) -> str | None:
    """Preset of the official weights that embeddings were made with; None of others."""
    preset = str(settings.get("weights", "")).partition(":")[0]
    return preset if preset in OFFICIAL else None
