"""Figures of an analysis: slot x factor matrices with what chance gives of them, decoder swaps, matched slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from m2l2_mir.report.drawing import INK, MAGNITUDE, RULE, canvas, image, shaded
from m2l2_mir.report.score_figures import score_map

__all__ = ["AnalysisFigure", "identity_figures", "map_figure", "row_figures", "swap_figures"]

_COLUMN = 54.0  # pixels
_LEAST_WIDTH = 520.0  # of a figure, which the page scales to its own width
_STRIP_WIDTH = 900.0
_MOST_NUMBERS = 32  # slots, whose numbers are printed
_MOST_TICKS = 16


Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class AnalysisFigure:
    """``name`` is fit for a file, ``caption`` is plain text."""

    name: str
    figure: Figure
    caption: str


def row_figures(found: Mapping[str, Any], row: str) -> list[AnalysisFigure]:
    """The matrices of one row: information, changes and unique information of each slot and factor.

    Below the first two stands what chance gives, below the last the redundancy.

    Parameters
    ----------
    found
        Results.
    row
        Its name.
    """
    cells = pd.DataFrame([line for line in found["cells"] if line["row"] == row])
    order = [factor["name"] for factor in found["factors"]]
    figures = []
    for name, column, null, full, caption in (
        (
            "information",
            "information",
            ("information_rotated", "information_permuted"),
            1.0,
            "Slot scores (P1): share of a factor's information that a probe reads from one slot, on clips not seen",
        ),
        (
            "change",
            "change",
            ("change_rotated",),
            2.0,
            "Counterfactual scores (P2): squared change of a slot when only this factor changes, in units of its "
            "variance; 2 is the distance of any two clips",
        ),
        (
            "unique",
            "unique",
            (),
            1.0,
            "Unique information: what all slots tell of a factor and no longer tell without this one (below 0: by "
            "chance). Redundancy: what slots tell one by one, added up, less what they tell together",
        ),
    ):
        if column not in cells or cells[column].isna().all():
            continue
        matrix = cells.pivot(index="slot", columns="factor", values=column)
        matrix = matrix[[factor for factor in order if factor in matrix]].dropna(axis=1, how="all")
        if len(matrix) > _MOST_NUMBERS:
            chance = cells.get(f"{column}_rotated", pd.Series(np.nan, index=cells.index))
            rotated = chance.groupby(cells["factor"]).mean().reindex(matrix.columns).to_numpy()
            own = np.asarray(matrix.to_numpy(), dtype=np.float64).T
            chance_of = np.asarray(rotated, dtype=np.float64)[:, None]
            figure = _strip(own, chance_of, list(matrix.columns), width=1, most=full)
            figures.append(AnalysisFigure(name=name, figure=figure, caption=f"{caption}. Full colour: {full:g}"))
            continue
        matrix.index = [f"slot {slot}" for slot in matrix.index]
        beside = {"information_rotated": "rotated", "information_permuted": "permuted", "change_rotated": "rotated"}
        for extra in null:
            if extra in cells:
                matrix.loc[beside[extra]] = cells.groupby("factor")[extra].mean().reindex(matrix.columns)
        if name == "unique":
            shared = {line["factor"]: line["redundancy"] for line in found["told"] if line["row"] == row}
            matrix.loc["redundancy"] = pd.Series(shared, dtype=float).reindex(matrix.columns)
        width = max(_LEAST_WIDTH, 70 + _COLUMN * matrix.shape[1])
        figures.append(AnalysisFigure(name=name, figure=score_map(matrix, matrix / full, width=width), caption=caption))
    return figures


def map_figure(one: Mapping[str, Any]) -> AnalysisFigure:
    """What each dimension tells of each factor, slot after slot, above the same code in a random basis."""
    own, turned = (np.asarray(one[name], dtype=np.float64) for name in ("information", "rotated"))
    most = max(float(own.max()), 1e-3)
    return AnalysisFigure(
        name="dimensions",
        figure=_strip(own, turned, one["factors"], width=one["width"], most=most),
        caption="What each single dimension tells of each factor, as a share of its entropy, slot after slot; below, "
        f"the same code in a random basis. Full colour: {most:.2f}",
    )


def _strip(own: Floats, rotated: Floats, factors: Sequence[str], *, width: int, most: float) -> Figure:
    """Colours alone, where there are too many columns for numbers: own [F, D] above rotated [F, D or 1]."""
    gap = np.full((1, own.shape[1]), np.nan)
    rows = np.concatenate([own, gap, np.broadcast_to(rotated, own.shape)]) / most
    slots = own.shape[1] // width
    names = [*factors, "", *(f"rotated: {name}" for name in factors)]
    left = 16 + 6.0 * max(map(len, names))
    figure, axes = canvas(_STRIP_WIDTH, 34 + 16.0 * len(rows), (left, 6.0, 6.0, 22.0))
    image(axes, shaded(np.clip(np.nan_to_num(rows), 0, 1), np.full(rows.shape, MAGNITUDE)))
    every = -(-slots // _MOST_TICKS)
    for boundary in range(every, slots, every):
        axes.axvline(boundary * width - 0.5, color=RULE, linewidth=1.0)
    named = np.arange(0, slots, every)
    axes.set_xticks((named + 0.5) * width - 0.5, [f"slot {slot + 1}" for slot in named], color=INK)
    axes.set_yticks(range(len(names)), names, color=INK, parse_math=False)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    return figure


def swap_figures(plans: Sequence[Mapping[str, Any]]) -> list[AnalysisFigure]:
    """Transfer matrices of decoder swaps, one for each plan (:mod:`m2l2_mir.disentangle.swapping`)."""
    figures = []
    for one in plans:
        transfer = np.array(one["transfer"], dtype=np.float64)
        table = pd.DataFrame(
            transfer, index=[f"slot {number + 1}" for number in range(len(transfer))], columns=one["attributes"]
        )
        behind = "" if one["context"] == "none" else f", behind a chunk of the {one['context']}"
        figures.append(
            AnalysisFigure(
                name=f"transfer-{one['chunks']}-{one['context']}",
                figure=score_map(
                    table, table, signed=True, width=max(_LEAST_WIDTH, 110 + 1.5 * _COLUMN * table.shape[1])
                ),
                caption=f"Decoder swaps, clips of {one['block']}{behind}: share of pairs whose attribute moves to the "
                "donor's when this slot is the donor's, less the same for random subspaces as wide as a slot",
            )
        )
    return figures


def identity_figures(identity: Mapping[str, Any], matching: Mapping[str, Any] | None) -> list[AnalysisFigure]:
    """How slots are taken for each other, where they go in the next chunk, and which slots of two models match."""
    shown = []
    for name, matrix, caption in (
        (
            "confusion",
            identity.get("confusion"),
            "Which slot a single vector is taken to come from (lines: true slots)",
        ),
        (
            "transition",
            (identity.get("stability") or {}).get("transition"),
            "Which slot of the next chunk lies nearest to a slot",
        ),
        (
            "matching",
            None if matching is None else matching["similarity"],
            "Held-out linear predictability between the slots of the two models (lines: the first)",
        ),
    ):
        if matrix is None:
            continue
        values = np.asarray(matrix, dtype=np.float64)
        labels = [f"slot {number + 1}" for number in range(len(values))]
        table = pd.DataFrame(values, index=labels, columns=[str(number + 1) for number in range(values.shape[1])])
        figure = score_map(table, table, width=max(_LEAST_WIDTH, 70 + _COLUMN * values.shape[1]))
        shown.append(AnalysisFigure(name=name, figure=figure, caption=caption))
    return shown
