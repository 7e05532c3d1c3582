"""Tables that paste into a paper or a README."""

from __future__ import annotations

import re

import pandas as pd

__all__ = ["latex_table", "markdown_table"]

_SPECIAL = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}


def markdown_table(table: pd.DataFrame) -> str:
    r"""A table as Markdown, without its index.

    >>> print(markdown_table(pd.DataFrame({"row": ["a|b"], "score": [0.5]})))
    | row | score |
    | --- | --- |
    | a\|b | 0.5 |
    """
    lines = [list(table.columns), ["---"] * table.shape[1], *table.astype(object).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def latex_table(table: pd.DataFrame, *, caption: str) -> str:
    r"""A table as LaTeX, without its index: the first column to the left; needs the package booktabs.

    >>> print(latex_table(pd.DataFrame({"row": ["a_b"], "score": [0.5]}), caption="50 %").splitlines()[2])
    \caption{50 \%}
    """
    header = " & ".join(map(_escaped, table.columns))
    body = "\n".join(" & ".join(map(_escaped, line)) + r" \\" for line in table.itertuples(index=False))
    return (
        f"\\begin{{table}}\n\\centering\n\\caption{{{_escaped(caption)}}}\n"
        f"\\begin{{tabular}}{{l{'r' * (table.shape[1] - 1)}}}\n\\toprule\n{header} \\\\\n\\midrule\n{body}\n"
        "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def _escaped(text: object) -> str:
    return re.sub(r"[&%$#_{}~^\\]", lambda match: _SPECIAL[match[0]], str(text))
