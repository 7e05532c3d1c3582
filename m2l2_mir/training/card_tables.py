"""The sections of a model card that hold a run's figures, as Markdown: data, training, losses, monitors.

Stages are those of :mod:`~m2l2_mir.training.stages`, metrics the table of :mod:`~m2l2_mir.training.metrics` up to the
step whose weights the card is about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from m2l2_mir.model.config import ModelConfig
from m2l2_mir.training.curves import HELD_OUT, loss_parts
from m2l2_mir.training.stages import device_hours, heard_shares

__all__ = ["data_section", "losses_section", "monitors_section", "training_section"]

_LAST_ROWS = 20  # of the table of metrics, for the training loss
_HEALTH = {
    "latent_std": "standard deviation before the bound",
    "bounded_std": "standard deviation",
    "saturated": "saturated share",
    "dead_slots": "dead slots",
    "effective_rank": "effective rank",
}
_QUICK = {"quick_pitch_accuracy": "pitch accuracy (chance 0.02)", "quick_tempo_r2": "tempo R2 (mean tempo 0)"}


def data_section(stages: Sequence[Mapping[str, Any]]) -> str:
    """Tell what each stage heard; a stage that heard the same as the one before is told in a line."""
    parts = ["## What it heard"]
    before: Any = None
    for number, stage in enumerate(stages, start=1):
        data = stage.get("data", {})
        heard = (data.get("collections"), data.get("mix"))
        title = f"Stage {number}: " if len(stages) > 1 else ""
        if number > 1 and heard == before:
            parts.append(f"{title}the same.")
        elif not heard[0]:
            parts.append(f"{title}what it heard is not told ({data.get('name', stage.get('note') or 'no record')}).")
        else:
            parts.append(title + _table(heard[0], data.get("mix", {})))
        before = heard
    parts.append("Nothing else was heard: no other recording or soundfont, and no label, score or MIDI value.")
    held = sorted({pattern for stage in stages for pattern in stage.get("recipe", {}).get("hold_out", [])})
    if held:
        parts.append(f"Held out by the recipe, to watch the loss on: {', '.join(held)}.")
    return "\n\n".join(parts)


def _table(collections: Mapping[str, Mapping[str, Any]], mix: Mapping[str, float]) -> str:
    shares = heard_shares(collections, mix)
    rows = [
        f"| {name} | {facts['hours']:.2f} | {facts['pieces']} | {shares.get(name, 0):.1%} "
        f"| {'; '.join(facts['licences'])} | {facts.get('source', '')} |"
        for name, facts in collections.items()
    ]
    hours = sum(facts["hours"] for facts in collections.values())
    head = "| collection | hours | pieces | share heard, about | licence | source |\n|---|---|---|---|---|---|"
    return f"{hours:.1f} h in {len(collections)} collections.\n\n" + "\n".join([head, *rows])


def training_section(stages: Sequence[Mapping[str, Any]], model: ModelConfig, step: int, best: bool, torch: str) -> str:
    """Tell the stages with steps and hours, and the last one's recipe."""
    rows = []
    for number, stage in enumerate(stages, start=1):
        if "recipe" not in stage:
            rows.append(f"| {number} | {stage.get('note') or 'not told'} | | | | | |")
            continue
        recipe = stage["recipe"]
        done = stage["stretches"][-1]["to_step"]
        heard = done * recipe["batch_size"] * model.context_chunks * model.chunk_seconds / 3600
        hours = ", ".join(f"{value:.2f} h of {kind}" for kind, value in device_hours(stage["stretches"]).items())
        rows.append(
            f"| {number} | {recipe['name']} | {done} of {recipe['steps']}{_planned(stage['stretches'])} "
            f"| {recipe['batch_size']} | {heard:.1f} h "
            f"| {hours} | {stage.get('weights', '')} |"
        )
    chosen = "the averaged weights where the held-out loss was lowest" if best else "the averaged weights"
    recipe = json.dumps({**stages[-1]["recipe"], "model": Path(stages[-1]["recipe"]["model"]).name}, indent=2)
    return "\n".join(
        [
            f"## Training\n\nThese are {chosen}, of step {step}. PyTorch {torch}. The time is that on the clock, "
            "for every process and, where they were noted, every thread; evaluations are in it.\n",
            "| stage | recipe | steps | windows a step | windows in all | time | weights |\n"
            "|---|---|---|---|---|---|---|",
            *rows,
            f"\n<details><summary>Recipe of the last stage</summary>\n\n```json\n{recipe}\n```\n\n</details>",
        ]
    )


def _planned(stretches: Sequence[Mapping[str, Any]]) -> str:
    """Say what length a run was meant to have before that was changed, and until which step."""
    return "".join(
        f", planned as {before['of']} until step {after['from_step']}"
        for before, after in pairwise(stretches)
        if before["of"] != after["of"]
    )


def losses_section(metrics: pd.DataFrame, figure: str) -> str:
    """Tell how far each part of the loss came; `figure` is the file of the curves, or ""."""
    if metrics.empty:
        return ""
    last, measured = metrics.tail(_LAST_ROWS), _evaluated(metrics, HELD_OUT)
    rows = []
    for name in loss_parts(metrics):
        held = f"{measured[HELD_OUT + name]:.4f}" if measured is not None and HELD_OUT + name in measured else ""
        rows.append(f"| {name.replace('_', ' ')} | {last[name].mean():.4f} | {held} |")
    where = "" if measured is None else f", measured at step {measured['step']:.0f}"
    head = f"| | training, mean of the last {len(last)} rows | held out{where} |\n|---|---|---|"
    text = "\n".join(["## Losses\n", "Lower is better; m2l2_mir.training.objective says what each is.\n", head, *rows])
    return text + (f"\n\n![Losses and monitors by step]({figure})" if figure else "")


def monitors_section(metrics: pd.DataFrame) -> str:
    """Tell the latents' health and the quick monitors."""
    if metrics.empty:
        return ""
    measured = _evaluated(metrics, HELD_OUT)
    row, of = (metrics.iloc[-1], "the last training batch") if measured is None else (measured, "held-out music")
    prefix = "" if measured is None else HELD_OUT
    health = [f"| {label} | {row[prefix + name]:.4g} |" for name, label in _HEALTH.items() if prefix + name in row]
    lines = ["## Latents and quick monitors\n", f"| latents of {of} | |\n|---|---|", *health]
    quick = _evaluated(metrics, "quick_")
    if quick is not None:
        found = [f"{label} {quick[name]:.3f}" for name, label in _QUICK.items() if name in quick]
        lines.append(
            f"\nQuick monitors at step {quick['step']:.0f}: {', '.join(found)}. Made-up notes and beats with the "
            "training soundfont: they show the course of a run and are no results."
        )
    return "\n".join(lines)


def _evaluated(metrics: pd.DataFrame, prefix: str) -> pd.Series | None:
    """The last row that holds something measured of the averaged weights; without its empty columns."""
    columns = [name for name in metrics.columns if name.startswith(prefix)]
    rows = metrics.dropna(subset=columns, how="all") if columns else metrics.iloc[:0]
    return None if rows.empty else rows.iloc[-1].dropna()
