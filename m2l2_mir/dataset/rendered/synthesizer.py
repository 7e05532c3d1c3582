"""Notes -> MIDI -> audio, with a sample-based synthesizer and a soundfont.

Conventions
-----------
* Times are seconds, pitches MIDI numbers (69 = A4 = 440 Hz), programs General MIDI numbers from 0.
* `midirenderer` (the rustysynth synthesizer) renders 16-bit stereo at 48 kHz only. The audio is resampled
  once, from there to the rate asked for.
* Nothing is normalised: levels follow the velocities, a single mezzo-forte note peaks near -28 dBFS. Nor is there any
  room: the synthesizer's reverb and chorus are off.
* The same notes, soundfont and rate give the same samples.
* The soundfont has the last word on tuning: :mod:`m2l2_mir.dataset.rendered.instruments` lists the programs in tune.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile
import soxr

from m2l2_mir.dataset.rendered.soundfont_part import part_of, whole_of
from m2l2_mir.errors import InputError, MissingExtraError

SYNTHESIZER_RATE = 48_000
RELEASE_SECONDS = 1.0

_PERCUSSION_CHANNEL = 9
_REVERB_SEND, _CHORUS_SEND = 91, 93  # MIDI controllers
_MELODIC_CHANNELS = [channel for channel in range(16) if channel != _PERCUSSION_CHANNEL]
# 24,000 ticks a quarter at 120 quarters a minute: one tick is one sample of the synthesizer.
_TICKS_PER_QUARTER = 24_000
_MICROSECONDS_PER_QUARTER = 500_000


@dataclass(frozen=True, slots=True)
class Note:
    """One sounding note.

    Parameters
    ----------
    onset, duration : float
        Seconds; the onset counts from the start of the audio.
    pitch : int
        MIDI number, 0 to 127.
    velocity : int
        1 to 127.
    program : int
        General MIDI program, 0 to 127.
    part : int
        Voice the note belongs to. Parts get a MIDI channel each, so that two voices may meet on one pitch
        without one cutting the other off.
    drum : bool
        Played by the General MIDI drum kit, where `pitch` names the instrument (36 kick, 38 snare, 42 hi-hat) and
        `program` and `part` mean nothing.
    """

    onset: float
    duration: float
    pitch: int
    velocity: int = 80
    program: int = 0
    part: int = 0
    drum: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.onset) and math.isfinite(self.duration) and self.duration > 0):
            raise InputError(f"{self}: onset must be finite and duration > 0 seconds")
        if not (0 <= self.pitch <= 127 and 1 <= self.velocity <= 127 and 0 <= self.program <= 127):
            raise InputError(f"{self}: pitch and program go from 0 to 127, velocity from 1 to 127")


def require_extra(name: str) -> ModuleType:
    """Import a package of the ``[render]`` extra.

    Raises
    ------
    MissingExtraError
        If it is not installed; the message holds the command that installs it.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # the package is there, something it needs is broken: show that
            raise
        raise MissingExtraError(
            f'rendering music needs {name}, which is not installed: pip install "m2l2-mir[render]"'
        ) from error


