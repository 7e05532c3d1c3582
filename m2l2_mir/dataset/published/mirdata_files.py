"""The files of a mirdata set: what must be there, what is wrong with what is there, and how it gets there."""

from __future__ import annotations

import copy
import http.client
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from m2l2_mir.audiofile import AUDIO_EXTENSIONS
from m2l2_mir.dataset.published.local_files import found, md5_of
from m2l2_mir.dataset.published.mirdata_index import MirdataSet, initialise, name_of, quiet
from m2l2_mir.dataset.recipe import DatasetRecipe
from m2l2_mir.errors import ConfigError, InputError
from m2l2_mir.recipe import close_match

__all__ = ["broken_archives", "download_index", "download_remotes", "file_problems", "missing_files"]

# What browsers and download managers call a file that is still on its way.
_UNDERWAY = (".part", ".partial", ".crdownload", ".download", ".aria2")


def missing_files(opened: MirdataSet, audio: Iterable[str]) -> tuple[list[str], list[str]]:
    """Paths of the audio and of the annotations that are not there (see :func:`file_problems`)."""
    wanted = _wanted(opened, audio)
    gone = sorted(path for path in wanted if not (opened.home / path).is_file())
    return [path for path in gone if _is_audio(path)], [path for path in gone if not _is_audio(path)]


def file_problems(opened: MirdataSet, audio: Iterable[str]) -> list[str]:
    """What is missing or not what the index says, audio and annotations apart.

    Parameters
    ----------
    opened
        The set.
    audio
        Paths below its folder of the audio that is used. Of several versions of a track the others may be missing.
    """
    wanted = _wanted(opened, audio)
    missing_audio, missing = missing_files(opened, audio)
    there = sorted(wanted.keys() - {*missing_audio, *missing})
    changed = [path for path in there if md5_of(opened.home / path) != wanted[path]]
    return [
        *found(missing_audio, "audio files missing"),
        *found(missing, "annotation files missing"),
        *found([path for path in changed if _is_audio(path)], "audio files that are not those of the index (MD5)"),
        *found([path for path in changed if not _is_audio(path)], "annotations that are not those of the index (MD5)"),
    ]


def broken_archives(dataset: Any) -> list[Path]:
    """Archives of a set that were not downloaded to the end, by mirdata or by other programs."""
    home = Path(dataset.data_home)
    broken = [
        path for remote in dataset.remotes.values() if (path := _place(home, remote)) and _is_broken(path, remote)
    ]
    places = {_place(home, remote).parent for remote in dataset.remotes.values()} | {home}
    underway = [
        path for place in places if place.is_dir() for path in place.iterdir() if path.suffix.lower() in _UNDERWAY
    ]
    return sorted({*broken, *underway})


def download_index(recipe: DatasetRecipe, home: Path | None) -> None:
    """Download mirdata's index into the folder of the set, unless there is one already."""
    dataset = initialise(recipe, home)
    if Path(dataset.index_path).is_file() or dataset._index_data.remote is None:
        return
    # beside the data it is found from any environment, and mirdata's own folder need not be writable
    dataset._index_data.remote = remote = copy.copy(dataset._index_data.remote)
    remote.destination_dir = dataset.data_home
    _download(recipe, dataset, "index", remote)


def download_remotes(recipe: DatasetRecipe, opened: MirdataSet, say: Callable[[str], None]) -> list[Path]:
    """Download and unpack what the recipe names, or all there is; returns the archives, which are kept.

    Raises
    ------
    InputError
        Something could not be downloaded or unpacked.
    ConfigError
        mirdata has no such remote.
    """
    dataset = opened.dataset
    dataset._index_data.remote = None  # it is there
    known = sorted(dataset.remotes)
    for name in recipe.remotes:
        if name not in known:
            hint = close_match(name, known)
            raise ConfigError(f"mirdata's {recipe.loader} has no remote {name!r}{hint}: {', '.join(known)}")
    archives, errors = [], []
    for name in recipe.remotes or known:
        remote = dataset.remotes[name]
        archives.append(archive := _place(opened.home, remote))
        if _is_broken(archive, remote):
            say(f"{archive} was not downloaded to the end: once more")
            archive.unlink()
        say(f"downloading {name}: {remote.url}")
        try:
            _download(recipe, dataset, name, remote)
        except InputError as error:  # one source that does not answer is no reason to go without the others
            errors.append(error)
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise InputError(f"{errors[0]}{more}") from errors[0]
    return archives


def _download(recipe: DatasetRecipe, dataset: Any, name: str, remote: Any) -> None:
    try:
        os.makedirs(dataset.data_home, exist_ok=True)
        with quiet():
            dataset.download(partial_download=[name])
    except (OSError, http.client.HTTPException, zipfile.BadZipFile, tarfile.TarError) as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        place = _place(Path(dataset.data_home), remote)
        raise InputError(
            f"{recipe.title}: {name} cannot be had from {remote.url} ({cause}); try again later, or put that file "
            f"at {place} yourself and run 'm2l2 datasets fetch {name_of(recipe)}'"
            + (f"; {recipe.get}" if recipe.get else "")
        ) from error


def _wanted(opened: MirdataSet, audio: Iterable[str]) -> dict[str, str]:
    used = set(audio)
    entries = [entry for files in (*opened.files.values(), opened.metadata) for entry in files.values()]
    return {path: md5 for path, md5 in entries if path in used or not _is_audio(path)}


def _place(home: Path, remote: Any) -> Path:
    return Path(os.path.normpath(home / (remote.destination_dir or "") / remote.filename))


def _is_broken(path: Path, remote: Any) -> bool:
    return path.is_file() and md5_of(path) != remote.checksum


def _is_audio(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in AUDIO_EXTENSIONS
