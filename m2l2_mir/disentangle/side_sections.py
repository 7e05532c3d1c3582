"""Sections of the report beside slot scores: single dimensions, unseen combinations, slot identity, decoder swaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import soundfile

from m2l2_mir.disentangle.decision import plain
from m2l2_mir.disentangle.figures import AnalysisFigure
from m2l2_mir.disentangle.report_parts import card, notes_list, wide_table
from m2l2_mir.disentangle.side_tables import (
    ARMS_NOTE,
    BESIDE,
    SEEDS_NOTE,
    SWAPS_NOTES,
    arms_table,
    classics_table,
    generalisation_table,
    identity_table,
    seeds_table,
)
from m2l2_mir.report import page
from m2l2_mir.report.page import escape

__all__ = [
    "arms_section",
    "classics_section",
    "generalisation_section",
    "identity_section",
    "map_section",
    "seeds_section",
    "swap_section",
]

EXAMPLE_SECONDS = 6.0


def map_section(name: str, drawn: AnalysisFigure, number: int) -> str:
    """The map of single dimensions of one row."""
    return page.section(
        f"Single dimensions: {name}",
        f'<div class="figures">{card(drawn, f"map{number}-{drawn.name}")}</div>',
        intro="Where factors lie inside the slots. Slot scores do not ask: any basis of a slot holds the same.",
    )


def generalisation_section(found: Mapping[str, Any]) -> str:
    """Unseen combinations of factors."""
    notes = [
        "seen, unseen: information of all slots on clips not seen, where training lacked as many clips at random, and "
        "where it lacked all clips with these values of the factors beside; the same clips are tested",
        "difference, 95 % over groups: 0 where a factor is held apart from those beside it; below 0 it is read by "
        "what goes together with them; an unseen one below 0 is worse than not to listen; ?: too few clips",
    ]
    return page.section(
        "Combinations that were not heard",
        wide_table(generalisation_table(found), text_columns=3),
        notes_list(notes),
        intro="Is an attribute still recognised where it meets values of another one that the probe has never heard?",
    )


def seeds_section(found: Mapping[str, Any]) -> str:
    """Whether slots come again with another seed, arm by arm."""
    return page.section(
        "The same slots with other seeds", wide_table(seeds_table(found), text_columns=2), notes_list([SEEDS_NOTE])
    )


def arms_section(found: Mapping[str, Any]) -> str:
    """Factors of two arms over pairs of seeds."""
    return page.section("Factors, arm by arm", wide_table(arms_table(found), text_columns=1), notes_list([ARMS_NOTE]))


def identity_section(
    name: str,
    found: Mapping[str, Any],
    matching: Mapping[str, Any] | None,
    drawn: Sequence[AnalysisFigure],
    number: int,
) -> str:
    """Slot identity, stability, collapse and saturation of one row."""
    identity = found["identity"][name]
    health, stability = identity["health"], identity.get("stability")
    table = identity_table(found)
    table = table[table["row"] == name].drop(columns="row")
    said = [
        f"recognised: how often a single vector tells which slot it is; in {plain(identity['accuracy'])} of all cases, "
        f"chance is {plain(identity['chance'])}",
        f"{health['dead']} dead slots; effective rank of all slots {health['total_effective_rank']:.1f}",
    ]
    if stability:
        said.append(
            "next chunk, same clip, other music: correlation of a slot with itself in those; nearest to itself: how "
            "often the nearest slot of the next chunk is the same one"
        )
    if matching:
        said.append(
            f"Slots matched between the two models: {plain(matching['matched'])} predictable, "
            f"{plain(matching['chance'])} where slots are exchanged clip by clip (p {matching['p']:.2f}); the first's "
            "1, 2, ... go with " + ", ".join(str(slot + 1) for slot in matching["match"])
        )
    cards = "".join(card(one, f"identity{number}-{one.name}") for one in drawn)
    return page.section(
        f"Slot identity: {name}",
        wide_table(table, text_columns=1),
        notes_list(said),
        f'<div class="figures">{cards}</div>',
    )


def swap_section(swaps: Mapping[str, Any], drawn: Sequence[AnalysisFigure], number: int, folder: Path) -> str:
    lines = []
    for plan in swaps["plans"]:
        for place, one in enumerate(plan["calibration"]):
            shares = {title: plain(plan[part][place]) for part, title in BESIDE.items()}
            lines.append(
                {
                    "attribute": one["attribute"],
                    "clips": plan["block"],
                    "context": plan["context"],
                    "pairs": f"{plan['counted'][place]} of {len(plan['pairs'])}",
                    **shares,
                    "on renders": plain(one["renders"]),
                    "on reconstructions": plain(one["reconstructions"]),
                }
            )
    notes = [
        *SWAPS_NOTES,
        "pairs: those whose plain reconstructions differ in the attribute; context: the chunk decoded before, which is "
        "not measured",
    ]
    cards = "".join(card(one, f"swaps{number}-{one.name}") for one in drawn)
    heard = "".join(_player(folder / one["file"], f"Pair {one['pair']}: {one['title']}") for one in swaps["examples"])
    if heard:
        heard = f"<p>The slot and attribute that move most, of the pairs where they do:</p>{heard}"
    return page.section(
        "Decoder swaps",
        f'<p class="prose">{escape(swaps["sentence"])}.</p>',
        f'<div class="figures">{cards}</div>',
        wide_table(pd.DataFrame(lines), text_columns=3),
        notes_list(notes),
        heard,
        intro="One slot of a clip is replaced by another clip's and decoded: does what it is said to mean move along?",
    )


def _player(path: Path, title: str) -> str:
    try:
        samples, sample_rate = soundfile.read(str(path), dtype="float32")
    except soundfile.LibsndfileError:
        return f"<p>{escape(title)}: {escape(path.name)} could not be read.</p>"
    uri = page.audio_uri(samples, sample_rate, seconds=EXAMPLE_SECONDS)
    return f'<p>{escape(title)}</p><audio controls preload="metadata" src="{uri}" aria-label="{escape(title)}"></audio>'


def classics_section(found: Mapping[str, Any]) -> str:
    """Metrics of single dimensions."""
    intro = "Metrics of single dimensions: they depend on the basis inside a slot and on width; secondary."
    return page.section("Dimension by dimension", wide_table(classics_table(found), text_columns=3), intro=intro)
