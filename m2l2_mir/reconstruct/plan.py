"""Which files are to be reconstructed, and where each goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from m2l2_mir.audio import AUDIO_EXTENSIONS, read_info
from m2l2_mir.audio_writing import check_format
from m2l2_mir.dataset.folder import find_audio
from m2l2_mir.errors import InputError, M2L2Error

__all__ = ["Job", "Plan", "plan"]


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
