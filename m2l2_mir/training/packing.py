"""Audio files -> Opus in tar shards, to carry training data to another machine: about 20 MB an hour of mono.

Conventions
-----------
* A shard is a tar in the layout of WebDataset: ``KEY.opus`` and ``KEY.json`` (name, collection, licence, source, split,
  sha256 of the samples before encoding, duration in seconds), keys counting up. ``manifest.json`` says where in which
  shard each recording lies, so that nothing has to be unpacked.
* Opus knows 48 kHz but not 44.1 kHz: files are resampled to it, and resampled again when a corpus is built from them.
* The order is that of the names. What :mod:`~m2l2_mir.training.decoding` leaves out is left out here already.
* A shard is written whole, then named in the manifest: the same command goes on where it was stopped.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import joblib
import numpy as np
import soundfile

from m2l2_mir.durable import remove_unfinished, write_durably, write_json
from m2l2_mir.embedding.lock import WriterLock
from m2l2_mir.errors import CorpusError, InputError, StoreError
from m2l2_mir.training.building import decode_all
from m2l2_mir.training.corpus import digest_of
from m2l2_mir.training.decoding import LeftOut, decode
from m2l2_mir.training.recordings import (
    SHARDS_FILE,
    SHARDS_KIND,
    Recording,
    read_shards,
    recordings_of,
)

__all__ = ["OPUS_RATE", "pack"]

OPUS_RATE = 48_000
SHARDS_FORMAT = 1
_LOWEST_KBPS, _KBPS_RANGE = 6, 250  # libsndfile maps its compression level of 1 to 0 onto 6 to 256 kbit/s a channel
_TAR_BLOCK, _TAR_END = 512, 10_240
_WRITE_FRAMES = 1 << 16


@dataclass(frozen=True)
class _Encoded:
    opus: bytes
    sha256: str
    seconds: float


def pack(
    folder: Path,
    out: Path,
    *,
    shard_mb: float = 50.0,
    kbps: float = 48.0,
    channels: int = 1,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Pack a folder of audio into shards, or go on with it.

    Parameters
    ----------
    folder
        With audio files; its sub-folders are the collections.
    out
        Folder for the shards; made if need be.
    shard_mb
        Size of a shard in MB (10^6 bytes) at most.
    kbps
        Bit rate in kbit/s a channel, on average.
    channels
        1 for the mean of all channels, 2 for stereo.
    jobs
        Threads; default: the cores this process may use.
    progress
        Called as ``progress(done, total)``, counting recordings.

    Returns
    -------
    dict
        The manifest: ``shards``, each with its ``recordings``, and ``skipped``.

    Raises
    ------
    InputError
        An argument is out of range, or `out` holds shards of other files or settings.
    CorpusError
        Nothing can be packed, `out` cannot be written, or another process is packing into it.
    """
    if not _LOWEST_KBPS <= kbps <= _LOWEST_KBPS + _KBPS_RANGE or channels not in (1, 2) or not shard_mb > 0:
        raise InputError(
            f"kbps {kbps:g}, channels {channels} and shard_mb {shard_mb:g} must be "
            f"{_LOWEST_KBPS} to {_LOWEST_KBPS + _KBPS_RANGE}, 1 or 2, and above 0"
        )
    listing = recordings_of([folder])
    with ThreadPoolExecutor(jobs or joblib.cpu_count()) as threads:
        identities = list(threads.map(lambda recording: recording.identity(), listing.found))
    settings = {"channels": channels, "kbps": kbps, "shard_mb": shard_mb}
    named = [[recording.name, identity] for recording, identity in zip(listing.found, identities, strict=True)]
    manifest: dict[str, Any] = {
        "kind": SHARDS_KIND,
        "format": SHARDS_FORMAT,
        "sample_rate": OPUS_RATE,
        **settings,
        "inputs": digest_of({"recordings": named, **settings}),
        "consumed": 0,
        "shards": [],
        "skipped": [{"name": name, "kind": "failed", "reason": reason} for name, reason in listing.failures],
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(out)
    except StoreError as error:
        raise CorpusError(f"{out} is being written by another process; wait for it to end") from error
    except OSError as error:
        raise CorpusError(f"cannot write to {out}: {error.strerror}; choose another folder") from error
    try:
        if begun := read_shards(out):
            if begun.get("inputs") != manifest["inputs"]:
                raise InputError(f"{out} holds shards of other files or settings; give another folder, or delete it")
            manifest = begun
        remove_unfinished(out)
        _Packer(out, manifest).run(listing.found, jobs, progress)
    except OSError as error:
        if isinstance(error, CorpusError):
            raise
        raise CorpusError(f"cannot write to {out}: {error.strerror or error}; make room and go on") from error
    finally:
        lock.release()
    return manifest


class _Packer:
    def __init__(self, out: Path, manifest: dict[str, Any]) -> None:
        self._out, self._manifest = out, manifest
        self._limit = int(manifest["shard_mb"] * 1e6)
        self._seen = {entry["sha256"]: entry["name"] for shard in manifest["shards"] for entry in shard["recordings"]}
        self._members: list[tuple[dict[str, Any], bytes, bytes]] = []  # of the shard that is being filled
        self._skipped: list[dict[str, str]] = []  # since the last shard
        self._size = _TAR_END

    def run(
        self, recordings: Sequence[Recording], jobs: int | None, progress: Callable[[int, int], None] | None
    ) -> None:
        """Pack what is not in the manifest yet."""
        consumed = self._manifest["consumed"]
        if consumed == len(recordings) and self._manifest["shards"]:
            return

        def told(done: int, total: int) -> None:
            if progress:
                progress(consumed + done, consumed + total)

        results = decode_all(recordings[consumed:], self._encode, jobs=jobs, progress=told)
        for index, (recording, result) in enumerate(results, start=consumed):
            if isinstance(result, _Encoded):
                if result.sha256 in self._seen:
                    result = LeftOut(f"the same samples as {self._seen[result.sha256]}")
                elif (size := _TAR_END + self._footprint(recording, result)) > self._limit:
                    result = LeftOut(f"{size / 1e6:.1f} MB packed; give a larger --shard-mb, or cut it")
                else:
                    self._add(recording, result, index)
                    continue
            kind = "left out" if isinstance(result, LeftOut) else "failed"
            self._skipped.append({"name": recording.name, "kind": kind, "reason": str(result)})
        self._flush(len(recordings))
        if not self._manifest["shards"]:
            reasons = self._manifest["skipped"]
            why = f"; the first of {len(reasons)}: {reasons[0]['name']}: {reasons[0]['reason']}" if reasons else ""
            raise CorpusError(f"no recording to pack was found{why}")

    def _encode(self, recording: Recording) -> _Encoded:
        channels = self._manifest["channels"]
        decoded = decode(recording, sample_rate=OPUS_RATE, channels=channels, scratch=self._out)
        level = 1 - (self._manifest["kbps"] - _LOWEST_KBPS) / _KBPS_RANGE
        with decoded.file, io.BytesIO() as opus:
            with soundfile.SoundFile(
                opus, "w", OPUS_RATE, channels, "OPUS", format="OGG", compression_level=level
            ) as file:
                while data := decoded.file.read(_WRITE_FRAMES * channels * 2):
                    file.write(np.frombuffer(data, "<i2").reshape(-1, channels))
            return _Encoded(opus.getvalue(), decoded.sha256, decoded.samples / OPUS_RATE)

    def _describe(self, recording: Recording, encoded: _Encoded) -> dict[str, Any]:
        return {
            "name": recording.name,
            "collection": recording.collection,
            "licence": recording.facts.licence,
            "source": recording.facts.source,
            "split": recording.facts.split,
            "sha256": encoded.sha256,
            "duration": round(encoded.seconds, 6),
        }

    def _footprint(self, recording: Recording, encoded: _Encoded) -> int:
        """Bytes that a recording takes up in a tar."""
        sizes = len(encoded.opus), len(_json(self._describe(recording, encoded)))
        return sum(_TAR_BLOCK + size + -size % _TAR_BLOCK for size in sizes)

    def _add(self, recording: Recording, encoded: _Encoded, index: int) -> None:
        if self._size + self._footprint(recording, encoded) > self._limit:
            self._flush(index)
        self._seen[encoded.sha256] = recording.name
        described = self._describe(recording, encoded)
        self._members.append((described, encoded.opus, _json(described)))
        self._size += self._footprint(recording, encoded)

    def _flush(self, consumed: int) -> None:
        """Write the shard that is being filled, and note that the first `consumed` recordings are done."""
        if self._members:
            shards = self._manifest["shards"]
            name = f"shard-{len(shards):06d}.tar"
            first = sum(len(shard["recordings"]) for shard in shards)
            entries: list[dict[str, Any]] = []
            write_durably(self._out / name, partial(self._write, first=first, entries=entries))
            shards.append({"file": name, "size": (self._out / name).stat().st_size, "recordings": entries})
        self._manifest["skipped"] += self._skipped
        self._manifest["consumed"] = consumed
        self._members, self._skipped, self._size = [], [], _TAR_END
        write_json(self._out / SHARDS_FILE, self._manifest)

    def _write(self, file: IO[bytes], first: int, entries: list[dict[str, Any]]) -> None:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for number, (described, opus, text) in enumerate(self._members, start=first):
                key = f"{number:08d}"
                place = {"key": key, "offset": file.tell() + _TAR_BLOCK, "size": len(opus)}
                entries.append({**described, **place, "packed_sha256": hashlib.sha256(opus).hexdigest()})
                for extension, content in (("opus", opus), ("json", text)):
                    member = tarfile.TarInfo(f"{key}.{extension}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode()
