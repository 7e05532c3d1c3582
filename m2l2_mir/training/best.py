"""``best.safetensors``: the averaged weights at the evaluation whose held-out losses were lowest.

Totals are compared only within a phase, in which the same losses are active with the same weights
(:mod:`m2l2_mir.training.watch`); the first evaluation of a later phase always replaces what an earlier one left. The
file carries its own record, so that it is true whatever happens before ``run.json`` repeats it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from m2l2_mir.errors import CheckpointError

__all__ = ["BEST", "Best", "read_best"]

BEST, RECORD = "best.safetensors", "best"


@dataclass(frozen=True, kw_only=True)
class Best:
    """Where a run was best.

    Parameters
    ----------
    step
        Steps done.
    phase, phase_first
        Name and first step of the phase.
    held_out_total
        Weighted sum of the held-out losses.
    """

    step: int
    phase: str
    phase_first: int
    held_out_total: float

    def beats(self, other: Best | None) -> bool:
        """Whether it is to replace the other one.

        >>> early = Best(step=10, phase="explicit", phase_first=0, held_out_total=0.5)
        >>> late = Best(step=20, phase="clean", phase_first=20, held_out_total=0.9)
        >>> early.beats(None), late.beats(early), early.beats(late), early.beats(early)
        (True, True, False, False)
        """
        if other is None or self.phase_first != other.phase_first:
            return other is None or self.phase_first > other.phase_first
        return self.held_out_total < other.held_out_total

    def as_metadata(self) -> dict[str, str]:
        """What is written into the file beside the weights."""
        return {RECORD: json.dumps(asdict(self))}


def read_best(run: Path) -> Best | None:
    """Record of the file in a run's folder; None where there is no file.

    Raises
    ------
    CheckpointError
        It cannot be read.
    """
    path = run / BEST
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return Best(**json.loads((file.metadata() or {})[RECORD]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; delete it, the run then finds another best") from error
