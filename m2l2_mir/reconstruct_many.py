"""Many files through a model and back: where each goes, what went wrong, what all of them tell.

The work on one file: :mod:`m2l2_mir.reconstruct`.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir import __version__
from m2l2_mir.audio import AUDIO_EXTENSIONS, read_info
from m2l2_mir.audiofile import printable
from m2l2_mir.dataset.folder import find_audio
from m2l2_mir.durable import write_durably, write_json
from m2l2_mir.errors import InputError, M2L2Error
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.probe.results import plain
from m2l2_mir.progress import CountProgress
from m2l2_mir.quality.intervals import mean_interval
from m2l2_mir.quality.reconstruction import set_figures
from m2l2_mir.quality.visqol import INSTALL, has_visqol
from m2l2_mir.reconstruct import Decoding, check, check_format, facts_of, hear, rebuild

__all__ = ["Job", "Outcome", "Plan", "plan", "run", "write_metrics"]

SHOWN = {
    "si_sdr": "SI-SDR (dB)",
    "log_spectral_distance": "log-spectral distance (dB)",
    "log_spectral_distance_aligned": "log-spectral distance with equal levels (dB)",
    "visqol": "ViSQOL",
}
FAD_SECONDS = 256
"""Music from which FAD is told: four log-mel embeddings, two a second, for each of their 128 dimensions."""

Pieces = list[NDArray[np.float64]]  # embeddings of each 10 s


@dataclass(frozen=True, kw_only=True)
class Job:
    """A file, and where its reconstruction goes: one place, or one for each method."""

    name: str
    path: Path
    out: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done, and (name, reason) of what cannot be."""

    jobs: tuple[Job, ...]
    failures: tuple[tuple[str, str], ...]
    passed_over: int


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


def plan(
    paths: Sequence[str],
    out: Path,
    methods: Sequence[str],
    *,
    sample_rate: int | None = None,
    metrics: Path | None = None,
) -> Plan:
    """Say where each reconstruction goes, and that it can be written there.

    Parameters
    ----------
    paths
        Files and folders, see :func:`m2l2_mir.dataset.folder.find_audio`.
    out
        A file for one reconstruction; a folder, made when needed, for several, where they get the name of their file
        with the extension .wav, and with several methods that of the method before it.
    methods
        Of decoding; with none, each file is decoded once.
    sample_rate
        To write, in Hz; None for each file's own.
    metrics
        File for the figures, if one is asked for.

    Raises
    ------
    InputError
        A path does not exist, there is no audio, `out` is one file for several reconstructions, has an extension or a
        rate that cannot be written, or lies where nothing can be; or a reconstruction would take the place of a file
        that is read.
    """
    listing = find_audio(paths)
    if not listing.files and not listing.failures:
        raise InputError(f"no audio files there ({listing.passed_over} other files); name a folder that holds music")
    several = len(methods) > 1
    single_file = len(paths) == 1 and not os.path.isdir(paths[0])
    names_file = out.suffix.lower() in AUDIO_EXTENSIONS and not out.is_dir()
    if names_file and (several or not single_file):
        raise InputError(f"--out is {out}, one file, for several reconstructions; name a folder")
    if out.exists() and not names_file and not out.is_dir():
        raise InputError(f"--out is {out}, which is neither a folder nor named as audio; name out.wav or a folder")
    if single_file and not several and not names_file and out.suffix[1:].isalpha() and not out.is_dir():
        raise InputError(f"--out is {out}: '{out.suffix}' is no audio format; name out.wav, or make the folder first")
    for place in (out, metrics):
        if place is not None:
            _check_place(place)
    if names_file and listing.files:
        check_format(out, sample_rate or _rate(listing.files[0].path))
    jobs: list[Job] = []
    taken: set[str] = set()
    for file in listing.files:
        stem = os.path.splitext(file.track_id)[0]
        if stem in taken:  # a.mp3 beside a.wav
            stem = file.track_id
        taken.add(stem)
        endings = [f".{method}.wav" for method in methods] if several else [".wav"]
        targets = [out] if names_file else [out / f"{stem}{ending}" for ending in endings]
        jobs.append(Job(name=file.track_id, path=file.path, out=tuple(targets)))
    read = {os.path.realpath(job.path) for job in jobs}
    for job in jobs:
        if clash := [target for target in job.out if os.path.realpath(target) in read]:
            raise InputError(f"{clash[0]} is a file to be read and would be replaced; choose another --out")
    return Plan(jobs=tuple(jobs), failures=listing.failures, passed_over=listing.passed_over)


