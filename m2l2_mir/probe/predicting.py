"""A fitted probe on music: files or a store in, one line for each track out.

audio --extract, with the probe's own model and settings--> store --FittedProbe--> estimates

Conventions
-----------
* Of a run that has kept several fits of a probe, the headline's is taken: the first model by the first read-out.
* Embeddings of another model, features or loudness are refused. A store of other excerpts is taken, and that is said.
* A track that the probe was fitted on, by the hash of its audio, is marked: its estimate is no test of the probe.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from m2l2_mir.embedding.extract import Observer, extract
from m2l2_mir.embedding.provenance import PROVENANCE_NAME
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import CheckpointError, InputError
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model, read_metadata, tensors_sha256
from m2l2_mir.model.shipped import shipped_names, shipped_path
from m2l2_mir.probe.final_fit import FITTED
from m2l2_mir.probe.fitted import CARD, FittedProbe
from m2l2_mir.probe.glossary import explain
from m2l2_mir.probe.results import SCORES, scores_in
from m2l2_mir.probe.space import Space

__all__ = ["beside", "embed_for", "find_fitted", "is_store", "model_for", "predict_store", "remarks", "shown"]

UNITS = {"tempo": "bpm", "pitch": "MIDI number"}
_NOTES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


def find_fitted(place: str | os.PathLike[str]) -> dict[str, FittedProbe]:
    """Load the fitted probe in a folder, or that of every probe which 'm2l2 probe run' has kept there.

    Returns
    -------
    dict of FittedProbe
        By name: that of the probe, or that of the folder where two probes have one name.

    Raises
    ------
    CheckpointError
        There is none, they read embeddings of several models or settings, or one cannot be read.
    """
    folder = Path(place)
    runs = sorted({card.parent.parent for part in ("", "*/") for card in folder.glob(f"{part}{FITTED}/*/{CARD}")})
    if (folder / CARD).is_file() or not runs:
        probe = FittedProbe.load(folder)
        return {probe.facts.probe: probe}
    places, found = zip(*map(_headline, runs), strict=True)
    if len({_heard(probe.space) for probe in found}) > 1:
        raise CheckpointError(
            f"{folder} holds fitted probes of several models or settings; name one of them: "
            f"{', '.join(map(str, places))}"
        )
    names = [probe.facts.probe for probe in found]
    if len({*names}) < len(names):
        names = [where.relative_to(folder).as_posix() for where in places]
    return dict(zip(names, found, strict=True))


def _headline(kept: Path) -> tuple[Path, FittedProbe]:
    """Of the fits of a run, that of its first row by its first read-out; and where it is."""
    found = [(card.parent, FittedProbe.load(card.parent)) for card in sorted(kept.glob(f"*/{CARD}"))]
    if len(found) == 1:
        return found[0]
    try:
        scores = scores_in(kept.parent)
    except InputError as error:
        raise CheckpointError(
            f"{kept} holds {len(found)} fitted probes, and no {SCORES} beside it tells which comes first; name one of "
            f"them: {', '.join(str(place) for place, _ in found)}"
        ) from error
    order = [(section["readout"], row["name"]) for section in scores["sections"] for row in scores["rows"]]

    def rank(one: tuple[Path, FittedProbe]) -> int:
        fit = one[1].facts.readout, one[1].facts.row
        return order.index(fit) if fit in order else len(order)  # of an older run that was cut off

    return min(found, key=rank)


def _heard(space: Space) -> tuple[Any, ...]:
    """What has to be the same for one embedding to serve two probes."""
    return space.weights_sha256, space.features, space.loudness, space.excerpt


def is_store(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is an embedding store."""
    return (Path(path) / PROVENANCE_NAME).is_file()


def model_for(probe: FittedProbe, model: str | None = None, *, device: str = "auto") -> Music2Latent2:
    """Load the model whose embeddings a probe reads.

    Parameters
    ----------
    probe
        Names its model and knows the hash of its encoder.
    model
        In place of the name, such as a file that was moved.
    device
        As in :func:`m2l2_mir.load_model`.

    Raises
    ------
    CheckpointError
        There is no such model here.
    InputError
        Its encoder is another one; both are named.
    """
    space = probe.space
    reference = model or _reference(space)
    try:
        network = load_model(reference, device=device)
    except CheckpointError as error:
        hint = "" if model else f"; the probe reads embeddings of {space.name}: name its file with --model"
        raise CheckpointError(f"{error}{hint}") from error
    found = tensors_sha256(network.encoder.state_dict())
    if found != space.weights_sha256:
        raise InputError(
            f"{reference} ({network.weights_id[:19]}) is another model than the probe's, {space.name}; name that one "
            "with --model, or fit the probe on this one"
        )
    return network


