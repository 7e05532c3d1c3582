"""Soundfonts and their roles: FluidR3 plays what probes are tested on, TimGM6mb what models are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Soundfont", "probe_soundfont", "training_soundfont"]


@dataclass(frozen=True, kw_only=True)
class Soundfont:
    """A soundfont on this machine."""

    name: str  # "FluidR3_GM", "TimGM6mb", ...
    path: Path
    sha256: str
    licence: str
    heard_in_training: bool

    @property
    def note(self) -> str:
        """What every table of results made with it says, or ""."""
        return "soundfont heard in training" if self.heard_in_training else ""


def training_soundfont() -> Soundfont:
    """TimGM6mb, which comes with the [render] extra."""
    raise NotImplementedError


def probe_soundfont() -> Soundfont:
    """FluidR3_GM where it is installed or M2L2_SOUNDFONT names it, else TimGM6mb."""
    raise NotImplementedError
