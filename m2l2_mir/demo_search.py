"""The demo's look at the similarity index: do neighbours mean anything, and one steered search to listen to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.index.attributes import load_attributes
from m2l2_mir.index.evaluate import evaluate_index
from m2l2_mir.index.evaluation_results import write_evaluation
from m2l2_mir.index.evaluation_tables import section_table
from m2l2_mir.index.evaluation_words import section_title, sentences
from m2l2_mir.index.similarity import SimilarityIndex
from m2l2_mir.index.steering import Steered, steer
from m2l2_mir.progress import CountProgress
from m2l2_mir.report import page
from m2l2_mir.report.index_report import index_page
from m2l2_mir.report.page import escape
from m2l2_mir.report.track_map import sound_clips

__all__ = ["SEARCHES", "Search", "search_section"]

SHOWN = 5  # neighbours
AUDIO_BYTES = 4e6  # of the report on neighbours; the demo's page takes its clips from there


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched.

    Parameters
    ----------
    dataset
        Name of a rendered set.
    label
        Column and relation that make a neighbour right, as ``m2l2 index evaluate --label`` takes them.
    probe, wish
        The steered search: like a track, but with this of what the probe reads.
    asks
        The same in words.
    """

    dataset: str
    label: str
    probe: str
    wish: str
    asks: str


SEARCHES = {
    "quick": Search(
        dataset="notes-pitch", label="instrument", probe="pitch", wish="any", asks="like this, whatever its pitch"
    ),
    "default": Search(dataset="bach-key", label="key:key", probe="key", wish="other", asks="like this, in another key"),
}


def search_section(out: Path, search: Search, data: Dataset, store: EmbeddingStore, probes: Path) -> str:
    """Build the index of a store, evaluate it, search with and without steering; -> a section of the demo's page.

    Parameters
    ----------
    out
        Folder for the index and the report on it.
    search
        What is searched.
    data, store
        A data set and its embeddings.
    probes
        Results of probes on embeddings of the same model.
    """
    columns = [name for name in data.tracks.columns if name not in ("path", "duration")]
    index = SimilarityIndex.build(store, metadata=data.tracks[columns])
    index.save(out / "index", overwrite=True)
    index = SimilarityIndex.load(out / "index")
    command = f"m2l2 index evaluate {out / 'index'} --label {search.label} --group none --out {out / 'neighbours'}"
    evaluation = evaluate_index(
        index, name=data.name, labels=[search.label], group=None, count=lambda title: CountProgress(title, quiet=True)
    )
    paths = evaluation.tracks["path"].astype(str).tolist()
    clips = sound_clips(paths, evaluation.neighbours.positions, budget=AUDIO_BYTES, seed=0)
    report = index_page(evaluation, clips=clips, command=command)
    write_evaluation(out / "neighbours", evaluation, report=report, command=command)
    asked = int(np.argmax([place in clips for place in range(len(paths))]))
    plain = index.query(Path(paths[asked]), k=SHOWN)
    steered = steer(index, index.ids[asked], load_attributes(index, [probes]), k=SHOWN, but={search.probe: search.wish})
    scores = evaluation.scores
    title = section_title(scores["sections"][0], None)
    sound = {name: clips[place] for place, name in enumerate(index.ids) if place in clips}
    shown = search.label.split(":")[0]
    return page.section(
        "Search",
        f'<p class="prose">{escape(sentences(scores)[0])}.</p>',
        f"<h3>{escape(title[0].upper() + title[1:])}</h3>",
        f'<div class="wide">{page.table(section_table(scores, scores["sections"][0]))}</div>',
        f"<h3>One search, and the same steered: {escape(search.asks)}</h3>",
        f'<div class="pair figures">{_heard("Neighbours", plain, shown, sound)}'
        f"{_heard('Steered', steered.results, shown, sound)}</div>",
        _effects(steered),
        '<p class="intro figures">A map of all tracks to click and listen on: <code>neighbours/report.html</code></p>',
        intro=f"{len(index)} clips of the set {data.name}, each asked for its neighbours. {index.ids[asked]} is the "
        f"track that the two searches below begin with ({shown} {_label(index, asked, shown)}).",
    )


def _label(index: SimilarityIndex, row: int, column: str) -> str:
    return str(index.metadata[column].iloc[row])


def _heard(heading: str, results: pd.DataFrame, label: str, sound: Mapping[str, str]) -> str:
    lines = []
    for one in results.to_dict("records"):
        name = str(one["track_id"])
        player = (
            f'<audio controls preload="none" src="{sound[name]}" aria-label="{escape(name)}"></audio>'
            if name in sound
            else ""
        )
        told = f"{one['rank']}. {name}: {label} {one[label]}, cosine {one['similarity']:.2f}"
        lines.append(f"<p>{escape(told)}, above {one['percentile']:.0f} % of random pairs</p>{player}")
    return f'<article class="card"><h4>{escape(heading)}</h4>{"".join(lines)}</article>'


def _effects(steered: Steered) -> str:
    table = steered.effects.rename(columns={"question": "of the track", "before": "neighbours", "after": "steered"})
    told = table.map(lambda value: f"{value:.2f}" if isinstance(value, float) else value)
    kept = (
        f"{steered.kept} of {len(steered.results)} results are the same. What probes and labels say of them; the probe "
        "that steered only shows how far it went:"
    )
    return f'<p class="prose">{escape(kept)}</p><div class="wide">{page.table(told)}</div>'
