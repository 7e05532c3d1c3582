"""Rendered training music: every kind can be played, is a function of its number, and more hours only add to it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from m2l2_mir.audio import load
from m2l2_mir.dataset.rendered.clips import render_clip
from m2l2_mir.dataset.rendered.soundfont import training_soundfont
from m2l2_mir.errors import InputError
from m2l2_mir.training.building import build_corpus
from m2l2_mir.training.composing import KINDS, PROGRAMS
from m2l2_mir.training.renders import PIECE_SECONDS, compose, render_music


def test_pieces_are_of_all_kinds_for_all_instruments_and_depend_on_their_number_alone() -> None:
    soundfont = training_soundfont()
    assert soundfont.name == "TimGM6mb"
    pieces = [compose(0, number, soundfont) for number in range(400)]
    assert {piece.track_id.rpartition("-")[2] for piece in pieces} == set(KINDS)
    melodic = [note for piece in pieces for note in piece.notes if not note.drum]
    assert len({note.program for note in melodic}) > 0.95 * PROGRAMS
    # every pitch class about as often as the next one, so that no key is favoured
    counts = np.bincount([note.pitch % 12 for note in melodic], minlength=12)
    assert counts.max() < 1.4 * counts.min()
    assert compose(0, 7, soundfont).sha256 == pieces[7].sha256
    assert len({piece.sha256 for piece in [*pieces, compose(1, 7, soundfont)]}) == 401
    for piece in pieces:
        assert len({(note.part, note.program) for note in piece.notes if not note.drum}) <= 15
        assert all(note.onset >= 0 for note in piece.notes)


def test_a_piece_sounds_to_its_end() -> None:
    soundfont = training_soundfont()
    for number in range(3):
        waveform = render_clip(compose(2, number, soundfont))
        levels = np.sqrt(np.square(waveform).reshape(10, -1).mean(axis=1))
        assert (levels > 0.001).all()


def test_a_folder_is_completed_and_becomes_one_collection(tmp_path: Path) -> None:
    out = tmp_path / "renders"
    assert render_music(out, hours=2 * PIECE_SECONDS / 3600, jobs=1) == 2
    before = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("*.flac")}
    (out / min(before)).unlink()
    assert render_music(out, hours=3 * PIECE_SECONDS / 3600, jobs=1) == 2
    after = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("*.flac")}
    assert len(after) == 3
    assert before.items() <= after.items()
    assert load(out / min(after))[0].shape == (1, PIECE_SECONDS * 44100)
    corpus = build_corpus([out], sample_rate=44100, cache=tmp_path / "cache")
    assert corpus.pieces["collection"].tolist() == ["renders"] * 3
    assert "GPL-2" in corpus.pieces["licence"][0]
    with pytest.raises(InputError, match="hours must be above 0"):
        render_music(out, hours=0)
