"""Options of commands that embed: which part of each file is heard, and how loud."""

from __future__ import annotations

from typing import Annotated

import typer

from m2l2_mir.errors import InputError

__all__ = ["ExcerptOption", "LoudnessOption", "read_excerpt"]

ExcerptOption = Annotated[
    str | None, typer.Option("--excerpt", help="Start and length in seconds, as in 30,60.", metavar="START,LENGTH")
]
LoudnessOption = Annotated[
    float | None,
    typer.Option("--loudness", help="Bring each file, as the model hears it, to this loudness in LUFS, as in -23."),
]


def read_excerpt(text: str | None) -> tuple[float, float] | None:
    """Start and length in seconds.

    >>> read_excerpt("30,60")
    (30.0, 60.0)
    """
    if text is None:
        return None
    try:
        start, length = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--excerpt takes START,LENGTH in seconds, as in 30,60; got {text!r}") from error
    return start, length
