"""What a question on the command line is made of: options read, a steered search made, what its numbers mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2l2_mir.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from m2l2_mir.index.similarity import SimilarityIndex

__all__ = ["MEASURES", "pairs", "steered", "vectors_of", "weights_of"]

MEASURES = (
    "percentile: of random pairs of the library, so high for all neighbours; among_nearest: of random tracks and their "
    "nearest, where 50 is usual; near 0 at rank 1 means that nothing in the library is like this."
)


def steered(
    opened: SimilarityIndex,
    seeds: list[Any],
    k: int,
    like: list[str] | None,
    but: list[str] | None,
    probes: list[Path] | None,
    strength: float,
    filters: dict[str, Any],
    listening: dict[str, Any],
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Results of a steered search, and what to say beside them."""
    from m2l2_mir.index.attributes import load_attributes
    from m2l2_mir.index.query import Filters
    from m2l2_mir.index.seeds import Part
    from m2l2_mir.index.steering import steer

    if not probes:
        raise InputError("--like and --but need probes: --probe FOLDER of 'm2l2 probe run NAME --out FOLDER'")
    found = steer(
        opened,
        seeds,
        load_attributes(opened, probes),
        k,
        like=like or (),
        but=dict(pairs("--but", but)),
        strength=strength,
        filters=Filters(**filters),
        part=Part(**listening),
    )
    return found.results, {"effects": found.effects, "kept": found.kept}


def vectors_of(path: Path) -> Any:
    """Embeddings from a .npy file."""
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot read vectors from {path}: {' '.join(str(error).split())}") from error


def pairs(option: str, given: list[str] | None, *, whole: bool = False) -> list[tuple[str, str]]:
    """NAME=VALUE options."""
    found = []
    for one in given or []:
        name, sign, value = one.partition("=")
        if not (name and sign and value) or (whole and not value.isdecimal()):
            raise InputError(f"{option} takes NAME={'N' if whole else 'VALUE'}: {one!r}")
        found.append((name.strip(), value.strip()))
    return found


def weights_of(given: list[str] | None, slots: int) -> list[float] | None:
    """SLOT=W options as a weight for each slot; None: none given."""
    if not given:
        return None
    weights = [1.0] * slots
    for name, value in pairs("--weight", given):
        try:
            slot, weight = int(name), float(value)
        except ValueError as error:
            raise InputError(f"--weight takes SLOT=W, as in 3=0.5: {name}={value}") from error
        if not 1 <= slot <= slots:
            raise InputError(f"--weight: the index has slots 1 to {slots}, not {slot}")
        weights[slot - 1] = weight
    return weights
