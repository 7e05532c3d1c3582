"""Figures of an analysis: slot x factor matrices with what chance gives of them, decoder swaps, matched slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from m2l2_mir.report.score_figures import score_map

__all__ = ["AnalysisFigure", "identity_figures", "row_figures", "swap_figures"]

_COLUMN = 54.0  # pixels


@dataclass(frozen=True, kw_only=True)
class AnalysisFigure:
    """``name`` is fit for a file, ``caption`` is plain text."""

    name: str
    figure: Figure
    caption: str


def row_figures(found: Mapping[str, Any], row: str) -> list[AnalysisFigure]:
    """The matrices of one row: information and changes of each slot and factor, below them what chance gives.

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
    ):
        if column not in cells:
            continue
        matrix = cells.pivot(index="slot", columns="factor", values=column)
        matrix = matrix[[factor for factor in order if factor in matrix]].dropna(axis=1, how="all")
        matrix.index = [f"slot {slot}" for slot in matrix.index]
        beside = {"information_rotated": "rotated", "information_permuted": "permuted", "change_rotated": "rotated"}
        for extra in null:
            if extra in cells:
                matrix.loc[beside[extra]] = cells.groupby("factor")[extra].mean().reindex(matrix.columns)
        width = 70 + _COLUMN * matrix.shape[1]
        figures.append(AnalysisFigure(name=name, figure=score_map(matrix, matrix / full, width=width), caption=caption))
    return figures


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
                figure=score_map(table, table, signed=True, width=110 + 1.5 * _COLUMN * table.shape[1]),
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
        figure = score_map(table, table, width=70 + _COLUMN * values.shape[1])
        shown.append(AnalysisFigure(name=name, figure=figure, caption=caption))
    return shown
