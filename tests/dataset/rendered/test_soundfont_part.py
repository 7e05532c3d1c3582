"""A part of a soundfont sounds like the whole to the bit: notes are played by the part, MIDI bytes by the whole."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from m2l2_mir.dataset.rendered.instruments import INSTRUMENTS
from m2l2_mir.dataset.rendered.soundfont import Soundfont, probe_soundfonts, training_soundfont
from m2l2_mir.dataset.rendered.soundfont_part import part_of
from m2l2_mir.dataset.rendered.synthesizer import SYNTHESIZER_RATE, Note, notes_to_midi, render
from m2l2_mir.errors import InputError

pytest.importorskip("midirenderer")
pytest.importorskip("pretty_midi")
DRUMS = [Note(0.04 * step, 0.1, pitch, 60 + pitch, drum=True) for step, pitch in enumerate(range(35, 60))]


@pytest.fixture(scope="module", params=["TimGM6mb", "FluidR3_GM"])
def soundfont(request: pytest.FixtureRequest) -> Soundfont:
    fonts = {font.name: font for font in (training_soundfont(), *probe_soundfonts())}
    if request.param not in fonts:
        pytest.skip(f"no {request.param} on this machine")
    return fonts[request.param]


def heard(notes: Sequence[Note], path: Path, duration: float) -> np.ndarray:
    """Play notes with the part and check that the whole soundfont gives the same samples."""
    waveform = render(notes, path, sample_rate=SYNTHESIZER_RATE, duration=duration)
    midi = notes_to_midi(notes, duration=duration)
    whole = render(midi, path, sample_rate=SYNTHESIZER_RATE, duration=duration)
    np.testing.assert_array_equal(waveform, whole)
    return waveform


def test_every_instrument(soundfont: Soundfont) -> None:
    for found in INSTRUMENTS:
        pitches = np.linspace(found.low, found.high, 8).astype(int).tolist()
        notes = [Note(0.04 * step, 0.1, pitch, 30 + 12 * step, found.program) for step, pitch in enumerate(pitches)]
        assert np.abs(heard(notes, soundfont.path, 0.5)).max() > 0.001, found.name
        part = part_of(soundfont.path, frozenset([found.program]), drums=False)
        assert len(part) < 0.2 * soundfont.path.stat().st_size


def test_drums_and_several_programs(soundfont: Soundfont) -> None:
    heard(DRUMS, soundfont.path, 1.2)
    programs = (0, 48, 56, 73)
    band = [Note(0.1 * step, 0.3, 48 + 5 * step, program=program) for step, program in enumerate(programs)]
    together = heard([*band, *DRUMS], soundfont.path, 1.2)
    assert np.abs(together - heard(band, soundfont.path, 1.2)).max() > 0.01


def test_missing_presets_are_replaced_as_in_the_whole(tmp_path: Path) -> None:
    content = bytearray(training_soundfont().path.read_bytes())
    start = content.index(b"phdr", content.index(b"pdta")) + 8
    for at in range(start, content.index(b"pbag", start), 38):
        if struct.unpack_from("<HH", content, at + 20) in {(40, 0), (0, 128)}:
            struct.pack_into("<HH", content, at + 20, 40, 7)
    path = tmp_path / "missing.sf2"
    path.write_bytes(content)
    violin = heard([Note(0.0, 0.3, 60, program=40)], path, 0.4)
    np.testing.assert_array_equal(violin, heard([Note(0.0, 0.3, 60)], path, 0.4))
    assert np.abs(heard(DRUMS, path, 1.2)).max() > 0.01


def noise_soundfont(path: Path, *generators: tuple[int, int], seed: int = 0) -> Path:
    """One preset, with a global zone and one with these generators that plays the second of two samples of noise."""
    points = np.random.default_rng(seed).integers(-9000, 9000, 300_000).astype("<i2")

    def chunk(name: bytes, *content: bytes) -> bytes:
        return name + struct.pack("<I", len(b"".join(content))) + b"".join(content)

    def sample(start: int, end: int) -> bytes:
        return struct.pack("<20s5IBbHH", b"noise", start, end, start + 8, end - 8, 44_100, 60, 0, 0, 1)

    common, zone = [(0, 20)], [*generators, (53, 1)]
    tables = {
        b"phdr": struct.pack("<20s3H12x20s3H12x", b"noise", 0, 0, 0, b"EOP", 0, 0, 1),
        b"pbag": struct.pack("<4H", 0, 0, 1, 0),
        b"pmod": bytes(10),
        b"pgen": struct.pack("<4H", 41, 0, 0, 0),
        b"inst": struct.pack("<20sH20sH", b"noise", 0, b"EOI", 2),
        b"ibag": struct.pack("<6H", 0, 0, len(common), 0, len(common + zone), 0),
        b"imod": bytes(10),
        b"igen": b"".join(struct.pack("<Hh", *generator) for generator in [*common, *zone, (0, 0)]),
        b"shdr": sample(100, 90_000) + sample(120_000, 150_000) + bytes(46),
    }
    parameters = chunk(b"LIST", b"pdta", *(chunk(name, table) for name, table in tables.items()))
    data = chunk(b"LIST", b"sdta", chunk(b"smpl", points.tobytes()), chunk(b"sm24", bytes(300_000)))
    info = chunk(b"LIST", b"INFO", chunk(b"ifil", struct.pack("<HH", 2, 4)))
    path.write_bytes(chunk(b"RIFF", b"sfbk", info, data, parameters))
    return path


@pytest.mark.parametrize(
    "generators",
    [
        [],
        [(0, -2000), (4, -1)],  # start before the sample
        [(1, 2000), (12, 1)],  # end behind it
        [(54, 1), (2, -700), (45, -1)],  # the loop begins before it
        [(54, 3), (3, 4000), (50, 2)],  # the loop ends behind it
    ],
)
def test_offset_generators_reach_beyond_the_sample(tmp_path: Path, generators: list[tuple[int, int]]) -> None:
    path = noise_soundfont(tmp_path / "noise.sf2", *generators)
    heard([Note(0.0, 1.5, 88), Note(0.1, 0.2, 60)], path, 2.0)
    part = part_of(path, frozenset([0]), drums=False)
    assert len(part) < 2 * 110_000
    assert struct.unpack_from("<2I", part, part.index(b"shdr") + 28) == (0, 48)  # the other sample: silence


def test_what_lies_outside_the_data_is_played_whole(tmp_path: Path) -> None:
    path = noise_soundfont(tmp_path / "noise.sf2", (12, 10))
    heard([Note(0.0, 0.3, 60)], path, 0.4)
    assert part_of(path, frozenset([0]), drums=False) == path.read_bytes()


def test_another_file_under_the_same_name(tmp_path: Path) -> None:
    waveforms = []
    for seed in (0, 1):
        path = noise_soundfont(tmp_path / "noise.sf2", (4, -seed), seed=seed)
        os.utime(path, (seed, seed))  # the clock of the file system may be coarse
        waveforms.append(heard([Note(0.0, 0.2, 60)], path, 0.3))
    assert not np.array_equal(*waveforms)


@pytest.mark.parametrize("damage", ["empty", "text", "half", "tail"])
def test_damaged_soundfont_is_one_line(tmp_path: Path, damage: str) -> None:
    whole = training_soundfont().path.read_bytes()
    path = tmp_path / "damaged.sf2"
    kept = {"empty": b"", "text": b"not a soundfont", "half": whole[: len(whole) // 2], "tail": whole[:-30]}
    path.write_bytes(kept[damage])
    with pytest.raises(InputError, match=r"^cannot render with damaged\.sf2: .+$"):
        render([Note(0.0, 0.1, 60)], path, sample_rate=SYNTHESIZER_RATE)
