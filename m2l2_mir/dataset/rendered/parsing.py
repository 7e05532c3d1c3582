"""One piece as music21 reads it -> Score, plain data that can be kept as JSON.

Conventions
-----------
* Starts and lengths are in quarter notes, pitches are MIDI numbers, tonics pitch classes (0 = C).
* Ties are joined, grace notes left out, repeats not unfolded; of a double stop the upper note is taken.
* music21's own cache is passed by: it pickles into a temporary folder and loads what it finds there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from m2l2_mir.dataset.rendered.synthesizer import require_extra
from m2l2_mir.errors import InputError

__all__ = ["PARSER_VERSION", "Event", "Heading", "Score", "parse_abc", "parse_chorale", "read_heading"]

# Counts up whenever the same file would give another Score.
PARSER_VERSION = 1

Event = tuple[float, float, int]  # start, length, pitch


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What an ABC tune says about itself before its notes."""

    name: str
    title: str
    dance: str  # as spelled in "R:", lower case; "" where there is none
    meter: str  # as spelled in "M:": "C|", "6/8"


@dataclass(frozen=True, kw_only=True)
class Score:
    """One piece.

    Parameters
    ----------
    name, title
        Its name in the corpus, and the title its collection gives it.
    tonic, mode
        Of the key signature, where it states a mode; else None and "". Modes as music21 spells them: "major", "minor",
        "dorian", "mixolydian", ...
    meter, beat
        First time signature, and the length of its beat in quarters: 1.5 in 6/8, 2 in 2/2. "" and 1 without any.
    steady
        Neither key nor metre changes. music21 takes some bars of a wrong length for a change of metre.
    bars
        Start and length of each bar, as notated: a pick-up is a short bar.
    part_names, parts
        Notes by part, each in order of their start.
    dance
        See :class:`Heading`.
    """

    name: str
    title: str
    tonic: int | None
    mode: str
    meter: str
    beat: float
    steady: bool
    bars: tuple[tuple[float, float], ...]
    part_names: tuple[str, ...]
    parts: tuple[tuple[Event, ...], ...]
    dance: str = ""

    @property
    def end(self) -> float:
        """Where the last note ends, in quarters."""
        return max((start + length for part in self.parts for start, length, _ in part), default=0.0)


def parse_chorale(name: str, path: Path) -> Score:
    """Parse a MusicXML file of Bach; its key, metre and bars are those of the soprano.

    Raises
    ------
    InputError
        music21 cannot read it.
    MissingExtraError
        Without the [render] extra.
    """

    def read(converters: Any) -> Any:
        reader = converters.ConverterMusicXML()
        reader.parseFile(path)
        return reader.stream

    stream = _read(name, read)
    number = path.stem.removeprefix("bwv")
    # the first part may be a horn, whose signature says how it is notated and not how it sounds
    voices = [part for part in stream.parts if _part_name(part).startswith("Soprano")]
    return _score(name, _bwv_titles().get(number, f"BWV {number}"), "", stream, lead=voices[0] if voices else None)


def parse_abc(name: str, abc: str) -> Score:
    """Parse one ABC tune; errors as in :func:`parse_chorale`."""

    def read(converters: Any) -> Any:
        reader = converters.ConverterABC()
        reader.parseData(abc)
        return reader.stream

    head = read_heading(name, abc)
    score = _score(name, head.title, head.dance, _read(name, read), lead=None)
    # music21 heeds every change of key, but does not put each of them into the score
    stated = [set(re.findall(rf"^{field}:[ \t]*(\S*)|\[{field}:[ \t]*(\S*?)\]", abc, re.MULTILINE)) for field in "KM"]
    return replace(score, steady=score.steady and max(map(len, stated)) <= 1)


def read_heading(name: str, abc: str) -> Heading:
    """Read the heading of an ABC tune without its notes.

    >>> read_heading("a/b/1", "X:1\\nT: The Reel\\nR: Reel\\nM: C|\\nK: D\\nDFAd|")
    Heading(name='a/b/1', title='The Reel', dance='reel', meter='C|')
    """

    def field(letter: str) -> str:
        match = re.search(rf"^{letter}:[ \t]*([^%\r\n]*)", abc, re.MULTILINE)
        return match[1].strip() if match else ""

    return Heading(name=name, title=field("T"), dance=field("R").lower(), meter=field("M"))


def _read(name: str, read: Callable[[Any], Any]) -> Any:
    require_extra("music21")
    from music21 import converter, exceptions21

    try:
        return read(converter.subConverters)
    # what a parser without a stated contract has been seen to raise on odd notation
    except (
        exceptions21.Music21Exception,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        text = " ".join(str(error).split())
        raise InputError(f"music21 cannot read {name}: {type(error).__name__}: {text}; choose another piece") from error


def _score(name: str, title: str, dance: str, stream: Any, *, lead: Any) -> Score:
    parts = list(stream.parts)
    if not parts:
        raise InputError(f"{name} holds no notes; choose another piece")
    lead = lead or parts[0]
    keys = list(lead.recurse().getElementsByClass("KeySignature"))
    meters = list(lead.recurse().getElementsByClass("TimeSignature"))
    stated = [key for key in keys if getattr(key, "mode", None)]
    kinds = {(key.sharps, getattr(key, "mode", None)) for key in keys}
    return Score(
        name=name,
        title=title,
        tonic=int(stated[0].tonic.pitchClass) if stated else None,
        mode=str(stated[0].mode) if stated else "",
        meter=str(meters[0].ratioString) if meters else "",
        beat=float(meters[0].beatDuration.quarterLength) if meters else 1.0,
        steady=len(kinds) <= 1 and len({meter.ratioString for meter in meters}) <= 1,
        bars=tuple(
            (float(bar.offset), float(bar.duration.quarterLength)) for bar in lead.getElementsByClass("Measure")
        ),
        part_names=tuple(_part_name(part) for part in parts),
        parts=tuple(_events(part) for part in parts),
        dance=dance,
    )


def _events(part: Any) -> tuple[Event, ...]:
    """Notes that sound: grace notes have no length and drop out, and so do chord symbols above the stave."""
    return tuple(
        (float(note.offset), float(note.quarterLength), max(int(pitch.midi) for pitch in note.pitches))
        for note in part.flatten().stripTies().getElementsByClass(["Note", "Chord"])
        if note.quarterLength > 0 and "Harmony" not in note.classes
    )


def _part_name(part: Any) -> str:
    """Name of a part; where it has none its id is an address in memory, different each time."""
    return str(part.partName or (part.id if isinstance(part.id, str) else ""))


@lru_cache(maxsize=1)
def _bwv_titles() -> dict[str, str]:
    """Titles by BWV number, as in "140.7"."""
    chorales = require_extra("music21").corpus.chorales
    return {number: str(entry["title"]) for number, entry in chorales.ChoraleListRKBWV().byBWV.items()}
