"""A small library of two collections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m2l2_mir.audio import save
from tests.training.tones import RATE, tone


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Collections "loud" and "soft": a plain tone each, and one with silence around it."""
    folder = tmp_path / "library"
    for collection, level in (("loud", 0.3), ("soft", 0.03)):
        (folder / collection).mkdir(parents=True)
        save(folder / collection / "a.wav", tone(220 if level > 0.1 else 330, level=level), RATE)
        padded = np.pad(tone(440 if level > 0.1 else 550, level=level), ((0, 0), (3000, 5000)))
        save(folder / collection / "b.wav", padded, RATE)
    return folder
