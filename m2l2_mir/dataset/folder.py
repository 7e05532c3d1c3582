"""Audio files under the paths given on a command line.

Conventions
-----------
- A folder is searched to the bottom for :data:`~m2l2_mir.audio.AUDIO_EXTENSIONS`, in either case.
- A track is called by its POSIX path relative to the folder argument under which it was found, so the
  same library gets the same names wherever it is mounted. A file argument is called by its own name.
- Names are kept as they are on disk; no Unicode normal form is forced on them.
- What cannot be reached is listed with a reason and does not stop the rest.
- What is excluded is passed over, see :func:`matches`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from m2l2_mir.audiofile import AUDIO_EXTENSIONS, printable
from m2l2_mir.errors import InputError


@dataclass(frozen=True, kw_only=True)
class AudioFile:
    """A file to be read as audio.

    Parameters
    ----------
    track_id
        Its name in a store: a POSIX path relative to the folder it was found under.
    path
        Where it lies.
    """

    track_id: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a search has found.

    Parameters
    ----------
    files
        Audio files; those of one folder sorted by ``track_id``, the arguments in the order given.
    passed_over
        Number of files seen and not taken: those without an audio extension, hidden and excluded ones. Hidden
        and excluded folders are not looked into and not counted.
    failures
        ``(name, reason)`` of everything that could not be reached.
    """

    files: tuple[AudioFile, ...]
    passed_over: int
    failures: tuple[tuple[str, str], ...]


def find_audio(paths: Iterable[str | os.PathLike[str]], exclude: Sequence[str] = ()) -> Listing:
    """List the audio files among files and under folders.

    A folder is searched recursively. Hidden entries (leading dot) are passed over. Links to files are
    taken under their own name; links to folders are followed, each real folder being visited once per
    argument, under its real name if it has one there. A file that is named explicitly is always taken,
    whatever its extension, unless it is excluded.

    Parameters
    ----------
    paths
        Files and folders.
    exclude
        What to pass over, as patterns of names: see :func:`matches`.

    Returns
    -------
    Listing
        A broken link, an unreadable folder or a name that is not valid UTF-8 is among its ``failures``.

    Raises
    ------
    InputError
        A path does not exist, two different files would have the same ``track_id``, or one file would have two.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ["b.wav", "a.FLAC", "cover.jpg"]:
    ...         Path(folder, name).touch()
    ...     listing = find_audio([folder])
    >>> [file.track_id for file in listing.files], listing.passed_over
    (['a.FLAC', 'b.wav'], 1)
    """
    files: dict[str, AudioFile] = {}
    named: dict[str, AudioFile] = {}  # by place
    folders: dict[str, str] = {}
    passed_over = 0
    failures: dict[tuple[str, str], None] = {}  # the same argument given twice fails once
    for given in paths:
        path, search = os.fspath(given), _Search(exclude)
        if not os.path.lexists(path):
            raise InputError(f"{printable(path)!r} does not exist; check the path")
        if not _is_valid(path):
            search.fail(path, _BAD_NAME)
        elif os.path.isdir(path):
            search.folder(path)
        elif matches(os.path.basename(path), exclude):
            search.passed_over += 1
        elif os.path.exists(path):
            search.files.append(AudioFile(track_id=os.path.basename(path), path=Path(path)))
        else:
            search.fail(path, _BROKEN_LINK)
        for file in search.files:
            _refuse_namesake(files.setdefault(file.track_id, file), file)
            _refuse_second_name(named.setdefault(real_place(os.path.abspath(file.path), folders), file), file)
        passed_over += search.passed_over
        failures |= dict.fromkeys(search.failures)
    return Listing(files=tuple(files.values()), passed_over=passed_over, failures=tuple(failures))


def matches(track_id: str, patterns: Sequence[str]) -> bool:
    """Whether a track, or a folder that it is in, is meant by one of the patterns.

    As in a shell, ``*`` stands for anything, ``?`` for a character and ``[ab]`` for a or b, in the case given; ``*``
    goes across folders.

    >>> [matches("talk/2024/a.mp3", [one]) for one in ("talk", "talk/*", "*.mp3", "*/2024", "2024", "a.mp3")]
    [True, True, True, True, False, False]
    """
    if not patterns:
        return False
    names = [track_id, *map(str, PurePosixPath(track_id).parents)]
    return any(fnmatchcase(name, pattern.rstrip("/")) for pattern in patterns for name in names if name != ".")


def real_place(path: str, folders: dict[str, str]) -> str:
    """An absolute path with all links to folders followed; `folders` remembers them. A link to a file has its own."""
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    return os.path.join(folders[folder], name)


_BAD_NAME = "its name is not valid UTF-8; rename it"
_BROKEN_LINK = "a link to something that does not exist; remove or mend it"


@dataclass
class _Search:
    exclude: Sequence[str] = ()
    files: list[AudioFile] = field(default_factory=list)
    passed_over: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)

    def fail(self, name: str, reason: str) -> None:
        self.failures.append((printable(name), reason))

    def folder(self, root: str) -> None:
        visited: set[str] = set()
        # Links wait until all real folders have been seen, so that a real name wins over a link's.
        waiting = deque([(root, "")])
        while waiting:
            folder, prefix = waiting.popleft()
            real = os.path.realpath(folder)
            if real in visited:
                continue
            visited.add(real)
            for entry in self._entries(folder, prefix):
                inside = (entry.path, f"{prefix}{entry.name}/")
                if self._entry(entry, f"{prefix}{entry.name}"):
                    (waiting.append if entry.is_symlink() else waiting.appendleft)(inside)
        self.files.sort(key=lambda file: file.track_id)

    def _entries(self, folder: str, prefix: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.fail(prefix.rstrip("/") or folder, f"the folder cannot be read: {error.strerror}")
            return []

    def _entry(self, entry: os.DirEntry[str], name: str) -> bool:
        """Take, pass over or list as failed one entry; True for a folder to be searched."""
        hidden = entry.name.startswith(".") or matches(name, self.exclude)
        try:
            if entry.is_dir():
                if not hidden and not _is_valid(entry.name):
                    self.fail(name, _BAD_NAME)
                    return False
                return not hidden
            if hidden:
                self.passed_over += 1
            elif not os.path.exists(entry.path):
                self.fail(name, _BROKEN_LINK)
            elif not entry.is_file() or os.path.splitext(entry.name)[1].lower() not in AUDIO_EXTENSIONS:
                self.passed_over += 1
            elif not _is_valid(entry.name):
                self.fail(name, _BAD_NAME)
            else:
                self.files.append(AudioFile(track_id=name, path=Path(entry.path)))
        except OSError as error:  # a link in a circle, a file system that went away
            self.fail(name, f"cannot be reached: {error.strerror}")
        return False


def _is_valid(name: str) -> bool:
    """Whether a name can be written in UTF-8: Python marks undecodable bytes with lone surrogates."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _refuse_namesake(known: AudioFile, new: AudioFile) -> None:
    first, second = os.path.realpath(known.path), os.path.realpath(new.path)
    if first != second:
        parent = os.path.commonpath([os.path.abspath(known.path.parent), os.path.abspath(new.path.parent)])
        raise InputError(
            f"two files would both be called {new.track_id!r}: {str(known.path)!r} and {str(new.path)!r}; "
            f"give their common folder {parent!r} instead"
        )


def _refuse_second_name(known: AudioFile, new: AudioFile) -> None:
    if known.track_id != new.track_id:
        raise InputError(
            f"{str(new.path)!r} would be called {known.track_id!r} and {new.track_id!r}: one of the folders given lies "
            "in the other; leave it out"
        )
