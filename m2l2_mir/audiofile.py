"""Opening audio files: one small interface over libsndfile and, for what that cannot open, FFmpeg.

:mod:`m2l2_mir.audio` is the public face; this module knows the decoders and their quirks.

Conventions
-----------
- A *frame* is one sample of every channel; positions are frames at the file's own rate.
- Blocks are ``float32 [frames, channels]``, freshly allocated, at most ``size`` frames long.
- libsndfile is tried first. FFmpeg (package ``av``, extra ``m4a``) is imported only when it is needed.
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from m2l2_mir.errors import AudioError

# fmt: off
AUDIO_EXTENSIONS: frozenset[str] = frozenset([
    ".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff",
    ".aifc", ".au", ".snd", ".caf", ".m4a", ".m4b", ".mp4", ".aac", ".wma", ".webm", ".mka", ".wv", ".ape",
])
# fmt: on
"""Lower-case extensions, with the dot, by which a folder is searched for audio."""

INSTALL_FFMPEG = 'pip install "m2l2-mir[m4a]"'

_PLAUSIBLE_RATES = range(1_000, 3_000_001)
# libsndfile gives 2**63 - 1 for "unknown"; the pretended end of _EndlessFile leads to more than this too.
_UNKNOWN_FRAMES = 1 << 38
# Only containers that hold their own sound: a playlist (HLS, concat) could name other files or hosts.
_FFMPEG_FORMATS = "mov,aac,asf,matroska,ogg,wav,w64,aiff,au,caf,flac,mp3,ape,wv,tta,mpc,mpc8,ac3,eac3,amr,avi,flv"


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """What a file says about its sound, before any of it is decoded.

    Parameters
    ----------
    sample_rate
        Frames per second.
    channels
        Number of channels.
    duration
        Seconds, from the header; nan where the header does not tell (an MP3 without a frame count).
    """

    sample_rate: int
    channels: int
    duration: float


class Source(Protocol):
    """An open file. ``frames`` is the announced length, None if unknown; ``position`` the next frame."""

    sample_rate: int
    channels: int
    frames: int | None
    position: int

    def blocks(self, first: int, count: int, size: int) -> Iterator[NDArray[np.float32]]:
        """Yield frames ``first .. first + count`` (fewer at the end of the file), ``[<= size, channels]``."""
        ...


def printable(path: str | os.PathLike[str]) -> str:
    r"""Return a path as text that can always be printed and encoded.

    Bytes of a file name that are not valid UTF-8 are shown as ``\xff``.

    >>> printable("a b\udcff.wav")
    'a b\\xff.wav'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open ``path`` with the first decoder that can, and close it afterwards.

    Raises
    ------
    AudioError
        The file is missing, unreadable, a folder, empty, or no decoder recognises it.
    """
    _check_file(path)
    with ExitStack() as stack:
        try:
            source: Source = _SoundFileSource(path, stack)
        except soundfile.LibsndfileError as failure:
            source = _open_with_ffmpeg(path, stack, failure.error_string.rstrip("."))
        if source.sample_rate not in _PLAUSIBLE_RATES or source.channels < 1:
            raise AudioError(
                f"{printable(path)}: its header claims {source.channels} channels at "
                f"{source.sample_rate} Hz; it is damaged, replace the file"
            )
        yield source


def info_of(source: Source) -> AudioInfo:
    """Return what the header of an open file says."""
    duration = math.nan if source.frames is None else source.frames / source.sample_rate
    return AudioInfo(sample_rate=source.sample_rate, channels=source.channels, duration=duration)


def _check_file(path: Path) -> None:
    """Raise AudioError for what is no readable, non-empty, regular file: clearer than a decoder's words."""
    try:
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode):
            os.close(os.open(path, os.O_RDONLY))
    except FileNotFoundError:
        raise AudioError(f"{printable(path)}: no such file; check the path") from None
    except PermissionError:
        raise AudioError(f"{printable(path)}: permission denied; make it readable (chmod +r)") from None
    except OSError as error:
        raise AudioError(f"{printable(path)}: cannot be opened: {error.strerror}") from error
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"{printable(path)}: is a folder, not an audio file; name a file inside it")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(f"{printable(path)}: is not a regular file; copy its contents to one first")
    if status.st_size == 0:
        raise AudioError(f"{printable(path)}: is empty (0 bytes); copy or download it again")


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile ships no type information
    """A SoundFile that reads straight on.

    SoundFile seeks to where it already is after each read of a seekable file. In an MP3 of variable bit
    rate that lands elsewhere, and whole blocks come out wrong; so it is told that it cannot seek.
    """

    def seekable(self) -> bool:
        return False

    @property
    def seeks_exactly(self) -> bool:
        # MP3 is sought by a coarse table of byte positions; all others land on the very frame.
        return bool(super().seekable()) and self.format != "MP3"


class _EndlessFile(io.FileIO):
    """A file that claims to be a terabyte longer than it is, when asked for its end.

    Without a frame count in its header, the length of an MP3 is guessed from the bit rate of the first
    frame, and libsndfile stops there even when the music goes on (a quarter of the way, for a quiet
    start at variable bit rate). With the end out of reach it reads what there is.
    """

    _at_end = False

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at_end = whence == os.SEEK_END and offset == 0
        return super().seek(offset, whence)

    def tell(self) -> int:
        return super().tell() + (1 << 40 if self._at_end else 0)