def notes_to_midi(notes: Iterable[Note], *, duration: float | None = None) -> bytes:
    """Write notes as a standard MIDI file, one tick per sample at 48 kHz.

    Parameters
    ----------
    notes : iterable of Note
        In any order.
    duration : float, optional
        Seconds until the end-of-track event, which is where the synthesizer stops. Default: one second
        after the last note ends.

    Returns
    -------
    bytes
        A format-0 file.

    Raises
    ------
    InputError
        If a note begins before 0, or the notes need more than 15 combinations of part and program.

    Examples
    --------
    >>> notes_to_midi([Note(onset=0.0, duration=1.0, pitch=69)])[:4]
    b'MThd'
    """
    notes = list(notes)
    if early := [note for note in notes if note.onset < 0]:
        raise InputError(f"{early[0]} begins before the audio does: onsets must be >= 0")
    voices = sorted({(note.part, note.program) for note in notes if not note.drum})
    if len(voices) > len(_MELODIC_CHANNELS):
        raise InputError(f"{len(voices)} combinations of part and program; MIDI has room for 15")
    channels = dict(zip(voices, _MELODIC_CHANNELS, strict=False))

    # (tick, rank, message): at one tick controllers and programs come first, then note-offs, then note-ons
    events = [(0, 0, bytes([0xC0 | channel, program])) for (_, program), channel in channels.items()]
    for channel in (*channels.values(), _PERCUSSION_CHANNEL):
        events += [(0, 0, bytes([0xB0 | channel, send, 0])) for send in (_REVERB_SEND, _CHORUS_SEND)]
    for note in notes:
        channel = _PERCUSSION_CHANNEL if note.drum else channels[note.part, note.program]
        on, off = _ticks(note.onset), _ticks(note.onset + note.duration)
        events.append((on, 2, bytes([0x90 | channel, note.pitch, note.velocity])))
        events.append((max(off, on + 1), 1, bytes([0x80 | channel, note.pitch, 0])))
    if duration is None:
        duration = max((note.onset + note.duration for note in notes), default=0.0) + RELEASE_SECONDS

    track = bytearray(b"\x00\xff\x51\x03" + _MICROSECONDS_PER_QUARTER.to_bytes(3, "big"))
    now, end = 0, _ticks(duration)
    for tick, _, message in sorted(events):
        if tick >= end:
            break
        track += _variable_length(tick - now) + message
        now = tick
    track += _variable_length(end - now) + b"\xff\x2f\x00"
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, _TICKS_PER_QUARTER)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + bytes(track)


def render(
    score: bytes | Sequence[Note],
    soundfont: str | Path,
    *,
    sample_rate: int,
    duration: float | None = None,
) -> np.ndarray:
    """Render notes or a MIDI file to audio.

    Parameters
    ----------
    score : bytes or sequence of Note
        A standard MIDI file, or notes.
    soundfont : str or Path
        An ``.sf2`` file, as from :mod:`m2l2_mir.dataset.rendered.soundfont`.
    sample_rate : int
        Of the result, in Hz.
    duration : float, optional
        Length of the result in seconds, cut or padded with zeros to the exact sample. Default: what the
        score needs, one second of release included.

    Returns
    -------
    np.ndarray [shape=(2, samples), dtype=float32]
        In [-1, 1].

    Raises
    ------
    MissingExtraError
        Without the ``[render]`` extra.
    InputError
        If the soundfont or the MIDI bytes cannot be used.
    """
    midirenderer = require_extra("midirenderer")
    midi = score if isinstance(score, bytes) else notes_to_midi(score, duration=duration)
    try:
        wave = midirenderer.render_wave_from(_sounds(score, Path(soundfont)), midi)
    except OSError as error:
        raise InputError(f"cannot read the soundfont {soundfont}: {error.strerror}") from error
    except (RuntimeError, ValueError) as error:
        raise InputError(f"cannot render with {Path(soundfont).name}: {error}") from error

    frames, rate = soundfile.read(io.BytesIO(wave), dtype="float32", always_2d=True)
    if rate != SYNTHESIZER_RATE:  # a tick would no longer be a sample
        raise InputError(f"midirenderer gave {rate} Hz instead of {SYNTHESIZER_RATE}: pip install midirenderer")
    if frames.size and np.abs(frames).max() >= 1 - 2**-14:
        warnings.warn("the rendered audio clips: lower the velocities", RuntimeWarning, stacklevel=2)
    if sample_rate != SYNTHESIZER_RATE:
        frames = soxr.resample(frames, SYNTHESIZER_RATE, sample_rate)
    if duration is not None:
        samples = round(duration * sample_rate)
        frames = np.pad(frames[:samples], ((0, max(0, samples - len(frames))), (0, 0)))
    return np.ascontiguousarray(frames.T, dtype=np.float32)


def _sounds(score: bytes | Sequence[Note], soundfont: Path) -> bytes:
    """What the score needs of the soundfont; a MIDI file may ask for any bank, so it gets all."""
    if isinstance(score, bytes):
        return whole_of(soundfont)
    programs = frozenset(note.program for note in score if not note.drum)
    return part_of(soundfont, programs, drums=any(note.drum for note in score))


def _ticks(seconds: float) -> int:
    return round(seconds * SYNTHESIZER_RATE)


def _variable_length(number: int) -> bytes:
    """Encode a delta time in groups of seven bits, the highest first."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(0x80 | (number & 0x7F))
    return bytes(reversed(groups))
