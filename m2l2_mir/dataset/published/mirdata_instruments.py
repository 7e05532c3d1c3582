"""What mirdata's sets of notes and instruments state in another way than by an attribute of their tracks.

The conventions are those of :mod:`m2l2_mir.dataset.published.mirdata_quirks`, which takes these functions up. A label
that the set itself makes unusable is given as :class:`~m2l2_mir.dataset.labels.Unusable`.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from m2l2_mir.dataset.labels import Unusable, pitch

__all__ = ["INSTRUMENT_QUIRKS"]

PRESENT = 0.5  # OpenMIC: what its annotators agree on more than this is there

# fmt: off
_IRMAS_INSTRUMENTS = {
    "cel": "cello", "cla": "clarinet", "flu": "flute", "gac": "acoustic guitar", "gel": "electric guitar",
    "org": "organ", "pia": "piano", "sax": "saxophone", "tru": "trumpet", "vio": "violin", "voi": "voice",
}
_IRMAS_GENRES = {
    "cou_fol": "country-folk", "cla": "classical", "pop_roc": "pop-rock", "lat_sou": "latin-soul",
    "jaz_blu": "jazz-blues",
}
_OPENMIC_INSTRUMENTS = (
    "accordion", "banjo", "bass", "cello", "clarinet", "cymbals", "drums", "flute", "guitar", "mallet_percussion",
    "mandolin", "organ", "piano", "saxophone", "synthesizer", "trombone", "trumpet", "ukulele", "violin", "voice",
)
# fmt: on
_RESAMPLED = re.compile(r"R(\d+)([ud])")


def tinysol_recording(track: Any) -> str:
    """Recorded note of TinySOL that a sample is, or was resampled from.

    "BTb-ord-G1-pp-N-R100u" is the recording of the F#1 below, 100 cents up; both are "BTb-30-pp-N".
    """
    instrument, _, name, dynamics, string, processing = track.track_id.split("-")
    number = pitch(name)
    if match := _RESAMPLED.search(processing):
        semitones = round(int(match[1]) / 100)
        number += -semitones if match[2] == "u" else semitones
    return f"{instrument}-{number}-{dynamics}-{string}"


def good_sounds_pitch(track: Any) -> str | Unusable | None:
    """Sounding pitch of a single note of Good-sounds.

    Note and octave are used: ``semitone`` is an octave lower for all instruments but the double bass, whereas note and
    octave fit the ranges of all twelve, as they sound.
    """
    sound = track.sound_info
    klass = sound["klass"] or ""
    if "scale" in klass:
        return Unusable("no single note but a scale")
    if "pitch" in klass:
        return Unusable("no steady pitch, on purpose")
    if sound["note"] is None or sound["octave"] is None:
        return None
    return f"{sound['note']}{sound['octave']}"


def good_sounds_instrument(track: Any) -> str | Unusable | None:
    """Instrument of Good-sounds, where more than one person played it: else it cannot be told from its player."""
    path = Path(track._data_home, "sounds.json")
    instrument: str | None = track.sound_info["instrument"]
    if instrument is None:
        return None
    players = _players(path, path.stat().st_mtime_ns)
    return instrument if len(players[instrument]) > 1 else Unusable("no second player of this instrument")


def irmas_instrument(track: Any) -> str | Unusable | None:
    """The predominant instrument of an IRMAS excerpt; in the testing part there may be several."""
    names = sorted({_IRMAS_INSTRUMENTS[code] for code in track.instrument})
    if len(names) > 1:
        return Unusable("several instruments")
    return names[0] if names else None


def irmas_genre(track: Any) -> str | None:
    """Genre of an IRMAS excerpt, stated in the training part only."""
    return None if track.genre is None else _IRMAS_GENRES[track.genre]


def irmas_recording(track: Any) -> str:
    """Recording of an IRMAS excerpt: "0001" of "[cel][cla]0001__1.wav", the title of "From a Shell-9.wav"."""
    if track.split == "train":
        return f"train {track.track_id.split('__')[0]}"
    return re.sub(r"-\d+$", "", Path(track.audio_path).stem).casefold()


def openmic_instrument(track: Any) -> str | Unusable | None:
    """The one instrument that the annotators of an OpenMIC excerpt hear, of those they were asked about."""
    present = [name for name, relevance in track.instruments.items() if relevance > PRESENT]
    if len(present) > 1:
        return Unusable("several instruments")
    return present[0] if present else Unusable("no instrument among those asked about")


def openmic_presence(track: Any) -> dict[str, float | None]:
    """How much the annotators agree that each instrument is there; None where they were not asked."""
    relevance = track.instruments
    return {f"presence_{name}": relevance.get(name) for name in _OPENMIC_INSTRUMENTS}


def openmic_fold(track: Any) -> str:
    """Fold in the published partition: "train" of "split01_train"."""
    return str(track.split).removeprefix("split01_")


INSTRUMENT_QUIRKS: dict[str, Callable[[Any], Any]] = {
    function.__name__: function
    for function in (
        tinysol_recording,
        good_sounds_pitch,
        good_sounds_instrument,
        irmas_instrument,
        irmas_genre,
        irmas_recording,
        openmic_instrument,
        openmic_presence,
        openmic_fold,
    )
}


@lru_cache(maxsize=1)
def _players(path: Path, _changed: int) -> dict[str, set[str]]:
    players = defaultdict(set)
    for sound in json.loads(path.read_bytes()).values():
        if sound["player"] is not None:
            players[sound["instrument"]].add(sound["player"])
    return players
