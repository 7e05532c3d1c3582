"""Free music from the packages of Debian and Ubuntu: fetched and unpacked, never installed.

Conventions
-----------
* ``free-music.toml`` lists the packages, with licence, recommended split and what of them is music. One whose name
  holds its version is found by a pattern; the newest that apt knows is taken.
* A package becomes one folder and so one collection, called like its entry whatever the version. Beside the music lies
  the package's ``copyright``, which says what is whose; ``collections.json`` sums it up, ``manifest.csv`` lists the
  files (:mod:`~m2l2_mir.training.manifest`).
* A folder appears under its name once it is complete: the same command fetches what is still missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote

from m2l2_mir.audio import AUDIO_EXTENSIONS
from m2l2_mir.embedding.lock import WriterLock
from m2l2_mir.errors import CorpusError, InputError
from m2l2_mir.recipe import close_match, from_mapping
from m2l2_mir.training.manifest import write_manifest
from m2l2_mir.training.recordings import Collection, read_collections, write_collections

__all__ = ["Fetched", "Package", "fetch_free_music", "free_music"]

LIST = Path(__file__).parent / "free-music.toml"
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Package:
    """One entry of the list.

    Parameters
    ----------
    name
        Of the collection.
    package
        apt's name, or a shell pattern for it.
    music
        Patterns of the paths that are music; what lies in a ``.pk3`` (a zip) has that among its folders.
    leave
        Patterns of those that are not wanted all the same.
    split
        Where it belongs: packages held out differ in character from those trained on.
    licence
        Of the music, as the package's ``copyright`` states it.
    hours, megabytes
        About how much music it holds, and the size of the download.
    character
        What kind of music it is.
    """

    name: str
    package: str
    music: tuple[str, ...]
    leave: tuple[str, ...] = ()
    split: Literal["train", "validation", "test"]
    licence: str
    hours: float
    megabytes: float
    character: str


@dataclass(kw_only=True)
class Fetched:
    """What a call of :func:`fetch_free_music` did: names of packages, and ``(name, reason)`` of those that failed.

    ``files`` counts what the manifest lists, ``left_out`` what of it training passes over.
    """

    fetched: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    files: int = 0
    left_out: int = 0


def free_music() -> tuple[Package, ...]:
    """The packages of the list, in the order in which they are fetched."""
    values = tomllib.loads(LIST.read_text(encoding="utf-8"))
    return tuple(from_mapping(Package, entry, source=LIST.name) for entry in values["packages"])


def fetch_free_music(
    out: Path,
    *,
    only: Sequence[str] = (),
    jobs: int | None = None,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] | None = None,
) -> Fetched:
    """Fetch packages of free music into a folder, each into a sub-folder of its own, and list their files.

    Parameters
    ----------
    out
        Folder; made if need be.
    only
        Names, patterns of names, or splits ("train", "validation", "test"); empty: all.
    say
        Told about each package.
    jobs, progress
        See :func:`~m2l2_mir.training.manifest.write_manifest`.

    Returns
    -------
    Fetched

    Raises
    ------
    InputError
        The system has no apt, or `only` names what is not in the list.
    CorpusError
        The folder cannot be written.
    """
    packages = _chosen(only)
    if lacking := [tool for tool in ("apt-get", "apt-cache", "dpkg-deb") if shutil.which(tool) is None]:
        raise InputError(
            f"free-music is fetched with apt, and there is no {', '.join(lacking)}: run it on Debian or Ubuntu and "
            "copy the folder, or train on audio of your own"
        )
    result = Fetched()
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(out)
        try:
            known = read_collections(out)
            for package in packages:
                if package.name in known and (out / package.name).is_dir():
                    result.present.append(package.name)
                    continue
                say(f"{package.name}: {package.megabytes:g} MB, {package.licence}")
                try:
                    known[package.name] = _fetch(package, out)
                except _PackageFailed as failure:
                    result.failed.append((package.name, str(failure)))
                else:
                    write_collections(out, known)
                    result.fetched.append(package.name)
            table = write_manifest(out, jobs=jobs, progress=progress)
            result.files, result.left_out = len(table), int((table["kept"] == "no").sum())
        finally:
            lock.release()
    except OSError as error:
        if isinstance(error, CorpusError):
            raise
        raise CorpusError(f"cannot write to {out}: {error.strerror or error}; choose another --out") from error
    return result


class _PackageFailed(Exception):
    """One package cannot be had; the others may."""


def _chosen(only: Sequence[str]) -> list[Package]:
    packages = free_music()
    chosen: set[str] = set()
    for pattern in only:
        found = {p.name for p in packages if p.split == pattern or fnmatchcase(p.name, pattern)}
        if not found:
            names = [*_SPLITS, *(package.name for package in packages)]
            raise InputError(
                f"free-music has no {pattern!r}{close_match(pattern, names)}; there are {', '.join(names)}"
            )
        chosen |= found
    return [package for package in packages if not only or package.name in chosen]


def _fetch(package: Package, out: Path) -> Collection:
    """Download and unpack one package; what an earlier call left half done is deleted first."""
    work = out / f".{package.name}"
    shutil.rmtree(work, ignore_errors=True)
    (work / "unpacked").mkdir(parents=True)
    try:
        name = _apt_name(package.package)
        _run(["apt-get", "download", "-q", name], work, f"{name}: apt cannot fetch it")
        archive = next(iter(sorted(work.glob("*.deb"))), None)
        if archive is None:
            raise _PackageFailed(f"{name}: apt-get download left no .deb; run it by hand to see why")
        _run(["dpkg-deb", "-x", archive.name, "unpacked"], work, f"{archive.name} cannot be unpacked")
        files = _music(package, work / "unpacked")
        if not files:
            raise _PackageFailed(f"{archive.name} holds no music where it used to; mend its entry in {LIST.name}")
        ready = work / "ready"
        common = PurePosixPath(os.path.commonpath([str(path.parent) for path in files]))
        for path, file in files.items():
            place = ready / path.relative_to(common)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, place)
        for notice in (work / "unpacked" / "usr/share/doc" / name).glob("copyright"):
            shutil.copyfile(notice, ready / "copyright")
        shutil.rmtree(out / package.name, ignore_errors=True)  # without an entry in the table: of no known origin
        os.replace(ready, out / package.name)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    version = unquote(archive.name.split("_")[1])
    return Collection(
        licence=package.licence,
        source=f"Debian package {name} {version}",
        split=package.split,
        min_bandwidth=_min_bandwidth(),
    )


def _apt_name(pattern: str) -> str:
    """The newest package that a pattern matches: "wesnoth-1.*-music" may be wesnoth-1.16-music here."""
    prefix = re.split(r"[*?\[]", pattern)[0]
    if prefix == pattern:
        return pattern
    listed = _run(["apt-cache", "pkgnames", prefix], None, f"{pattern}: apt's list cannot be read")
    names = [name for name in listed.split() if fnmatchcase(name, pattern)]
    if not names:
        raise _PackageFailed(f"apt knows no package {pattern!r}; run apt-get update as root and try again")
    return max(names, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])


def _music(package: Package, unpacked: Path) -> dict[PurePosixPath, Path]:
    """Files of music by their path in the package, zips opened."""
    for packed in sorted(unpacked.rglob("*.pk3")):
        inside = packed.with_name(f"{packed.name}.unpacked")
        try:
            with zipfile.ZipFile(packed) as archive:
                archive.extractall(inside)  # keeps what it writes below that folder
        except zipfile.BadZipFile as error:
            raise _PackageFailed(f"{packed.name} is no zip file: {error}") from error
        packed.unlink()
        os.replace(inside, packed)
    found = {}
    for file in sorted(unpacked.rglob("*")):
        path = PurePosixPath(file.relative_to(unpacked).as_posix())
        if not file.is_file() or file.is_symlink() or path.suffix.lower() not in AUDIO_EXTENSIONS:
            continue
        wanted = any(fnmatchcase(str(path), pattern) for pattern in package.music)
        if wanted and not any(fnmatchcase(str(path), pattern) for pattern in package.leave):
            found[path] = file
    return found


def _run(command: list[str], folder: Path | None, failure: str) -> str:
    """Run a tool in a folder and return what it prints; its own words for what went wrong are passed on."""
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"LC_ALL": "C"}, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg-deb: error"))]
        why = (lines or done.stderr.splitlines() or [f"exit code {done.returncode}"])[-1].strip()
        raise _PackageFailed(f"{failure} ({why}); run apt-get update as root and try again")
    return done.stdout


def _min_bandwidth() -> float:
    return float(tomllib.loads(LIST.read_text(encoding="utf-8"))["min_bandwidth"])
