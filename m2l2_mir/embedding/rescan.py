"""What a store holds already, seen from the files that are there now: a store follows the folders it was made from.

Conventions
-----------
- The *folder* of a track is the one that it was embedded from: its path without its id. Where the id is not the end of
  the path, as in a data set with names of its own, it is the folder that the file lies in.
- Only tracks of the folders embedded now can turn out to be *lost*: their file is not there, and no file has their
  name; or the file system finds it although it is spelt otherwise now (macOS: Song.wav and song.wav are one file), or
  by a link. A lost track whose bytes are found under a new name was renamed, otherwise it is *gone*. What cannot be
  looked up (a folder without permission, a network drive that fails) counts as there.
- A folder that is found elsewhere with four in five of its tracks has moved, and what it lacks is gone from its new
  place.
- What may lie on a disk that is not mounted is *absent*, and not taken out: everything where nothing is left of what a
  folder held, or where more than half of it is missing (of ten tracks and more); and what lay in a folder that is empty
  now, or below a link that leads nowhere. Folders that are to be *forgotten* are asked nothing of this.
"""

from __future__ import annotations

import os
import re
import threading
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath, PurePosixPath
from typing import Any

from m2l2_mir.dataset.folder import Listing, matches, real_place
from m2l2_mir.embedding.track import KnownTrack, stored_path
from m2l2_mir.errors import InputError

__all__ = ["Changes", "Lost", "Rescan", "folder_of", "is_gone"]

MOST_GONE, FEW = 0.5, 10  # share of a folder's tracks, from so many on
MOVED = 4  # times as many tracks are found elsewhere as nowhere
_ESCAPED = re.compile(r"\\udc[89a-f][0-9a-f]")  # bytes of a name that are no text: such a file cannot be looked up


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What has become of tracks that the store holds and that were not there to be embedded.

    Parameters
    ----------
    renamed : dict
        Former track_id -> track_id now; the embeddings are kept.
    gone : tuple of str
        Tracks whose file is gone.
    excluded : tuple of str
        Tracks that are not to be embedded any more.
    doubled : tuple of str
        Second names of files that the store holds under their present name as well.
    pruned : bool
        Whether all these, but the renamed ones, were taken out of the store.
    absent : dict
        Folder -> number of its tracks that are not there, where none is there, or where some were found in another
        folder and most nowhere: its disk is perhaps not mounted, and they are not among the gone ones.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    pruned: bool = False
    forgotten: tuple[str, ...] = ()
    absent: Mapping[str, int] = field(default_factory=dict)


class Lost:
    """Tracks whose file is gone, by its content, each to be claimed once, from any thread.

    Examples
    --------
    >>> lost = Lost({"a.wav": "12ab"})
    >>> lost.claim("12ab"), lost.claim("12ab")
    ('a.wav', None)
    """

    def __init__(self, sha256_of: Mapping[str, str]) -> None:
        self._ids: dict[str, list[str]] = defaultdict(list)
        for track_id, digest in sha256_of.items():
            self._ids[digest].append(track_id)
        self._lock = threading.Lock()

    def claim(self, audio_sha256: str) -> str | None:
        """The id of a lost track with this content, which from now on is not lost."""
        with self._lock:
            ids = self._ids.get(audio_sha256)
            return ids.pop() if ids else None


