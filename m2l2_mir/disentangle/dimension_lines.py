"""The metrics of single dimensions for a source: all of them, with their nulls, each kept as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.dci import dci
from m2l2_mir.disentangle.dci_es import dci_es
from m2l2_mir.disentangle.factor_vae import factor_vae
from m2l2_mir.disentangle.infomec import infomec
from m2l2_mir.disentangle.irs import irs
from m2l2_mir.disentangle.kept import kept_lines
from m2l2_mir.disentangle.mig import mig
from m2l2_mir.disentangle.modularity import modularity_explicitness
from m2l2_mir.disentangle.nulls import CLASSIC_NULLS, Nulls
from m2l2_mir.disentangle.sap import sap
from m2l2_mir.disentangle.sources import Source
from m2l2_mir.errors import InputError

__all__ = ["CLASSICS", "classic_lines"]

CLASSICS: dict[str, Callable[..., dict[str, Any]]] = {
    "DCI (trees)": partial(dci, importance="trees"),
    "DCI (L1)": partial(dci, importance="l1"),
    "DCI-ES": dci_es,
    "InfoMEC": infomec,
    "MIG": mig,
    "SAP": sap,
    "modularity": modularity_explicitness,
    "IRS": irs,
    "FactorVAE": factor_vae,
}


def classic_lines(
    sources: Sequence[Source],
    blocks: Sequence[Block],
    parts: Path,
    *,
    nulls: Nulls = CLASSIC_NULLS,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Measure what is not there yet.

    Parameters
    ----------
    sources, blocks
        Every metric is measured of each source on each block.
    parts
        Folder of finished ones.
    nulls
        Draws of each null.
    progress
        Called with the number of measurements done and of all.

    Returns
    -------
    list of dict
        For each score: ``row``, ``block``, ``metric``, ``estimate``, ``low``, ``high``, ``rotation`` and
        ``permutation`` (means of the nulls), ``normalised`` (by rotations). A metric that cannot be taken has a
        ``reason`` in their place.
    """
    todo = [(source, block, name) for source in sources for block in blocks for name in CLASSICS]
    lines: list[dict[str, Any]] = []
    for done, (source, block, name) in enumerate(todo):
        if progress is not None:
            progress(done, len(todo))
        lines += kept_lines(parts, source, block, [name, repr(nulls)], partial(_measured, source, block, name, nulls))
    if progress is not None:
        progress(len(todo), len(todo))
    return lines


def _measured(source: Source, block: Block, name: str, nulls: Nulls) -> Iterator[dict[str, Any]]:
    line = {"row": source.name, "block": block.name}
    try:
        found = CLASSICS[name](
            source.slots_of(block.track_ids), block.factors, schema=block.schema, groups=block.groups, nulls=nulls
        )
    except InputError as error:
        yield {**line, "metric": name, "estimate": None, "reason": str(error)}
        return
    for score, against in found["nulls"].items():
        low, high = found["intervals"].get(score, (None, None))
        yield {
            **line,
            "metric": f"{name}: {score.replace('_', ' ')}",
            "estimate": found[score],
            "low": low,
            "high": high,
            **{null: one["mean"] for null, one in against.items()},
            "normalised": against.get("rotation", {}).get("normalised"),
        }
