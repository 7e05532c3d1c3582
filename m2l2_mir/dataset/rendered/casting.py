"""Who plays a clip and where: instruments, room and level, drawn so that none of them tells the label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from m2l2_mir.dataset.rendered.instruments import Instrument, covering

__all__ = ["LEVELS_DBFS", "REVERBS", "draw_player", "draw_stage", "players"]

REVERBS = (0.0, 0.5, 1.0, 1.5, 2.0)  # seconds
LEVELS_DBFS = (-26.0, -20.0)


def players(pitches: Iterable[int], *, sustained: bool = False) -> tuple[Instrument, ...]:
    """Instruments that are in tune at all of these pitches; only those that hold a note if `sustained`."""
    pitches = list(pitches)
    found = covering(min(pitches), max(pitches))
    return tuple(player for player in found if player.sustained or not sustained)


def draw_player(rng: np.random.Generator, candidates: Sequence[Instrument]) -> Instrument:
    """Draw an instrument, each with the same chance."""
    return candidates[int(rng.integers(len(candidates)))]


def draw_stage(rng: np.random.Generator) -> dict[str, Any]:
    """Room and level of a clip, as the arguments of a :class:`~m2l2_mir.dataset.rendered.clips.Clip`."""
    return {"reverb_seconds": float(rng.choice(REVERBS)), "level_dbfs": round(float(rng.uniform(*LEVELS_DBFS)), 1)}
