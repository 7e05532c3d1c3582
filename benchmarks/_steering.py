"""Does steering by a fitted probe do what it says? Labels of the results before and after, for `retrieval.py`.

One half of the tunes fits the probe (the linear read-out of `m2l2 probe run`), the other half is the library that is
searched, and then the other way round: no tune is in both. Results of the question's own group are left out. What the
probe says of the results plays no part: the labels do, by which the clips were rendered.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _common import cores, interval, table, verdict
from numpy.typing import NDArray

from m2l2_mir.dataset.dataset import Dataset, load_dataset
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.index.attributes import Attribute, load_attributes
from m2l2_mir.index.query import Filters
from m2l2_mir.index.relations import key_compatible
from m2l2_mir.index.similarity import SimilarityIndex
from m2l2_mir.index.steering import steer
from m2l2_mir.model.catalogue import NOT_STATED
from m2l2_mir.probe.comparison import ALPHA, holm, paired_bootstrap
from m2l2_mir.probe.confidence import Confidence
from m2l2_mir.probe.facts import Facts
from m2l2_mir.probe.fitted import CARD, FittedProbe
from m2l2_mir.probe.inputs import Extraction, model_store
from m2l2_mir.probe.recipe import find_probe
from m2l2_mir.probe.selection import ReadoutWarning
from m2l2_mir.probe.space import Space, View
from m2l2_mir.probe.statistics import cluster_bootstrap
from m2l2_mir.probe.task import READOUTS
from m2l2_mir.probe.tempo import TOLERANCE

__all__ = ["steered", "steering_summary"]

Values = NDArray[Any]

K = 10
QUERIES = 150  # of each half and wish
READOUT = "linear"
PARTS = ("library", "before", "after")
COSINE = "cosine with the question, unsteered"

STRENGTHS = {"faster": (1.0, 4.0), "slower": (1.0, 4.0), "other": (1.0,)}  # what is only removed has no strength

# data set -> probe, and wish -> measures, from labels of results and of the question; the first is what was asked for
WISHES: dict[str, tuple[str, dict[str, dict[str, Callable[[Values, Any], Values]]]]] = {
    "tunes-tempo": (
        "tempo",
        {
            "faster": {
                f"share faster by more than {100 * TOLERANCE:g} %": lambda found, own: found > own * (1 + TOLERANCE),
                "octaves above the question": lambda found, own: np.log2(found / own),
            },
            "slower": {
                f"share slower by more than {100 * TOLERANCE:g} %": lambda found, own: found < own * (1 - TOLERANCE),
                "octaves above the question": lambda found, own: np.log2(found / own),
            },
        },
    ),
    "bach-key": (
        "key",
        {
            "other": {
                "share in another key": lambda found, own: found != own,
                "share in a key that does not go with it": lambda found, own: (
                    ~key_compatible([own, *found]).between(np.array([0]))[0, 1:]
                ),
            },
        },
    ),
}


def steered(model: str, device: str, work: Path, *, quick: bool) -> list[dict[str, Any]]:
    """A line for each wish and measure: its mean over results of the library, of plain and of steered search."""
    lines = []
    for name, (probe, wishes) in WISHES.items():
        dataset = load_dataset(name, size="quick" if quick else "default")
        dataset.render(jobs=cores())
        store = model_store(model, dataset, Extraction(device=device, cache=work / "embeddings"))
        libraries = [library(dataset, store, probe, *half, work) for half in halves(dataset, probe)]
        for wish, measures in wishes.items():
            for strength in STRENGTHS[wish]:
                found = pd.concat(
                    asked(*one, probe, wish, strength, measures, 5 if quick else QUERIES) for one in libraries
                )
                lines += [line(found, probe, wish, strength, measure) for measure in (*measures, COSINE)]
    for one, p in zip(lines, holm([one["p"] for one in lines]), strict=True):
        one["p_holm"] = float(p)
    return lines


def halves(dataset: Dataset, label: str) -> list[tuple[Sequence[str], Sequence[str]]]:
    """Track ids that fit the probe and that are searched, twice; no group is in both."""
    return [(one.train, one.test) for one in dataset.split(label, "grouped", folds=2).rotations()]


def fitted(dataset: Dataset, store: EmbeddingStore, probe: str, tracks: Sequence[str], work: Path) -> Path:
    """Folder of a probe fitted on these tracks, as `m2l2 probe run` fits the one that it keeps; without a score."""
    settings = store.provenance["settings"]
    run = hashlib.sha256("\n".join([settings["weights_sha256"], probe, *tracks]).encode()).hexdigest()
    place = work / "probes" / run[:12]
    if (place / CARD).is_file():
        return place
    name, recipe = find_probe(probe)
    task, own = recipe.task(READOUT), dataset.tracks.set_index("track_id").loc[list(tracks)]
    vectors = store.embeddings("flatten")[pd.Index(store.ok["track_id"]).get_indexer(own.index)]
    targets = task.targets(task.labels(own[recipe.label].to_numpy()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReadoutWarning)  # few tracks in a quick run
        readout = READOUTS[READOUT](random_state=0).fit(vectors, targets, pd.factorize(own["group"])[0])
    facts = Facts(
        probe=name,
        title=recipe.title,
        label=recipe.label,
        metrics=recipe.metrics,
        bins_per_octave=recipe.bins_per_octave,
        reach_bins=recipe.reach_bins,
        readout=READOUT,
        classes=tuple(readout.classes_.tolist()),
        row=READOUT,
        dataset={"name": dataset.name},
        weights_licence=NOT_STATED,
        weights_citation=NOT_STATED,
        training_tracks=dict.fromkeys(tracks, ""),
        score={},
        selected=readout.penalty_,
        notes=(),
        run=run,
        versions={},
    )
    return FittedProbe(
        facts=facts,
        space=Space.of(store, View()),
        confidence=Confidence(slope=0, offset=0, brier=0, brier_constant=0),
        mean=readout.scaler_.mean_,
        scale=readout.scaler_.scale_,
        layers=[(readout.coef_.T, readout.intercept_)],
    ).save(place)


def library(
    dataset: Dataset, store: EmbeddingStore, probe: str, fit: Sequence[str], searched: Sequence[str], work: Path
) -> tuple[SimilarityIndex, list[Attribute]]:
    """An index of the tracks that are searched, with the probe fitted on the others."""
    index = SimilarityIndex.build(store, metadata=dataset.tracks[["track_id", "group", probe]])
    index.remove(sorted(set(index.ids) - set(searched)))
    index = index.rebuild()
    return index, load_attributes(index, [fitted(dataset, store, probe, fit, work)])


def asked(
    index: SimilarityIndex,
    attributes: Sequence[Attribute],
    probe: str,
    wish: str,
    strength: float,
    measures: Mapping[str, Callable[[Values, Any], Values]],
    queries: int,
) -> pd.DataFrame:
    """A row for each question: `group`, and (measure, part) -> the mean over its results."""
    prepared, about = index.vectors(), index.metadata
    labels, groups = about[probe].to_numpy(), about["group"].to_numpy()
    rows = pd.Index(about["track_id"])
    told = []
    for own in np.random.default_rng(0).permutation(len(index))[:queries]:
        name, others = rows[own], Filters(other=["group"])
        after = steer(index, name, attributes, K, but={probe: wish}, strength=strength, filters=others).results
        results = {
            "library": np.flatnonzero(groups != groups[own]),
            "before": rows.get_indexer(index.query(name, K, other=["group"])["track_id"]),
            "after": rows.get_indexer(after["track_id"]),
        }
        line: dict[Any, Any] = {"group": groups[own]}
        if not len(after):  # nothing is predicted as further: the question counts nowhere, and is told of
            told.append(line)
            continue
        for part, found in results.items():
            line |= {(title, part): of(labels[found], labels[own]).mean() for title, of in measures.items()}
            line[COSINE, part] = (prepared[found] @ prepared[own]).mean()
        told.append(line)
    return pd.DataFrame(told)


def line(found: pd.DataFrame, probe: str, wish: str, strength: float, measure: str) -> dict[str, Any]:
    """Means over questions with intervals over groups; those of what a probe took part in count its fit as a sample."""
    groups = found["group"].to_numpy()
    values = {part: found[measure, part].to_numpy(np.float64) for part in PARTS}
    told: dict[str, Any] = {"wish": f"{probe}={wish}", "strength": strength, "measure": measure}
    for part in PARTS:
        fits = 1.0 if part == "after" else None
        told[part] = asdict(cluster_bootstrap(values[part], groups, tested_per_trained=fits))
    compared = paired_bootstrap(values["after"], values["before"], groups, tested_per_trained=1.0)
    return told | {"change": asdict(compared.difference), "p": compared.p}


def follows(one: dict[str, Any]) -> bool:
    """Whether steered results have more of it than those of a plain search."""
    return bool(one["change"]["estimate"] > 0 and one["p_holm"] < ALPHA)


def steering_summary(lines: list[dict[str, Any]]) -> str:
    """Which wishes were followed, then all lines."""
    asked_for = {next(iter(measures)) for _, wishes in WISHES.values() for measures in wishes.values()}
    told = [
        f"* {one['wish']}, strength {one['strength']:g}: {one['measure']} {one['after']['estimate']:.2f} of "
        f"{K} results, {one['before']['estimate']:.2f} without steering, {one['library']['estimate']:.2f} of the "
        f"library: {verdict(follows(one))}"
        for one in lines
        if one["measure"] in asked_for
    ]
    rows = [
        [
            one["wish"],
            f"{one['strength']:g}",
            one["measure"],
            f"{one['after']['scored']} of {one['after']['expected']}",
            *(interval(one[part]) for part in (*PARTS, "change")),
            f"{one['p_holm']:.2g}",
        ]
        for one in lines
    ]
    header = [
        "wish",
        "strength",
        "measured",
        "questions",
        "library",
        "neighbours",
        "steered",
        "steered less neighbours",
        "p (Holm)",
    ]
    return "\n".join(told) + "\n\n" + table(header, rows)
