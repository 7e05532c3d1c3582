"""Audio files written: blocks in, a whole file under its name or none.

WAV, FLAC, AIFF and their kin get 24 bits; ogg, opus and mp3 their usual quality.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from m2l2_mir.audiofile import printable
from m2l2_mir.errors import AudioError, InputError

__all__ = ["check_format", "write_blocks"]

_WRITE_BLOCK = 1 << 16
_FORMATS = {
    ".wave": "WAV",
    ".oga": "OGG",
    ".opus": "OGG",
    ".aif": "AIFF",
    ".aifc": "AIFF",
    ".snd": "AU",
}


def write_blocks(path: Path, blocks: Iterable[NDArray[np.floating]], sample_rate: int, channels: int) -> int:
    """Write a waveform that comes in blocks [channels, samples], in the format that the extension names.

    Returns
    -------
    int
        Values beyond full scale, -1 to 1, which were clipped.

    Raises
    ------
    InputError
        The extension names no format that can be written, or the format does not take this rate or number of channels.
    AudioError
        The file cannot be written.
    """
    file_format, subtype = _format_of(path)
    aside = path.with_name(f".{secrets.token_hex(8)}.part")
    clipped = 0
    try:
        with (
            open(aside, "xb") as file,
            soundfile.SoundFile(
                file.fileno(), "w", sample_rate, channels, subtype, format=file_format, closefd=False
            ) as writer,
        ):
            for block in blocks:
                clipped += int(np.count_nonzero(np.abs(block) > 1))
                _write(writer, block)
        os.replace(aside, path)
    except soundfile.LibsndfileError as error:
        raise _cannot_hold(path, channels, sample_rate, file_format, error) from error
    except OSError as error:
        raise AudioError(f"{printable(path)}: cannot be written: {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)
    return clipped


def check_format(path: Path, sample_rate: int) -> None:
    """Open a file of this format and rate in memory, so that it is known before anything is worked out.

    Raises
    ------
    InputError
        The extension names no format that can be written, or the format does not take the rate.
    """
    file_format, subtype = _format_of(path)
    try:
        soundfile.SoundFile(io.BytesIO(), "w", sample_rate, 1, subtype, format=file_format).close()
    except soundfile.LibsndfileError as error:
        raise _cannot_hold(path, 1, sample_rate, file_format, error) from error


def _write(writer: soundfile.SoundFile, block: NDArray[np.floating]) -> None:
    # In pieces: the Vorbis encoder overflows its stack on a long array.
    for start in range(0, block.shape[1], _WRITE_BLOCK):
        piece = np.clip(block[:, start : start + _WRITE_BLOCK], -1, 1)
        try:
            writer.write(np.ascontiguousarray(piece.T, np.float32))
        except (soundfile.LibsndfileError, AssertionError) as error:  # soundfile asserts that all went out
            raise OSError(errno.EIO, "the disk is full or failed") from error


def _cannot_hold(
    path: Path, channels: int, sample_rate: int, file_format: str, error: soundfile.LibsndfileError
) -> InputError:
    return InputError(
        f"{printable(path)}: cannot hold {channels} channel{'s' * (channels > 1)} at {sample_rate} Hz as {file_format} "
        f"({error.error_string.rstrip('.')}); choose another rate or write a .wav"
    )


def _format_of(path: Path) -> tuple[str, str]:
    suffix = path.suffix.lower()
    file_format = _FORMATS.get(suffix, suffix[1:].upper())
    if file_format == "RAW" or file_format not in soundfile.available_formats():
        raise InputError(f"{printable(path)}: cannot write '{suffix}'; use .wav, .flac, .ogg, .opus or .mp3")
    if suffix == ".opus":
        return file_format, "OPUS"
    if soundfile.check_format(file_format, "PCM_24"):
        return file_format, "PCM_24"
    return file_format, str(soundfile.default_subtype(file_format))
