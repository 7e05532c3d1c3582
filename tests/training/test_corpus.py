"""The corpus: what is in it, what is left out and why, and that no collection is on both sides of a split."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from m2l2_mir.audio import load, save
from m2l2_mir.errors import CorpusError, InputError
from m2l2_mir.training.building import build_corpus
from m2l2_mir.training.corpus import AUDIO_FILE, BLOCK, MANIFEST_FILE, Corpus
from m2l2_mir.training.recordings import Collection, write_collections
from tests.training.tones import RATE, tone


def build(folder: Path, **options) -> Corpus:
    return build_corpus([folder], sample_rate=RATE, cache=folder.parent / "cache", jobs=2, **options)


def piece(corpus: Corpus, name: str) -> np.ndarray:
    row = corpus.pieces.set_index("name").loc[name]
    return corpus.audio[row["start"] : row["start"] + row["samples"]] / 32768


def test_audio_is_there_to_the_sample_with_silence_trimmed(library: Path) -> None:
    corpus = build(library)
    assert corpus.pieces["name"].tolist() == ["loud/a.wav", "loud/b.wav", "soft/a.wav", "soft/b.wav"]
    assert corpus.pieces["collection"].tolist() == ["loud", "loud", "soft", "soft"]
    np.testing.assert_allclose(piece(corpus, "loud/a.wav")[:, 0], tone(220)[0], atol=2**-15)
    # a tone of 16,000 samples between 3,000 and 5,000 zeros; its own first samples may be within the last bit
    trimmed = piece(corpus, "loud/b.wav")[:, 0]
    np.testing.assert_allclose(trimmed, tone(440)[0, -len(trimmed) :], atol=2**-14)
    assert 15_990 <= len(trimmed) <= 16_000
    assert (corpus.pieces["start"] % BLOCK == 0).all()
    expected = np.square(corpus.audio[:BLOCK] / 32768).mean()
    np.testing.assert_allclose(corpus.levels[0], expected, rtol=1e-5)
    corpus.verify()


def test_stereo_is_kept_or_averaged(tmp_path: Path) -> None:
    (tmp_path / "x" / "c").mkdir(parents=True)
    stereo = np.concatenate([tone(200), 0.5 * tone(300)])
    save(tmp_path / "x" / "c" / "s.wav", stereo, RATE)
    both = build(tmp_path / "x", channels=2)
    np.testing.assert_allclose(piece(both, "c/s.wav").T, stereo, atol=2**-14)
    np.testing.assert_allclose(piece(build(tmp_path / "x"), "c/s.wav")[:, 0], stereo.mean(0), atol=2**-14)


def test_what_cannot_be_used_is_listed_and_the_rest_goes_on(library: Path) -> None:
    (library / "loud" / "broken.flac").write_bytes(b"fLaC" + bytes(200))
    save(library / "soft" / "silent.wav", np.zeros((1, 4000)), RATE)
    save(library / "soft" / "again.flac", *load(library / "loud" / "a.wav"))  # the same in another format
    corpus = build(library)
    assert len(corpus.pieces) == 4
    skipped = corpus.skipped.set_index("name")
    assert skipped["kind"].to_dict() == {
        "loud/broken.flac": "failed",
        "soft/again.flac": "left out",
        "soft/silent.wav": "left out",
    }
    assert "loud/a.wav" in skipped.loc["soft/again.flac", "reason"]
    assert "silent" in skipped.loc["soft/silent.wav", "reason"]


def test_low_bandwidth_is_left_out_only_where_asked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("asked", "other"):
        (tmp_path / "x" / name).mkdir(parents=True)
        save(tmp_path / "x" / name / "wide.wav", 0.1 * rng.normal(size=(1, 44100)), 44100)
        save(tmp_path / "x" / name / "narrow.wav", 0.1 * rng.normal(size=(1, 16000)), 16000)
    write_collections(tmp_path / "x", {"asked": Collection(licence="CC0", split="test", min_bandwidth=10_000)})
    own = {"other": Collection(licence="CC BY 4.0"), "asked": Collection(licence="not its own to say")}
    write_collections(tmp_path / "x" / "other", own)
    corpus = build_corpus([tmp_path / "x"], sample_rate=44100, cache=tmp_path / "cache")
    assert corpus.pieces["name"].tolist() == ["asked/wide.wav", "other/narrow.wav", "other/wide.wav"]
    assert corpus.pieces["licence"].tolist() == ["CC0", "CC BY 4.0", "CC BY 4.0"]
    assert corpus.skipped["reason"].tolist() == ["nothing above 8.1 kHz; 10 kHz is the least"]
    assert corpus.split(["test"])[1].pieces["collection"].tolist() == ["asked"]


def test_a_split_never_shares_a_collection(library: Path) -> None:
    corpus = build(library)
    training, held_out = corpus.split(["so*"])
    assert set(training.pieces["collection"]) == {"loud"}
    assert set(held_out.pieces["collection"]) == {"soft"}
    assert len(training.pieces) + len(held_out.pieces) == len(corpus.pieces)
    for patterns in (["sofa"], ["*"], []):
        with pytest.raises(InputError, match="there are loud, soft"):
            corpus.split(patterns)


def test_it_is_built_once_and_anew_when_anything_changes(library: Path) -> None:
    first = build(library)
    written = (first.folder / AUDIO_FILE).stat().st_mtime_ns
    moved = library.with_name("elsewhere")
    shutil.copytree(library, moved)
    again = build(moved)
    assert again.folder == first.folder
    assert (again.folder / AUDIO_FILE).stat().st_mtime_ns == written
    assert build(library, channels=2).key != first.key
    save(library / "loud" / "a.wav", tone(221), RATE)
    assert build(library).key != first.key


def test_an_unfinished_build_is_done_again_and_damage_is_told(library: Path) -> None:
    corpus = build(library)
    manifest = corpus.folder / MANIFEST_FILE
    whole = manifest.read_text()
    manifest.unlink()
    with pytest.raises(CorpusError, match="no finished corpus"):
        Corpus.open(corpus.folder)
    assert build(library).pieces.equals(corpus.pieces)
    values = json.loads(whole)
    values["pieces"][0]["start"] = 5
    manifest.write_text(json.dumps(values))
    with pytest.raises(CorpusError, match="not as it was written"):
        Corpus.open(corpus.folder)
    manifest.write_text(whole)
    with open(corpus.folder / AUDIO_FILE, "r+b") as file:
        file.seek(1000)
        file.write(b"\1\2\3\4")
    with pytest.raises(CorpusError, match=r"loud/a\.wav .* is damaged"):
        Corpus.open(corpus.folder).verify()
    with open(corpus.folder / AUDIO_FILE, "ab") as file:
        file.write(b"\0\0")
    with pytest.raises(CorpusError, match=r"audio\.s16 has"):
        Corpus.open(corpus.folder)


def test_nothing_to_train_on_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(CorpusError, match="no recording to train on"):
        build(tmp_path / "x")
    with pytest.raises(InputError, match="is no folder"):
        build(tmp_path / "y")