def run(
    model: Music2Latent2,
    planned: Plan,
    decodings: Sequence[Decoding],
    *,
    excerpt: tuple[float, float] | None = None,
    sample_rate: int | None = None,
    raw_level: bool = False,
    quiet: bool = False,
    say: Callable[[Job, dict[str, Any]], object] | None = None,
) -> Outcome:
    """Reconstruct file after file; what cannot be used is listed and the rest goes on.

    Parameters
    ----------
    model
        Any model of the family.
    planned
        See :func:`plan`.
    decodings
        As many as places of each job.
    excerpt, sample_rate, raw_level
        See :func:`m2l2_mir.reconstruct.hear` and :func:`m2l2_mir.reconstruct.rebuild`.
    quiet
        Show no progress.
    say
        Told each row.

    Raises
    ------
    InputError
        A setting of the decoder is out of range.
    """
    decodings = [check(model, decoding) for decoding in decodings]
    found = Outcome(
        failures=list(planned.failures),
        expected=len(planned.jobs) + len(planned.failures),
        passed_over=planned.passed_over,
    )
    logmel: dict[str, tuple[list[Pieces], list[Pieces]]] = {decoding.method: ([], []) for decoding in decodings}
    total = sum(_seconds(job, excerpt) for job in planned.jobs) * (1 + len(decodings))
    done = 0.0
    with CountProgress("reconstructing, seconds of music", quiet=quiet) as progress:

        def tell(seconds: float) -> None:
            nonlocal done
            done += seconds
            progress(round(done), round(max(total, done)))

        for job in planned.jobs:
            try:
                heard = hear(model, job.path, excerpt=excerpt, tell=tell)
                for target, decoding in zip(job.out, decodings, strict=True):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    built = rebuild(
                        model,
                        heard,
                        target,
                        decoding=decoding,
                        sample_rate=sample_rate,
                        raw_level=raw_level,
                        with_visqol=has_visqol(),
                        tell=tell,
                    )
                    row = {
                        "track": job.name,
                        "out": str(target),
                        **facts_of(heard, built, decoding, raw_level=raw_level),
                    }
                    found.rows.append(row)
                    for side, pieces in zip(logmel[decoding.method], built.logmel, strict=True):
                        side.append(pieces)
                    if say is not None:
                        say(job, row)
            except (M2L2Error, OSError) as error:
                reason = " ".join(str(error).split())
                found.failures.append((job.name, reason.removeprefix(f"{printable(job.path)}: ")))
    for method, (ours, theirs) in logmel.items():
        if distances := _distances(ours, theirs):
            found.distances[method] = distances
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


def _distances(ours: list[Pieces], theirs: list[Pieces]) -> dict[str, float]:
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


def _check_place(path: Path) -> None:
    """See that a file, or a folder, could be written there."""
    parent = path if path.is_dir() else path.parent
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        why = "may not be written to" if parent.is_dir() else "is no folder"
        raise InputError(f"{path} cannot be written: {parent} {why}; choose another place")


def _rate(path: Path) -> int:
    """Rate of a file; any that every format takes, where it cannot be read."""
    try:
        return read_info(path).sample_rate
    except (M2L2Error, OSError):
        return 48_000


def _mean(name: str, values: list[float]) -> str:
    found = mean_interval(values)
    counted = "" if found["scored"] == found["expected"] else f" of {found['scored']:.0f} files"
    if math.isnan(found["low"]):
        return f"{name} {found['mean']:.2f}{counted}"
    return f"{name} {found['mean']:.2f} [{found['low']:.2f}, {found['high']:.2f}]{counted}"


def _seconds(job: Job, excerpt: tuple[float, float] | None) -> float:
    """Length that is expected of a file; 0 where its header does not tell."""
    try:
        duration = read_info(job.path).duration
    except (M2L2Error, OSError):
        return 0.0
    if math.isnan(duration):
        return 0.0
    return duration if excerpt is None else max(min(duration - excerpt[0], excerpt[1]), 0.0)
