"""Whether factors are read from combinations that a probe has not heard, for each source and factor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.generalisation import unseen_combinations
from m2l2_mir.disentangle.kept import kept_lines
from m2l2_mir.disentangle.sources import Source

__all__ = ["generalisation_lines"]


def generalisation_lines(
    sources: Sequence[Source],
    blocks: Sequence[Block],
    parts: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Measure what is not there yet; blocks of a single factor have no combinations and are left out.

    Parameters
    ----------
    sources, blocks
        Each source on each block.
    parts
        Folder of finished ones.
    progress
        Called with the number of measurements done and of all.

    Returns
    -------
    list of dict
        For each row and factor ``seen``, ``unseen``, ``difference``, ``low``, ``high`` and ``beside``, as of
        :func:`~m2l2_mir.disentangle.generalisation.unseen_combinations`; None where not defined.
    """
    todo = [(source, block) for source in sources for block in blocks if len(block.names) > 1]
    lines = []
    for done, (source, block) in enumerate(todo):
        if progress is not None:
            progress(done, len(todo))
        lines += kept_lines(parts, source, block, ["unseen combinations"], partial(_lines, source, block))
    if progress is not None:
        progress(len(todo), len(todo))
    return lines


def _lines(source: Source, block: Block) -> Iterator[dict[str, Any]]:
    found = unseen_combinations(
        source.slots_of(block.track_ids), block.factors, schema=block.schema, groups=block.groups
    )
    for place, factor in enumerate(found["factors"]):
        numbers = {name: float(found[name][place]) for name in ("seen", "unseen", "difference", "low", "high")}
        yield {"row": source.name, "factor": factor, "beside": found["beside"][place], **numbers}
