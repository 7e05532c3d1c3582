"""The curves of a run as a figure: each part of the loss, in training and on held-out music, and the monitors."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from m2l2_mir.durable import write_durably

__all__ = ["HELD_OUT", "draw_curves", "loss_parts", "save_curves"]

HELD_OUT = "held_out_"
_PARTS = ("summary", "explicit", "consistency", "saturation")
_MONITORS = {
    "held_out_saturated": "held out: saturated share of the latents",
    "held_out_effective_rank": "held out: effective rank of the latents",
    "quick_pitch_accuracy": "quick monitor: pitch accuracy",
    "quick_tempo_r2": "quick monitor: tempo R2",
    "held_out_fad_logmel": "held out: FAD (log-mel)",
}
_SMOOTHED = 20  # logged rows
_COLUMNS, _PANEL = 3, (3.4, 2.3)  # panels beside each other; inches
_TRAINING, _HELD_OUT = "#2563a8", "#c2512f"


def loss_parts(metrics: pd.DataFrame) -> list[str]:
    """Columns that are losses, the total first; those by noise level are left out."""
    parts = [name for name in metrics.columns if name.startswith(_PARTS) and "sigma" not in name]
    return ["total", *parts]


def draw_curves(metrics: pd.DataFrame) -> Figure:
    """Draw a panel for each part of the loss and each monitor there is.

    Parameters
    ----------
    metrics
        Table of a run, see :mod:`~m2l2_mir.training.metrics`.

    Returns
    -------
    Figure
        Training as it was logged (pale) and its running mean, held-out music as dots.
    """
    names = [*loss_parts(metrics), *(name for name in _MONITORS if name in metrics)]
    rows = -(-len(names) // _COLUMNS)
    figure = Figure(figsize=(_COLUMNS * _PANEL[0], rows * _PANEL[1]), layout="constrained")
    axes: list[Axes] = figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True).flatten().tolist()
    for panel, name in zip(axes, names, strict=False):
        _panel(panel, metrics, name)
    for panel in axes[len(names) :]:
        panel.set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def save_curves(metrics: pd.DataFrame, path: Path) -> None:
    """Write :func:`draw_curves` as PNG."""
    figure = draw_curves(metrics)
    FigureCanvasAgg(figure)
    write_durably(path, lambda file: figure.savefig(file, format="png", dpi=100))


def _panel(axes: Axes, metrics: pd.DataFrame, name: str) -> None:
    step = metrics["step"]
    axes.set_title(_MONITORS.get(name, name.replace("_", " ")), fontsize=9)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("step", fontsize=7)
    for edge in ("top", "right"):
        axes.spines[edge].set_visible(False)
    if name.startswith(("quick", HELD_OUT)):  # measured of the averaged weights alone, now and then
        measured = metrics[name].notna()
        axes.plot(step[measured], metrics[name][measured], "o-", color=_HELD_OUT, markersize=3, linewidth=1)
        return
    axes.plot(step, metrics[name], color=_TRAINING, alpha=0.25, linewidth=0.7, label="training")
    smooth = metrics[name].rolling(_SMOOTHED, min_periods=1, center=True).mean()
    axes.plot(step, smooth, color=_TRAINING, linewidth=1.3, label=f"training, mean of {_SMOOTHED} rows")
    if (held_out := HELD_OUT + name) in metrics:
        measured = metrics[held_out].notna()
        axes.plot(
            step[measured],
            metrics[held_out][measured],
            "o-",
            color=_HELD_OUT,
            markersize=3,
            linewidth=1,
            label="held out, averaged weights",
        )
