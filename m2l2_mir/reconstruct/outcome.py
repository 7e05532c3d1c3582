"""What reconstructing came to: a row for each, means over files, distances, and failures."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir import __version__
from m2l2_mir.durable import write_durably, write_json
from m2l2_mir.errors import InputError
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.probe.results import plain
from m2l2_mir.quality.intervals import mean_interval
from m2l2_mir.quality.reconstruction import set_figures
from m2l2_mir.quality.visqol import INSTALL
from m2l2_mir.reconstruct.hearing import Heard
from m2l2_mir.reconstruct.rebuilding import Rebuilt
from m2l2_mir.reconstruct.settings import Decoding

__all__ = ["Outcome", "Pieces", "distances", "row_of", "write_metrics"]

SHOWN = {
    "si_sdr": "SI-SDR (dB)",
    "log_spectral_distance": "log-spectral distance (dB)",
    "log_spectral_distance_aligned": "log-spectral distance with equal levels (dB)",
    "visqol": "ViSQOL",
}
FAD_SECONDS = 256
"""Music from which FAD is told: four log-mel embeddings, two a second, for each of their 128 dimensions."""

Pieces = list[NDArray[np.float64]]  # embeddings of each 10 s


@dataclass(kw_only=True)
class Outcome:
    """What was done: a row for each reconstruction, (name, reason) of failures, distances of each method."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    distances: dict[str, dict[str, float]] = field(default_factory=dict)  # on log-mel embeddings
    expected: int = 0
    passed_over: int = 0

    def record(self, model: Music2Latent2) -> dict[str, Any]:
        """All of it as JSON."""
        found: dict[str, Any] = plain(
            {
                "m2l2_mir": __version__,
                "model": model.config.name,
                "weights_id": model.weights_id,
                "trained": model.trained,
                "expected": self.expected,
                "passed_over": self.passed_over,
                "files": self.rows,
                "logmel": self.distances,
                "failed": [{"track": name, "reason": reason} for name, reason in self.failures],
            }
        )
        return found

    def sentences(self) -> list[str]:
        """Counts, means over files with intervals, distances, and what is missing for more."""
        files = len({row["track"] for row in self.rows})
        lines = [f"{files} of {self.expected} files reconstructed, {self.passed_over} other files passed over"]
        for method in dict.fromkeys(row["method"] for row in self.rows):
            rows = [row for row in self.rows if row["method"] == method]
            if len(rows) > 1:
                means = [_mean(SHOWN[name], [row[name] for row in rows]) for name in SHOWN if name in rows[0]]
                lines.append(f"{method}, mean [95 % interval over files]: {', '.join(means)}")
            if found := self.distances.get(method):
                kind = "files" if found["groups"] == len({row["track"] for row in rows}) else "pieces of 10 s"
                told = [f"kad_logmel {found['kad']:.2f} [{found['kad_low']:.2f}, {found['kad_high']:.2f}]"]
                if "fad" in found:
                    told.append(f"fad_logmel {found['fad']:.1f} [{found['low']:.1f}, {found['high']:.1f}]")
                lines.append(f"{method}, {', '.join(told)} over {found['groups']:.0f} {kind}")
        if self.rows and not self.distances:
            lines.append("kad_logmel left out: fewer than 3 pieces of 10 s")
        elif self.rows and not any("fad" in found for found in self.distances.values()):
            lines.append(f"fad_logmel left out: less than {FAD_SECONDS} s of music")
        if self.rows and "visqol" not in self.rows[0]:
            lines.append(f"ViSQOL left out: {INSTALL}")
        return lines


def row_of(heard: Heard, built: Rebuilt, decoding: Decoding, *, raw_level: bool) -> dict[str, Any]:
    """One row of a table of metrics, with the settings that give it again; None where a setting played no part."""
    duration = heard.frames / heard.sample_rate
    autoregressive = decoding.method != "parallel"
    return {
        "method": decoding.method,
        "sigma_cond": decoding.sigma_cond if autoregressive and decoding.position_cond is None else None,
        "position_cond": decoding.position_cond if autoregressive else None,
        "steps": decoding.steps,
        "seed": decoding.seed,
        "raw_level": raw_level,
        "excerpt": None if heard.excerpt is None else "{},{}".format(*heard.excerpt),
        "seconds": duration,
        "chunks": len(heard.embeddings),
        "sample_rate": built.sample_rate,
        "channels": built.channels,
        **built.figures,
        "gain_db": built.gain,
        "clipped": built.clipped,
        "note": _note(heard, built),
        "encode_x_real_time": duration / max(heard.seconds, 1e-9),
        "decode_x_real_time": duration / max(built.seconds, 1e-9),
    }


def _note(heard: Heard, built: Rebuilt) -> str:
    notes = []
    if math.isinf(heard.loudness):
        notes.append("the original is silent (nowhere above -70 LUFS): no figures, the level is the decoder's")
    if built.clipped:
        notes.append(f"{built.clipped} values were beyond full scale and were clipped")
    return "; ".join(notes)


def distances(ours: list[Pieces], theirs: list[Pieces]) -> dict[str, float]:
    """Distances over files, or over pieces of fewer than three; empty where there are no three pieces either."""
    heard = [number for number, file in enumerate(ours) if file]
    groups = [number for number in heard for _ in ours[number]]
    if len(heard) < 3:
        groups = list(range(len(groups)))
    if len(set(groups)) < 3:
        return {}
    original, estimated = ([piece for file in side for piece in file] for side in (ours, theirs))
    found = set_figures(original, estimated, groups)
    if found["embeddings"] < 2 * FAD_SECONDS:
        return {name: found[name] for name in ("kad", "kad_low", "kad_high", "groups", "embeddings")}
    return found


def write_metrics(path: Path, found: Outcome, model: Music2Latent2) -> None:
    """Write the outcome as .json, or its rows and failures as .csv."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            write_json(path, found.record(model))
            return
        failed = [{"track": name, "note": f"failed: {reason}"} for name, reason in found.failures]
        content = io.StringIO()
        # Whole numbers stay whole beside the empty cells of failures.
        pd.DataFrame([*found.rows, *failed]).convert_dtypes().to_csv(content, index=False)
        write_durably(path, lambda file: file.write(content.getvalue().encode()))
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def _mean(name: str, values: list[float]) -> str:
    found = mean_interval(values)
    counted = "" if found["scored"] == found["expected"] else f" of {found['scored']:.0f} files"
    if math.isnan(found["low"]):
        return f"{name} {found['mean']:.2f}{counted}"
    return f"{name} {found['mean']:.2f} [{found['low']:.2f}, {found['high']:.2f}]{counted}"