class Rescan:
    """Compares what a store holds with what was found now.

    Parameters
    ----------
    listing : Listing
        What was found.
    known : mapping
        The store's tracks by id.
    store
        Its name, for messages.
    exclude
        See :func:`~m2l2_mir.dataset.folder.find_audio`.
    prune
        Whether tracks are to be taken out of the store.
    forget
        Folders whose missing tracks are to be taken out, whatever they are missing for.

    Raises
    ------
    InputError
        A file is in the store under another id.
    """

    def __init__(
        self,
        listing: Listing,
        known: Mapping[str, KnownTrack],
        *,
        store: str | os.PathLike[str],
        exclude: Sequence[str] = (),
        prune: bool = False,
        forget: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        self._known, self._prune = known, prune
        self._places = {file.track_id: stored_path(file.path) for file in listing.files}
        self._folders = {folder_of(name, path) for name, path in self._places.items()}
        self._excluded = tuple(
            sorted(n for n, track in known.items() if matches(n, exclude) and _below(track.path, self._folders))
        )
        self._doubled, linked = self._second_names(listing, store)
        accounted = self._places.keys() | {*self._excluded, *self._doubled}
        failed = {name for name, _ in listing.failures}
        folders = self._folders | {folder_of(name, known[name].path) for name in self._places if name in known}
        forgotten = {stored_path(folder) for folder in forget}
        self._forgotten = {n for n, track in known.items() if _below(track.path, forgotten) and is_gone(track.path)}
        certain = self._forgotten | linked | _respelt(self._places, known, accounted)
        self._lost = [
            name
            for name, track in known.items()
            if name not in accounted
            and (name in certain or (not _inside(name, failed) and _is_lost(name, track, folders)))
        ]
        self.lost = Lost({name: known[name].audio_sha256 for name in self._lost if known[name].status == "ok"})
        """To be claimed by what reads the files."""

    def changes(self, places: Mapping[str, Mapping[str, Any]]) -> tuple[Changes, dict[str, dict[str, Any]]]:
        """What has become of the tracks, after all files were read.

        Parameters
        ----------
        places : mapping
            track_id in the store -> where its content was found, as
            :meth:`~m2l2_mir.embedding.writer.StoreWriter.relocate` takes it.

        Returns
        -------
        Changes
        dict
            Tracks that are gone from a folder that has moved -> where they would be now.
        """
        found = {name: place for name, place in places.items() if place["track_id"] == name}
        renamed = {name: str(place["track_id"]) for name, place in places.items() if place["track_id"] != name}
        left = [name for name in self._lost if name not in renamed]
        moved = self._moved(found, left)
        there = {folder_of(name, self._known[name].path) for name in self._known.keys() - left}
        gone, forgotten, elsewhere = [], [], {}
        missing: dict[str, list[str]] = defaultdict(list)
        absent = Counter[str]()
        for name in left:
            folder = folder_of(name, self._known[name].path)
            if name in self._forgotten:
                forgotten.append(name)
            elif self._known[name].status != "ok":  # holds nothing that could be lost
                gone.append(name)
            elif folder in moved:
                gone.append(name)
                elsewhere[name] = {"path": os.path.join(moved[folder], name)}
            elif folder in self._folders and folder in there and not _unmounted(self._known[name].path, folder):
                missing[folder].append(name)
            else:
                absent[folder] += 1
        held = Counter(folder_of(name, track.path) for name, track in self._known.items() if track.status == "ok")
        for folder, names in missing.items():
            if len(names) >= FEW and len(names) > MOST_GONE * held[folder]:
                absent[folder] += len(names)
            else:
                gone += names
        changes = Changes(
            renamed=renamed,
            gone=tuple(sorted(gone)),
            excluded=self._excluded,
            doubled=self._doubled,
            pruned=self._prune,
            forgotten=tuple(sorted(forgotten)),
            absent=dict(absent),
        )
        return changes, elsewhere

    def _moved(self, found: Mapping[str, Mapping[str, Any]], left: Sequence[str]) -> dict[str, str]:
        """Folders that are elsewhere now, by where they were."""
        votes: dict[str, Counter[str]] = defaultdict(Counter)
        for name, place in found.items():
            before, now = folder_of(name, self._known[name].path), folder_of(name, place["path"])
            if before not in self._folders:
                votes[before][now] += 1
        missing = Counter(folder_of(name, self._known[name].path) for name in left)
        best = {before: places.most_common(1)[0] for before, places in votes.items()}
        return {before: now for before, (now, count) in best.items() if count >= MOVED * missing[before]}

    def _second_names(self, listing: Listing, store: str | os.PathLike[str]) -> tuple[tuple[str, ...], set[str]]:
        """Tracks of the store whose file is listed under another id, where that may be mended; else refused.

        Returns those that the store holds under both names, and those renamed where a link keeps the former name.
        """
        folders: dict[str, str] = {}
        leaving = set(self._excluded) if self._prune else set()
        others = {
            real_place(track.path, folders): name
            for name, track in self._known.items()
            if track.status == "ok"
            and os.path.isabs(track.path)
            and self._places.get(name) != track.path
            and name not in leaving
        }
        doubled, linked = [], set()
        for file in listing.files:
            name = others.get(real_place(stored_path(file.path), folders), file.track_id)
            if name == file.track_id:
                continue
            known = self._known.get(file.track_id)
            twice = known is not None and known.path == self._places[file.track_id]
            if twice and self._prune:
                doubled.append(name)
                continue
            folder = folder_of(name, self._known[name].path)
            free = known is None and name not in self._places and name not in self._excluded
            if free and folder == folder_of(file.track_id, self._places[file.track_id]):
                linked.add(name)
                continue
            raise InputError(
                f"{self._places[file.track_id]} is in {os.fspath(store)} twice, as {name!r} and as {file.track_id!r}: "
                f"--prune takes {name!r} and its like out"
                if twice
                else f"{self._places[file.track_id]} is in {os.fspath(store)} already, as {name!r}, embedded from "
                f"{folder}, and would be there again as {file.track_id!r}: embed that folder again, or choose another "
                "--out"
            )
        return tuple(sorted(doubled)), linked


def _below(path: str, folders: Collection[str]) -> bool:
    """Whether a place is one of the folders or lies in one."""
    return path in folders or any(str(parent) in folders for parent in PurePath(path).parents)


def _inside(name: str, failed: Collection[str]) -> bool:
    """Whether a track, or a folder that it is in, could not be reached."""
    return name in failed or any(str(parent) in failed for parent in PurePosixPath(name).parents)


def _unmounted(path: str, folder: str) -> bool:
    """Whether the lowest folder above a missing file that is still there is empty, or a link that leads nowhere."""
    place = os.path.dirname(path)
    while not os.path.lexists(place) and place != folder and place != os.path.dirname(place):
        place = os.path.dirname(place)
    try:
        with os.scandir(place) as entries:
            return next(entries, None) is None
    except OSError:
        return True


def _respelt(places: Mapping[str, str], known: Mapping[str, KnownTrack], accounted: Collection[str]) -> set[str]:
    """Tracks whose file has another spelling now, where the file system finds it under the former one as well."""
    alike = {_one_spelling(name): name for name, track in known.items() if name not in accounted and track.path}
    found = {alike.get(_one_spelling(name)): path for name, path in places.items() if name not in known}
    return {name for name, path in found.items() if name is not None and _same_file(known[name].path, path)}


def _one_spelling(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _same_file(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):
        return False


def _is_lost(name: str, track: KnownTrack, folders: set[str]) -> bool:
    if not os.path.isabs(track.path):  # what could not be reached in a search has no place
        return track.status != "ok"
    return folder_of(name, track.path) in folders and is_gone(track.path)


def folder_of(track_id: str, path: str) -> str:
    """The folder that a track was embedded from.

    >>> folder_of("album/a.wav", "/music/album/a.wav"), folder_of("17", "/clips/x/ab.wav")
    ('/music', '/clips/x')
    """
    suffix = os.sep + track_id.replace("/", os.sep)
    return path.removesuffix(suffix) or os.sep if path.endswith(suffix) else os.path.dirname(path)


def is_gone(path: str) -> bool:
    """Whether there is certainly no file at the place that a store has of it."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return not _ESCAPED.search(path)
    except (OSError, ValueError):
        return False
    return False
