"""What sections of the report are made of: tables that may scroll, notes, figures with captions."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from m2l2_mir.disentangle.figures import AnalysisFigure
from m2l2_mir.report import page
from m2l2_mir.report.page import escape

__all__ = ["card", "notes_list", "wide_table"]


def wide_table(frame: pd.DataFrame, *, text_columns: int) -> str:
    numeric = [str(name) for name in frame.columns[text_columns:]]
    return f'<div class="wide">{page.table(frame, numeric=numeric)}</div>'


def notes_list(lines: Sequence[str]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>' if lines else ""


def card(one: AnalysisFigure, identifier: str) -> str:
    svg = page.figure_svg(one.figure, alt=one.caption, identifier=identifier)
    return f'<div class="card">{page.figure(svg, caption=escape(one.caption) + ".")}</div>'
