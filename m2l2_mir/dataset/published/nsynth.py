"""NSynth: single notes of 4 s at 16 kHz, as its json/wav archives unpack.

Layout::

    home/nsynth-train/examples.json     name of a note -> pitch, velocity, instrument, ...
    home/nsynth-train/audio/NAME.wav    NAME = instrument-pitch-velocity, such as bass_synthetic_033-022-050
    home/nsynth-valid/...
    home/nsynth-test/...

One or two of the three folders are enough to read; a split needs more.

Source: Engel et al., "Neural Audio Synthesis of Musical Notes with WaveNet Autoencoders", ICML 2017.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m2l2_mir.dataset.published.local_files import found, parts_of, straddling
from m2l2_mir.dataset.reading import Reading, Row, read_rows
from m2l2_mir.dataset.recipe import DatasetRecipe
from m2l2_mir.errors import InputError

__all__ = ["check_nsynth", "read_nsynth"]

FOLDS = ("train", "valid", "test")
FOLDERS = tuple(f"nsynth-{fold}" for fold in FOLDS)
# 4 s of 16-bit samples at 16 kHz, without the header
_AUDIO_BYTES = 4 * 16_000 * 2


def read_nsynth(recipe: DatasetRecipe, home: Path) -> Reading:
    """Notes with pitch (MIDI) and instrument (one of 11 families).

    Parameters
    ----------
    recipe
        Of the set.
    home
        Folder that holds nsynth-train, nsynth-valid and nsynth-test, or some of them.

    Returns
    -------
    Reading
        ``group`` is the instrument, of which each family has many; ``source`` is acoustic, electronic or synthetic;
        ``velocity`` is of MIDI; ``fold`` is the official one.

    Raises
    ------
    InputError
        None of the folders is there, or the notes of one cannot be read.
    """
    return read_rows(
        _row(name, note, folder)
        for folder in parts_of(recipe, home, FOLDERS)
        for name, note in _examples(folder).items()
    )


def check_nsynth(recipe: DatasetRecipe, home: Path) -> list[str]:
    """Everything that is missing, cut short or contradicts itself; sizes are looked at, samples are not."""
    problems = found([part for part in FOLDERS if not (home / part).is_dir()], "folders missing")
    readable = []
    for folder in (home / part for part in FOLDERS if (home / part).is_dir()):
        try:
            examples = _examples(folder)
        except InputError as error:
            problems.append(str(error))
            continue
        readable.append((folder, examples))
        sizes = _sizes(folder / "audio")
        problems += found((name for name in examples if name not in sizes), f"audio files missing in {folder.name}")
        problems += found(
            (name for name in examples if sizes.get(name, _AUDIO_BYTES) < _AUDIO_BYTES),
            f"audio files shorter than 4 s in {folder.name}",
        )
        problems += found(
            (name for name, note in examples.items() if not _as_named(name, note)),
            f"notes in {folder.name} whose labels are not those of their names",
        )
    rows = read_rows(_row(name, note, folder) for folder, examples in readable for name, note in examples.items())
    if readable:
        problems += found(straddling(rows.tracks), "instruments both in train and in another fold")
    return problems


def _row(name: str, note: Mapping[str, Any], folder: Path) -> Row:
    return Row(
        track_id=name,
        path=str(folder / "audio" / f"{name}.wav"),
        labels={"pitch": note.get("pitch"), "instrument": note.get("instrument_family_str")},
        extras={
            "group": note.get("instrument_str"),
            "source": note.get("instrument_source_str"),
            "velocity": note.get("velocity"),
            "fold": folder.name.removeprefix("nsynth-"),
        },
    )


def _examples(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "examples.json"
    remedy = f"unpack {folder.name}.jsonwav.tar.gz again"
    try:
        examples = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; {remedy}") from error
    except ValueError as error:
        raise InputError(f"{path} is cut short or damaged: {error}; {remedy}") from error
    if not isinstance(examples, dict) or not all(isinstance(note, dict) for note in examples.values()):
        raise InputError(f"{path} is not a table of notes; {remedy}")
    return examples


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each audio file by the name of its note."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:  # one pass over up to 289,205 files
        return {entry.name.removesuffix(".wav"): entry.stat().st_size for entry in entries}


def _as_named(name: str, note: Mapping[str, Any]) -> bool:
    instrument, pitch, velocity = (str(note.get(key)) for key in ("instrument_str", "pitch", "velocity"))
    same = name == f"{instrument}-{pitch.zfill(3)}-{velocity.zfill(3)}"
    return same and instrument.startswith(str(note.get("instrument_family_str")))