def embed_for(
    probe: FittedProbe,
    paths: Sequence[str | os.PathLike[str]],
    *,
    out: Path,
    model: str | None = None,
    device: str = "auto",
    jobs: int | None = None,
    observer: Observer | None = None,
) -> EmbeddingStore:
    """Embed audio as a probe wants it: its model, features, loudness and excerpt.

    Parameters
    ----------
    probe
        See :func:`model_for`.
    paths
        Files, and folders to search.
    out
        Folder of the store.
    model, device
        As in :func:`model_for`.
    jobs, observer
        As in :func:`m2l2_mir.embedding.extract.extract`.

    Raises
    ------
    CheckpointError, InputError, StoreError
        As :func:`model_for` and :func:`m2l2_mir.embedding.extract.extract`.
    """
    space = probe.space
    return extract(
        paths,
        out=out,
        model=model_for(probe, model, device=device),
        features=space.features,  # type: ignore[arg-type]  # checked there
        excerpt=space.excerpt,
        loudness=space.loudness,
        jobs=jobs,
        observer=observer,
    )


def predict_store(probe: FittedProbe, store: EmbeddingStore) -> pd.DataFrame:
    """Estimates for all tracks of a store.

    Returns
    -------
    pandas.DataFrame
        One row a track, sorted by id: ``track_id``, ``path``, ``status`` ("ok" or "failed"), ``estimate`` (key, genre,
        bpm or MIDI number; None where it failed), ``confidence`` (the chance that it is right,
        :meth:`FittedProbe.sure`), ``fitted_on`` (whether the probe was fitted on this audio) and ``reason``.

    Raises
    ------
    InputError
        The embeddings are of another model, or made in another way.
    """
    probe.space.require(store)
    tracks = store.tracks
    ok = (tracks["status"] == "ok").to_numpy()
    estimates = np.full(len(tracks), None, dtype=object)
    confidence = np.full(len(tracks), np.nan)
    if ok.any():
        embeddings = store.embeddings(probe.space.pooling)
        estimates[ok] = probe.predict(embeddings).tolist()
        confidence[ok] = probe.sure(embeddings)
    known = set(probe.facts.training_tracks.values()) - {""}
    return pd.DataFrame(
        {
            "track_id": tracks["track_id"],
            "path": tracks["path"],
            "status": tracks["status"],
            "estimate": estimates,
            "confidence": confidence,
            "fitted_on": tracks["audio_sha256"].isin(known),
            "reason": tracks["reason"],
        }
    )


def beside(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Estimates of several probes for the same tracks in one table.

    Columns: ``track_id``, ``path``, ``status``, ``reason``, and for each probe ``NAME``, ``NAME_confidence`` and
    ``NAME_fitted_on``.
    """
    first = next(iter(tables.values()))
    columns = {name: first[name] for name in ("track_id", "path", "status")}
    for name, table in tables.items():
        columns |= {name: table["estimate"]}
        columns |= {f"{name}_{what}": table[what] for what in ("confidence", "fitted_on")}
    return pd.DataFrame({**columns, "reason": first["reason"]})


def shown(probe: FittedProbe, estimate: Any) -> str:
    """An estimate for a person: ``"A minor"``, ``"120.3 bpm"``, ``"C4 (60)"``."""
    if estimate is None:
        return ""
    if probe.facts.metrics == "tempo":
        return f"{estimate:.1f} bpm"
    if probe.facts.metrics == "pitch":
        return f"{_NOTES[round(estimate) % 12]}{round(estimate) // 12 - 1} ({estimate:g})"
    return str(estimate)


def remarks(probe: FittedProbe, store: EmbeddingStore, table: pd.DataFrame) -> list[str]:
    """What has to be said with estimates: how good the probe is, what the confidence means, and what is amiss."""
    facts, score = probe.facts, probe.facts.score
    value = "not known" if score["estimate"] is None else f"{score['estimate']:.2f}"
    interval = "" if score["low"] is None else f" [{score['low']:.2f}, {score['high']:.2f}]"
    meaning = explain(facts.metrics, [score["metric"]]).get(score["metric"], score["metric"])
    told = [
        f"cross-validated on {facts.dataset['name']} ({score['scored']} of {score['expected']} tracks): "
        f"{facts.probe} {score['metric']} {value}{interval}",
        f"confidence: the chance that {meaning}, for music like {facts.dataset['name']}"
        + ("" if probe.confidence.slope else "; the same for all tracks, since the read-out cannot tell"),
    ]
    if seen := int(table["fitted_on"].sum()):
        told.append(f"the probe was fitted on {seen} of {len(table)} tracks: their estimates are no test of it")
    theirs = store.provenance["settings"].get("excerpt")
    if (None if theirs is None else tuple(theirs)) != probe.space.excerpt:
        told.append(f"the embeddings are of excerpt {theirs}, the probe was fitted on {probe.space.excerpt}")
    return [*told, *facts.notes]


def _reference(space: Space) -> str:
    """The model's name or file; of a store that was given, the shipped or untrained model that has its weights."""
    if space.model:
        return space.model
    for name in shipped_names():
        if space.weights == f"sha256:{read_metadata(shipped_path(name)).get('sha256')}":
            return name
    if space.weights.startswith("random:"):
        return space.weights
    raise CheckpointError(
        f"the probe was fitted on a store, and only the hash of its model is known, {space.name}; name the model with "
        "--model, or embed the audio first and give the store"
    )