class _SoundFileSource:
    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._path = path
        self._file = _open_sequential(path, stack)
        if self._file.format == "MP3" and not _counts_frames(path):
            self._file = stack.enter_context(_Sequential(stack.enter_context(_EndlessFile(path))))
        self.sample_rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        frames = int(self._file.frames)
        self.frames = frames if frames < _UNKNOWN_FRAMES else None
        self.position = 0

    def blocks(self, first: int, count: int, size: int) -> Iterator[NDArray[np.float32]]:
        end = min(first + count, sys.maxsize)
        if first > 0 and self._file.seeks_exactly:
            try:
                self.position = int(self._file.seek(first))
            except soundfile.LibsndfileError as error:
                raise self._broken(first, error) from error
        while self.position < end:
            target = end if self.position >= first else first
            block = np.empty((min(size, target - self.position), self.channels), np.float32)
            start, failure = self.position, None
            try:
                self._file.read(out=block)
            except soundfile.LibsndfileError as error:
                failure = error
            self.position = int(self._file.tell())  # exact after a failure too: what precedes it is sound
            block = block[: self.position - start]
            if start >= first and len(block):
                yield block
            if failure is not None:
                raise self._broken(self.position, failure) from failure
            if not len(block):
                return

    def _broken(self, frame: int, error: soundfile.LibsndfileError) -> AudioError:
        seconds = frame / self.sample_rate
        reason = error.error_string.removeprefix("Error : ").rstrip(".")
        return AudioError(
            f"{printable(self._path)}: cannot be decoded from {seconds:.2f} s on ({reason}); "
            f"the file is damaged or cut off: replace it, or use only the excerpt before that"
        )


def _open_sequential(path: Path, stack: ExitStack) -> _Sequential:
    # By descriptor, so that the name (a .raw extension, bytes that are no UTF-8) plays no part. The file is
    # closed here and not by libsndfile, whose habits on failure differ between versions.
    file = stack.enter_context(io.FileIO(path))
    try:
        opened = _Sequential(file.fileno(), closefd=False)
    except soundfile.LibsndfileError:
        # libsndfile believes in an MP3 that begins with junk only because of its name.
        if path.suffix.lower() not in {".mp3", ".mp2"}:
            raise
        with open(path, "rb") as again:
            if not re.search(rb"\xff[\xe2-\xff]", again.read(1 << 16)):
                raise
        opened = _Sequential(os.fsencode(path))
    stack.enter_context(opened)
    return opened


def _counts_frames(path: Path) -> bool:
    """Whether an MP3 has a Xing or Info header with the number of its frames."""
    with open(path, "rb") as file:
        head = file.read(10)
        skip = 0
        if head[:3] == b"ID3" and len(head) == 10:
            for byte in head[6:]:  # the size of the tag, 7 bits per byte
                skip = skip << 7 | byte & 0x7F
            skip += len(head)
        file.seek(skip)
        first = file.read(4096)
    tag = re.search(rb"(?:Xing|Info)\x00\x00\x00(.)", first, re.DOTALL)
    return tag is not None and bool(tag[1][0] & 1)


def _open_with_ffmpeg(path: Path, stack: ExitStack, reason: str) -> Source:
    try:
        import av
    except ImportError:
        raise AudioError(
            f"{printable(path)}: cannot be read as audio ({reason}); if it is m4a, aac, wma or webm: {INSTALL_FFMPEG}"
        ) from None
    try:
        return _FFmpegSource(av, path, stack)
    except (av.FFmpegError, ValueError) as error:
        raise AudioError(
            f"{printable(path)}: cannot be read as audio ({reason}), neither by libsndfile nor by FFmpeg; "
            "the file is damaged or of another kind than its name says"
        ) from error


class _FFmpegSource:
    """Decodes from the start and discards up to the excerpt: seeking in compressed streams is not exact."""

    def __init__(self, av: Any, path: Path, stack: ExitStack) -> None:
        self._av, self._path = av, path
        options = {"protocol_whitelist": "file", "format_whitelist": _FFMPEG_FORMATS}
        # "file:" keeps a name such as "http:x" a name.
        container = stack.enter_context(av.open(f"file:{os.fspath(path)}", options=options))
        if not container.streams.audio:
            raise AudioError(f"{printable(path)}: holds no audio track; name a file with sound")
        track = container.streams.audio[0]
        self._frames = container.decode(track)
        self._first: Any = next(self._frames, None)
        if self._first is None:
            raise AudioError(f"{printable(path)}: holds no samples; check how it was made")
        # From a decoded frame: the header of HE-AAC gives half the true rate.
        self.sample_rate = int(self._first.sample_rate)
        self.channels = int(self._first.layout.nb_channels)
        seconds = (container.duration or 0) / av.time_base
        if track.duration:
            seconds = float(track.duration * track.time_base)
        self.frames = round(seconds * self.sample_rate) or None
        self.position = 0

    def blocks(self, first: int, count: int, size: int) -> Iterator[NDArray[np.float32]]:
        end, pending, held = first + count, [], 0
        for piece in self._pieces():
            start, self.position = self.position, self.position + len(piece)
            piece = piece[max(first - start, 0) : max(end - start, 0)]
            pending.append(piece)
            held += len(piece)
            if held >= size or self.position >= end:
                joined, pending, held = np.concatenate(pending), [], 0
                yield from (joined[i : i + size] for i in range(0, len(joined), size))
            if self.position >= end:
                self.position = end
                return
        if held:
            yield np.concatenate(pending)

    def _pieces(self) -> Iterator[NDArray[np.float32]]:
        convert = self._av.AudioResampler(format="fltp", layout=self._first.layout, rate=self.sample_rate)
        frame = self._first
        try:
            while frame is not None:
                for converted in convert.resample(frame):
                    yield converted.to_ndarray().T
                frame = next(self._frames, None)
        except (self._av.FFmpegError, ValueError) as error:
            seconds = self.position / self.sample_rate
            raise AudioError(
                f"{printable(self._path)}: cannot be decoded from {seconds:.2f} s on ({error}); "
                "the file is damaged or cut off: replace it, or use only the excerpt before that"
            ) from error
