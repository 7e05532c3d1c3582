"""Section of a page on data sets: what each holds, how much of it is embedded, and how two of its clips sound."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import soundfile

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.report import page
from m2l2_mir.report.page import escape

EXAMPLE_SECONDS = 8.0
EXAMPLES = 2


def sets_section(sets: Mapping[str, Dataset], embedded: Mapping[str, int]) -> str:
    """Describe data sets.

    Parameters
    ----------
    sets : mapping of str to Dataset
        By the command that made the embeddings, which is printed.
    embedded : mapping of str to int
        Tracks with embeddings, by name of the set.
    """
    rows: list[dict[str, str]] = []
    cards = []
    shared = set.intersection(*(set(dataset.notes) for dataset in sets.values())) if len(sets) > 1 else set()
    for command, dataset in sets.items():
        rows += [_row(dataset, label, embedded[dataset.name]) for label in dataset.labels or [""]]
        notes = "".join(f"<p>{escape(note)}</p>" for note in dataset.notes if note not in shared)
        cards.append(
            f'<article class="card"><h3>{escape(dataset.name)}</h3><p>{escape(dataset.recipe.title)}</p>{notes}'
            f"{''.join(_example(dataset, row) for row in _examples(dataset.tracks))}"
            f"<p><code>{escape(command)}</code></p></article>"
        )
    intro = (
        "Played from human-made scores and from a table of notes, so that every label is known, on any machine, "
        "without a download. The probes and the analysis of the slots are run on these and on the published sets; "
        "'m2l2 datasets list' shows both. Here they are at size 'quick', for a look and a listen."
    )
    common = "".join(f'<p class="prose">All of them: {escape(note)}.</p>' for note in sorted(shared))
    return page.section(
        "Data sets that come along",
        page.table(pd.DataFrame(rows), numeric=["embedded", "labelled", "values", "groups"]),
        common,
        f'<div class="grid">{"".join(cards)}</div>',
        intro=intro,
    )


def _row(dataset: Dataset, label: str, embedded: int) -> dict[str, str]:
    values = dataset.tracks[label].dropna() if label else pd.Series(dtype=object)
    groups = dataset.tracks["group"].nunique() if "group" in dataset.tracks else 0
    return {
        "set": dataset.name,
        "embedded": f"{embedded} of {len(dataset.tracks)} clips",
        "label": label,
        "labelled": str(len(values)),
        "values": str(values.nunique()),
        "groups": str(groups),
        "splits": ", ".join(dataset.recipe.splits),
    }


def _examples(tracks: pd.DataFrame) -> list[int]:
    """Rows to listen to: two sides of a counterfactual pair where there are any, else the first and the middle."""
    if "pair" in tracks and tracks["pair"].notna().any():
        first = tracks["pair"].dropna().iloc[0]
        return tracks[tracks["pair"] == first].sort_values("side", ascending=False).index.tolist()[:EXAMPLES]
    return [0, len(tracks) // 2][: len(tracks)]


def _example(dataset: Dataset, row: int) -> str:
    track = dataset.tracks.loc[row]
    title = str(track.get("title") or track["track_id"])
    facts = [title, *(f"{label} {_value(track[label])}" for label in dataset.labels if pd.notna(track[label]))]
    caption = escape(", ".join(facts))
    try:
        waveform, sample_rate = soundfile.read(str(track["path"]), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        return f"<p>{caption}: the sound file could not be read.</p>"
    uri = page.audio_uri(waveform.mean(axis=1), sample_rate, seconds=EXAMPLE_SECONDS)
    return f'<p>{caption}</p><audio controls preload="metadata" src="{uri}" aria-label="{caption}"></audio>'


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
