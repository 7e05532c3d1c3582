"""What each single dimension tells of each factor, slot by slot: the map behind the metrics of single dimensions.

    N[j, f] = I(z_j; f) / H(f)      from 20 quantile bins, less its bias (:mod:`m2l2_mir.disentangle.mutual`)

beside N of the same code in one random basis (:func:`m2l2_mir.disentangle.nulls.rotations`), which is what a map
without any order of its own looks like. It sees one dimension at a time: what several tell together only, it does not
show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.disentangle.bases import standardised
from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.factors import Column, read_factors
from m2l2_mir.disentangle.mutual import entropies, mutual_information
from m2l2_mir.disentangle.nulls import Nulls, rotations
from m2l2_mir.disentangle.sources import Source

__all__ = ["dimension_map", "dimension_table"]

_DIGITS = 4

Floats = NDArray[np.float64]


def dimension_map(source: Source, blocks: Sequence[Block], *, seed: int = 0) -> dict[str, Any]:
    """Map of one source.

    Parameters
    ----------
    source, blocks
        The factors of all blocks, each measured on its clips.
    seed
        Of the rotation.

    Returns
    -------
    dict
        ``factors`` (names), ``width`` (dimensions of a slot), ``information`` and ``rotated`` [F, K*d], slot after
        slot.
    """
    own, turned = [], []
    for block in blocks:
        code = np.asarray(source.slots_of(block.track_ids), dtype=np.float64).reshape(len(block.track_ids), -1)
        columns = read_factors(block.factors, block.schema, items=len(code))
        [turn] = rotations(code.shape[1], Nulls(rotations=1, seed=seed))
        own.append(_shares(code, columns))
        turned.append(_shares(standardised(code) @ turn, columns))
    return {
        "factors": [name for block in blocks for name in block.names],
        "width": source.shape[1],
        "information": np.round(np.concatenate(own), _DIGITS),
        "rotated": np.round(np.concatenate(turned), _DIGITS),
    }


def dimension_table(maps: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Maps by row as one line for each row, dimension and factor: numbers of slot and dimension count from 1."""
    lines = []
    for row, one in maps.items():
        own, turned = np.asarray(one["information"]), np.asarray(one["rotated"])
        factor, dimension = np.indices(own.shape).reshape(2, -1)
        lines.append(
            pd.DataFrame(
                {
                    "row": row,
                    "slot": dimension // one["width"] + 1,
                    "dimension": dimension % one["width"] + 1,
                    "factor": np.array(one["factors"], dtype=object)[factor],
                    "information": own.ravel(),
                    "information_rotated": turned.ravel(),
                }
            )
        )
    return pd.concat(lines, ignore_index=True) if lines else pd.DataFrame()


def _shares(code: Floats, columns: Sequence[Column]) -> Floats:
    """[F, D]."""
    return np.asarray((mutual_information(code, columns, corrected=True)[0] / entropies(columns)).T)
