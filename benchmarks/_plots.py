"""Figures of benchmarks: PNG beside the results, without pyplot and its state."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def save_figure(options: argparse.Namespace, figure: Figure, part: str = "") -> Path:
    """Write NAME.png, or NAME-PART.png, into the folder of the results; whole or not at all."""
    name = Path(sys.argv[0]).stem + (f"-{part}" if part else "") + (".quick" if options.quick else "") + ".png"
    options.out.mkdir(parents=True, exist_ok=True)
    path: Path = options.out / name
    aside = path.with_name(f".{name}.{os.getpid()}.part")
    try:
        FigureCanvasAgg(figure).print_png(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return path
