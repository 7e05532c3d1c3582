"""What a corpus is made from: audio files in folders, and recordings in packed shards.

Conventions
-----------
* A *collection* is what is kept together when data is held out: a package, an album, an artist. It is the first folder
  below the one that is given; files at its top belong to a collection called like that folder.
* A recording is called ``COLLECTION/PATH``, the same wherever the folder lies.
* A folder may hold ``collections.json``, which says of each collection its licence, its source and the bandwidth below
  which a recording is left out; so may a collection, of itself. ``m2l2 corpus fetch`` writes it; without it a licence
  is "unknown".
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from m2l2_mir.audio import stream
from m2l2_mir.dataset.folder import find_audio
from m2l2_mir.durable import write_json
from m2l2_mir.errors import AudioError, CorpusError, InputError
from m2l2_mir.recipe import from_mapping
from m2l2_mir.waveform import map_channels, resampled

__all__ = [
    "COLLECTIONS_FILE",
    "SHARDS_FILE",
    "SHARDS_KIND",
    "Collection",
    "FileRecording",
    "PackedRecording",
    "Recording",
    "Recordings",
    "read_collections",
    "read_shards",
    "recordings_of",
    "write_collections",
]

COLLECTIONS_FILE = "collections.json"
SHARDS_FILE, SHARDS_KIND = "manifest.json", "m2l2 shards"
_BLOCK_FRAMES = 1 << 19


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Facts about one collection.

    Parameters
    ----------
    licence
        As its authors state it.
    source
        Where it came from, with the version.
    split
        "train", "validation" or "test", as its list recommends; "" where there is no recommendation.
    min_bandwidth
        Hz; a recording with nothing above it is left out. 0 keeps all.
    """

    licence: str = "unknown"
    source: str = ""
    split: str = ""
    min_bandwidth: float = 0.0


class Recording(Protocol):
    """One recording, not decoded yet."""

    @property
    def name(self) -> str:
        """``COLLECTION/PATH``."""
        ...

    @property
    def collection(self) -> str:
        """Where it belongs."""
        ...

    @property
    def facts(self) -> Collection:
        """What is known of its collection."""
        ...

    def identity(self) -> str:
        """Hash of the bytes it is decoded from."""
        ...

    def blocks(self, sample_rate: int, channels: int) -> Iterator[NDArray[np.float32]]:
        """Decode it block by block, ``[channels, samples]``; AudioError if it cannot be decoded to its end."""
        ...


@dataclass(frozen=True, kw_only=True)
class FileRecording:
    """An audio file."""

    name: str
    collection: str
    path: Path
    facts: Collection = Collection()

    def identity(self) -> str:
        """See :class:`Recording`."""
        try:
            with open(self.path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:  # told again, with the reason, when it is decoded
            return f"unreadable: {error.strerror}"

    def blocks(self, sample_rate: int, channels: int) -> Iterator[NDArray[np.float32]]:
        """See :class:`Recording`."""
        return stream(self.path, sample_rate=sample_rate, channels=channels)


@dataclass(frozen=True, kw_only=True)
class PackedRecording:
    """An Ogg Opus file inside a shard; its bytes are read from the tar without unpacking that."""

    name: str
    collection: str
    shard: Path
    offset: int
    size: int
    packed_sha256: str
    facts: Collection = Collection()

    def identity(self) -> str:
        """See :class:`Recording`."""
        return self.packed_sha256

    def blocks(self, sample_rate: int, channels: int) -> Iterator[NDArray[np.float32]]:
        """See :class:`Recording`."""
        try:
            with open(self.shard, "rb") as shard:
                shard.seek(self.offset)
                packed = shard.read(self.size)
        except OSError as error:
            raise AudioError(f"{self.shard}: cannot be read: {error.strerror}; copy the shard again") from error
        if hashlib.sha256(packed).hexdigest() != self.packed_sha256:
            raise AudioError(f"{self.name}: its bytes in {self.shard.name} are damaged; copy the shard again")
        try:
            with soundfile.SoundFile(io.BytesIO(packed)) as file:
                between = channels if file.channels == channels else 1
                decoded = file.blocks(_BLOCK_FRAMES, dtype="float32", always_2d=True)
                mixed = (map_channels(block.T, between) for block in decoded)
                for block in resampled(mixed, between, file.samplerate, sample_rate):
                    yield np.ascontiguousarray(map_channels(block, channels), np.float32)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{self.name}: cannot be decoded ({error.error_string}); pack it again") from error


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """What was found: recordings in a fixed order, and ``(name, reason)`` of what could not be reached."""

    found: tuple[Recording, ...]
    failures: tuple[tuple[str, str], ...]


def recordings_of(folders: Iterable[Path]) -> Recordings:
    """List the recordings of folders of audio and of folders of shards, sorted by name within each folder.

    Parameters
    ----------
    folders
        A folder with a ``manifest.json`` of shards is read as that, any other is searched for audio files.

    Returns
    -------
    Recordings

    Raises
    ------
    InputError
        A folder does not exist, or two recordings would have the same name.
    CorpusError
        A ``collections.json`` or the manifest of shards cannot be used.
    """
    found: dict[str, Recording] = {}
    failures: list[tuple[str, str]] = []
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder; give one with audio files or packed shards in it")
        shards = read_shards(folder)
        if shards is not None:
            inside: Sequence[Recording] = _packed(folder, shards)
        else:
            inside, unreachable = _files(folder)
            failures += unreachable
        for recording in inside:
            if recording.name in found:
                raise InputError(
                    f"two recordings would both be called {recording.name!r}, the second below {folder}; "
                    "rename one of their folders"
                )
            found[recording.name] = recording
    return Recordings(found=tuple(found.values()), failures=tuple(failures))


def read_collections(folder: Path) -> dict[str, Collection]:
    """Read what a folder says about its collections; nothing if it has no ``collections.json``.

    A collection that was made as a folder of its own, as renders are, says of itself what the folder does not.

    Raises
    ------
    CorpusError
        A file is damaged.
    """
    found: dict[str, Collection] = {}
    for path in sorted(folder.glob(f"*/{COLLECTIONS_FILE}")):
        found |= {name: facts for name, facts in _collections(path).items() if name == path.parent.name}
    return found | _collections(folder / COLLECTIONS_FILE)


def _collections(path: Path) -> dict[str, Collection]:
    values = _read_json(path)
    try:
        return {name: from_mapping(Collection, facts, source=str(path)) for name, facts in values.items()}
    except (AttributeError, ValueError) as error:
        raise CorpusError(f"{path} is no table of collections: {error}; mend or delete it") from error


def write_collections(folder: Path, collections: dict[str, Collection]) -> None:
    """Say what the collections of a folder are."""
    write_json(folder / COLLECTIONS_FILE, {name: asdict(facts) for name, facts in sorted(collections.items())})


def read_shards(folder: Path) -> dict[str, Any] | None:
    """Read the manifest of packed shards; None if the folder holds none.

    Raises
    ------
    CorpusError
        The manifest is damaged.
    """
    values = _read_json(folder / SHARDS_FILE)
    return values if values.get("kind") == SHARDS_KIND else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read: {error}; mend or delete it") from error
    return values if isinstance(values, dict) else {}


def _files(folder: Path) -> tuple[list[Recording], list[tuple[str, str]]]:
    listing = find_audio([folder])
    facts = read_collections(folder)
    recordings: list[Recording] = []
    for file in listing.files:
        collection, slash, _ = file.track_id.partition("/")
        if not slash:
            collection = folder.resolve().name
        recordings.append(
            FileRecording(
                name=file.track_id if slash else f"{collection}/{file.track_id}",
                collection=collection,
                path=file.path,
                facts=facts.get(collection, Collection()),
            )
        )
    return recordings, list(listing.failures)


def _packed(folder: Path, manifest: dict[str, Any]) -> list[Recording]:
    try:
        return [
            PackedRecording(
                name=entry["name"],
                collection=entry["collection"],
                # the bandwidth was looked at when it was packed
                facts=Collection(licence=entry["licence"], source=entry["source"], split=entry["split"]),
                shard=folder / shard["file"],
                offset=entry["offset"],
                size=entry["size"],
                packed_sha256=entry["packed_sha256"],
            )
            for shard in manifest["shards"]
            for entry in shard["recordings"]
        ]
    except (KeyError, TypeError) as error:
        raise CorpusError(f"{folder / SHARDS_FILE} lacks {error}; copy the shards again or pack them anew") from error
