"""The commands under ``m2l2 index`` and ``m2l2 doctor``, as a user types them."""

import json
import os
import shlex
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from m2l2_mir.audio import save
from m2l2_mir.embedding.extract import extract
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.index import attributes
from m2l2_mir.index.attributes import Attribute
from m2l2_mir.index.similarity import SimilarityIndex
from m2l2_mir.model.checkpoint import random_model, save_model
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.official_file import OFFICIAL

MODEL = "random:m2l2-tiny"
RATE = 44100


def sound(rng):
    return np.convolve(rng.normal(size=60_000) * 0.02, rng.normal(size=24), "same")[None]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Eight sounds, their store with chunks, and a metadata table."""
    root = tmp_path_factory.mktemp("cli index")
    (root / "music").mkdir()
    rng = np.random.default_rng(3)
    for number in range(8):
        save(root / "music" / f"{number}.wav", sound(rng), RATE)
    extract(root / "music", out=root / "store", model=MODEL, keep="chunks", device="cpu")
    table = pd.DataFrame(
        {"track_id": [f"{n}.wav" for n in range(8)], "artist": list("aabbccdd"), "year": range(2000, 2008)}
    )
    table.to_csv(root / "tags.csv", index=False)
    return root


@pytest.fixture
def idx(made, m2l2, tmp_path):
    code, out, err = m2l2("index", "build", made / "store", "-o", tmp_path / "idx", "--metadata", made / "tags.csv")
    assert (code, err) == (0, "")
    assert "8 tracks, 8 x 64 each" in out
    assert "structure: Flat; exact: 8 x 512 numbers are compared fast enough" in out
    return tmp_path / "idx"


def results(printed):
    return [row["track_id"] for row in json.loads(printed)["results"]]


def test_a_table_that_knows_other_tracks_is_told(made, m2l2, tmp_path):
    (tmp_path / "part.tsv").write_text("track_id\tgenre\n1.wav\tjazz\n9.wav\trock\n")
    _, out, _ = m2l2("index", "build", made / "store", "-o", tmp_path / "i", "--metadata", tmp_path / "part.tsv")
    assert "nothing about 7 of 8 tracks, such as '0.wav'" in out
    assert "1 of its lines name no track, such as '9.wav'" in out
    _, out, _ = m2l2("index", "query", tmp_path / "i", "0.wav", "--where", "genre=jazz", "--csls", "--json")
    assert results(out) == ["1.wav"]


def test_a_table_may_call_tracks_by_their_files(made, m2l2, tmp_path):
    (tmp_path / "my.csv").write_text(f"File,genre,duration\n{made}/music/1.wav,jazz,9\n2.wav,rock,9\n9.wav,rock,9\n")
    code, out, _ = m2l2("index", "build", made / "store", "-o", tmp_path / "i", "--metadata", tmp_path / "my.csv")
    assert (code, "nothing about 6 of 8 tracks" in out, "such as '9.wav'" in out) == (0, True, True)
    _, out, _ = m2l2("index", "query", tmp_path / "i", made / "music" / "0.wav", "-k", "9", "--device", "cpu", "--json")
    found = {row["track_id"]: row for row in json.loads(out)["results"]}
    assert set(found) == {f"{number}.wav" for number in range(1, 8)}  # its own file is known
    assert {name: row["genre"] for name, row in found.items() if row["genre"]} == {"1.wav": "jazz", "2.wav": "rock"}
    assert found["1.wav"]["duration"] < 2
    (tmp_path / "more.csv").write_text(f"path,genre\n{made}/music/../music/3.wav,pop\n")
    _, out, _ = m2l2("index", "add", tmp_path / "i", made / "store", "--metadata", tmp_path / "more.csv", "--json")
    assert json.loads(out)["relabelled"] == ["3.wav"]


def test_results_are_written_as_a_table_json_or_a_playlist(made, idx, m2l2, tmp_path):
    asked = ("index", "query", idx, "3.wav", "-k", "3", "--out")
    code, out, _ = m2l2(*asked, tmp_path / "like.m3u8")
    assert (code, out.splitlines()[-1]) == (0, f"3 results: {tmp_path / 'like.m3u8'}")
    _, printed, _ = m2l2(*asked, tmp_path / "like.json", "--json")
    assert json.loads((tmp_path / "like.json").read_text()) == json.loads(printed)
    m2l2(*asked, tmp_path / "like.csv")
    table = pd.read_csv(tmp_path / "like.csv")
    assert table["track_id"].tolist() == results(printed)
    listed = (tmp_path / "like.m3u8").read_text(encoding="utf-8").splitlines()
    assert listed[0] == "#EXTM3U"
    assert listed[2::2] == [str(made / "music" / name) for name in results(printed)]
    assert listed[1] == f"#EXTINF:1,{table['artist'][0]}"
    for wrong, match in (("like.txt", "has to end in .csv, .json, .m3u8, .m3u"), ("no/like.csv", "there is no folder")):
        code, out, err = m2l2(*asked, tmp_path / wrong)
        assert (code, out, match in err, err.count("\n")) == (2, "", True, 1)


def test_build_refuses_to_replace(made, idx, m2l2):
    code, _, err = m2l2("index", "build", made / "store", "-o", idx)
    assert (code, "index add" in err) == (2, True)
    code, out, _ = m2l2("index", "build", made / "store", "-o", idx, "--overwrite", "--factory", "HNSW8,Flat", "--json")
    assert json.loads(out)["structure"] == "HNSW8,Flat"
    code, _, err = m2l2("index", "build", made / "store", "-o", idx, "--overwrite", "--exact", "--factory", "Flat")
    assert (code, "exclude each other" in err) == (2, True)


def test_query_by_file_track_and_vector(made, idx, m2l2, tmp_path):
    code, out, _ = m2l2("index", "query", idx, made / "music" / "3.wav", "--to", "1.2", "-k", "3", "--device", "cpu")
    assert code == 0
    assert "3.wav" in out
    assert "artist" in out
    assert "untrained" in out
    code, out, _ = m2l2(
        "index", "query", idx, made / "music" / "3.wav", "--device", "cpu", "--json", "--where", "year>2001"
    )
    assert "3.wav" not in results(out)
    assert len(results(out)) == 5
    _, out, _ = m2l2("index", "query", idx, "3.wav", "--other", "artist", "--at-most", "artist=1", "--json")
    assert len(results(out)) == 3
    assert {"2.wav", "3.wav"}.isdisjoint(results(out))
    np.save(tmp_path / "v.npy", np.ones((8, 64)))
    _, out, _ = m2l2("index", "query", idx, "--vector", tmp_path / "v.npy", "-k", "99", "--fold", "--json")
    assert len(results(out)) == 8
    _, out, _ = m2l2("index", "query", idx, "3.wav", "--why")
    assert all(f"slot {number}" in out for number in range(1, 9))
    _, out, _ = m2l2("index", "query", idx, "3.wav", "--why", "--weight", "1=0", "--json")
    row = json.loads(out)["results"][0]
    assert row["slot 1"] == 0
    assert sum(row[f"slot {slot}"] for slot in range(1, 9)) == pytest.approx(row["similarity"], abs=1e-4)
    assert "exactly" in json.loads(out)["notes"][0]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["nowhere.wav"], "neither a track of the index nor an audio file"),
        ([], "nothing to start from"),
        (["3.wav", "--from", "30"], "before the part from 30 s begins"),
        (["3.wav", "--where", "yaer=3"], "did you mean 'year'"),
        (["3.wav", "--at-most", "artist=x"], "--at-most takes NAME=N"),
        (["3.wav", "--weight", "9=1"], "slots 1 to 8, not 9"),
        (["3.wav", "--but", "tempo=faster"], "need probes"),
        (["3.wav", "--probe", "x"], "--probe steers only together with --like or --but"),
        (["3.wav", "--strength", "3"], "--strength steers only together with --like or --but"),
        (["3.wav", "--where", "artist=A"], "did you mean 'a'"),
        (["3.wav", "--segment", "--why"], "--segment takes one audio file"),
        (["3.wav", "-k", "0"], "k must be at least 1"),
        (["--vector", "none.npy"], "cannot read vectors"),
    ],
)
def test_bad_questions(idx, m2l2, options, match):
    code, _, err = m2l2("index", "query", idx, *options)
    assert code == 2
    assert match in err
    assert err.count("\n") == 1


def test_a_rescan_adds_updates_and_removes_what_changed(made, m2l2, tmp_path):
    shutil.copytree(made / "music", tmp_path / "music")
    arguments = (tmp_path / "music", "--out", tmp_path / "store", "--model", MODEL, "--device", "cpu", "--json")
    assert m2l2("embed", *arguments)[0] == 0
    assert m2l2("index", "build", tmp_path / "store", "-o", tmp_path / "idx")[0] == 0
    rng = np.random.default_rng(8)
    save(tmp_path / "music" / "2.wav", sound(rng), RATE)
    save(tmp_path / "music" / "new.wav", sound(rng), RATE)
    os.unlink(tmp_path / "music" / "5.wav")
    assert m2l2("embed", *arguments)[0] == 0
    code, out, _ = m2l2("doctor", tmp_path / "idx")
    assert code == 3
    assert "1 tracks that are not in the index, 1 others changed and 0 are gone" in out
    assert f"m2l2 index add {tmp_path / 'idx'} {tmp_path / 'store'}" in out
    code, out, _ = m2l2("doctor", tmp_path / "store")
    assert code == 3
    assert "1 audio files are no longer where they were ('5.wav')" in out
    _, out, _ = m2l2("index", "add", tmp_path / "idx", tmp_path / "store", "--remove-gone", "--json")
    changes = json.loads(out)
    assert (changes["added"], changes["updated"], changes["removed"], changes["unchanged"]) == (
        ["new.wav"], ["2.wav"], ["5.wav"], 6
    )  # fmt: skip
    _, out, _ = m2l2("index", "add", tmp_path / "idx", tmp_path / "store", "--remove-gone")
    assert "0 added, 0 updated, 0 removed, 0 with other metadata, 8 unchanged" in out


def test_remove_rebuild_and_duplicates(idx, m2l2, tmp_path):
    code, out, _ = m2l2("index", "remove", idx, "0.wav", "--where", "year>=2006")
    assert (code, "3 removed" in out, "5 tracks now" in out) == (0, True, True)
    code, _, err = m2l2("index", "remove", idx, "1.wav", "0.wav")
    assert (code, "no track '0.wav'" in err) == (2, True)
    code, out, _ = m2l2("index", "rebuild", idx, "--preparation", "centred")
    assert (code, "centred, as asked for" in out) == (0, True)
    code, out, _ = m2l2("index", "duplicates", idx, "--out", tmp_path / "pairs.csv")
    assert (code, "0 pairs among 5 tracks" in out) == (0, True)
    assert list(pd.read_csv(tmp_path / "pairs.csv").columns) == ["first", "second", "similarity", "ratio"]


def test_segments(made, m2l2, tmp_path):
    code, out, _ = m2l2("index", "build", made / "store", "-o", tmp_path / "idx", "--segments", "--exact")
    assert (code, " s; Flat; exact, as asked for: " in out) == (0, True)
    _, out, _ = m2l2("index", "rebuild", tmp_path / "idx", "--memory-mb", "9", "--json")
    assert json.loads(out)["reasons"]["segments"][0].startswith("exact: 16 x")
    code, out, _ = m2l2("index", "query", tmp_path / "idx", made / "music" / "4.wav", "--segment", "-k", "2", "--json")
    best = json.loads(out)["results"][0]
    assert (code, best["track_id"], best["start"]) == (0, "4.wav", 0)


def test_steering_tells_side_effects(idx, m2l2, monkeypatch):
    class Sum:
        def directions(self):
            return np.eye(512)[[7]]

        def predict(self, embeddings):
            return embeddings.reshape(len(embeddings), -1)[:, 7]

    monkeypatch.setattr(attributes, "load_attributes", lambda index, places: [Attribute(name="tempo", probe=Sum())])
    code, out, _ = m2l2("index", "query", idx, "3.wav", "--but", "tempo=faster", "--probe", "p", "-k", "3", "--json")
    (effect,) = json.loads(out)["effects"]
    assert code == 0
    assert (effect["attribute"], effect["wish"]) == ("tempo", "faster")
    assert effect["after"] >= effect["before"]
    _, out, _ = m2l2("index", "query", idx, "3.wav", "--like", "tempo", "--probe", "p", "-k", "3")
    assert "Beside the same search without steering" in out


def test_doctor_names_damage_and_the_command_that_mends_it(made, idx, m2l2, tmp_path):
    assert m2l2("doctor", idx) == (0, f"{idx}: index, sound\n", "")
    assert m2l2("doctor", made / "store")[0] == 0
    assert m2l2("doctor", MODEL)[0] == 0
    (backend,) = idx.glob("backend-*")
    backend.write_bytes(backend.read_bytes()[:-1])
    code, out, _ = m2l2("doctor", idx, "--json")
    (finding,) = json.loads(out)["findings"]
    assert (code, finding["state"]) == (3, "damaged")
    assert "tells how to mend" not in finding["what"]
    (tracks,) = idx.glob("tracks-*")
    kept = f"{idx}-metadata.parquet"
    assert finding["mend"] == (
        f"cp {tracks} {kept} && m2l2 index build '{made / 'store'}' --out {idx} --overwrite --metadata {kept}"
    )
    shutil.copytree(made / "store", tmp_path / "store")
    part = next((tmp_path / "store" / "tracks").iterdir())
    content = bytearray(part.read_bytes())
    content[len(content) // 3] ^= 255
    part.write_bytes(content)
    code, out, _ = m2l2("doctor", tmp_path / "store")
    assert (code, f"rm {part}" in out) == (3, True)
    (tmp_path / "w.safetensors").write_bytes(b"no")
    assert m2l2("doctor", tmp_path / "w.safetensors")[0] == 3
    code, _, err = m2l2("doctor", tmp_path)
    assert (code, "nothing to examine" in err) == (2, True)


def test_the_command_for_a_damaged_store_makes_it_as_it_was(made, m2l2, tmp_path):
    """Model, chunks, excerpt and loudness stand in no option here, only in the store."""
    options = {"keep": "chunks", "excerpt": (0.1, 0.9), "loudness": -23.5, "features": "pre-bottleneck"}
    before = extract(made / "music", out=tmp_path / "a store", model="random:m2l2-tiny:3", device="cpu", **options)
    vectors = before.embeddings()
    (part,) = (before.path / "chunks").iterdir()
    part.write_bytes(part.read_bytes()[:-9])
    _, out, _ = m2l2("doctor", before.path, "--json")
    (finding,) = json.loads(out)["findings"]
    remove, embed = finding["mend"].split(" && ")
    os.unlink(shlex.split(remove)[1])
    assert m2l2(*shlex.split(embed)[1:], "--device", "cpu")[0] == 0
    assert m2l2("doctor", before.path) == (0, f"{before.path}: store, sound\n", "")
    after = EmbeddingStore.open(before.path)
    assert after.provenance["settings"] == before.provenance["settings"]
    np.testing.assert_allclose(after.embeddings(), vectors, atol=1e-5)


def test_weights_that_are_not_at_hand_are_told(made, m2l2, tmp_path, monkeypatch):
    """A store and an index of a model whose shipped weights are others by now, and of official ones that are away."""
    for preset, weights in (("m2l2-small", "sha256:00"), ("codicodec", "codicodec:00")):
        place = tmp_path / preset
        shutil.copytree(made / "store", place)
        provenance = json.loads((place / "provenance.json").read_text())
        provenance["settings"] |= {"weights": weights, "model": {"name": preset}}
        (place / "provenance.json").write_text(json.dumps(provenance))
        assert m2l2("index", "build", place, "-o", tmp_path / f"{preset}-idx")[0] == 0
        for path in (place, tmp_path / f"{preset}-idx"):
            code, out, _ = m2l2("doctor", path, "--json")
            (finding,) = json.loads(out)["findings"]
            assert (code, finding["state"]) == (3, "mismatched")
            assert f"not at hand, {preset} ({weights})" in finding["what"]
        code, _, err = m2l2("index", "query", tmp_path / f"{preset}-idx", made / "music" / "3.wav")
        told = "as codicodec or a file" if preset == "codicodec" else "by their file"
        assert (code, f"not at hand: name them with --model, {told}" in err) == (2, True)


def test_official_weights_in_the_cache_answer_questions_by_file(made, m2l2, tmp_path, monkeypatch):
    """By nothing but the index; their licence goes along. Other weights in their place are refused."""
    monkeypatch.setenv("M2L2_CACHE", str(tmp_path))
    (tmp_path / "models").mkdir()
    store, idx, song = tmp_path / "store", tmp_path / "idx", made / "music" / "3.wav"

    def cached(seed):
        model = random_model(ModelConfig.preset("m2l2-tiny").replace(name="codicodec"), seed)
        model.metadata = OFFICIAL["codicodec"].facts
        save_model(model, tmp_path / "models" / "codicodec.safetensors")

    cached(0)
    assert m2l2("embed", made / "music", "--out", store, "--model", "codicodec", "--device", "cpu")[0] == 0
    assert m2l2("index", "build", store, "-o", idx)[0] == 0
    code, out, _ = m2l2("index", "query", idx, song, "--from", "0", "-k", "1", "--device", "cpu", "--json")
    assert (code, results(out)) == (0, ["3.wav"])
    assert m2l2("doctor", idx)[0] == 0
    assert SimilarityIndex.load(idx).provenance["licence"] == "CC BY-NC 4.0"
    assert m2l2("index", "export", idx, "--to", "parquet", "--out", tmp_path / "all.parquet")[0] == 0
    exported = json.loads(pq.read_schema(tmp_path / "all.parquet").metadata[b"m2l2"])
    assert exported["licence"] == "CC BY-NC 4.0"
    assert "2509.09836" in exported["citation"]
    cached(1)
    code, _, err = m2l2("index", "query", idx, song, "--device", "cpu")
    assert (code, "vectors of different models cannot be compared" in err) == (2, True)


def test_the_mending_command_brings_back_all_there_was(made, m2l2, tmp_path):
    """Options, segments, metadata, and the tracks of a second store."""
    shutil.copytree(made / "music", tmp_path / "more" / "b")
    extract(tmp_path / "more", out=tmp_path / "second", model=MODEL, keep="chunks", device="cpu")
    idx, tags = tmp_path / "idx", ["--metadata", made / "tags.csv"]
    m2l2("index", "build", made / "store", "-o", idx, *tags, "--segments", "--factory", "HNSW8,Flat", "--seed", "4")
    code, _, err = m2l2("index", "add", idx, tmp_path / "second")
    assert (code, err) == (0, "")
    before = [
        m2l2("index", "query", idx, *asked, "--json") for asked in (["3.wav"], [made / "music/4.wav", "--segment"])
    ]
    (vectors, *_) = idx.glob("vectors-*")
    vectors.write_bytes(vectors.read_bytes()[:-9])
    _, out, _ = m2l2("doctor", idx, "--json")
    (finding,) = json.loads(out)["findings"]
    for step in finding["mend"].split(" && "):
        program, *words = shlex.split(step)
        if program == "cp":
            shutil.copy(*words)
        else:
            assert m2l2(*words)[0] == 0
    assert m2l2("doctor", idx)[0] == 0
    after = [
        m2l2("index", "query", idx, *asked, "--json") for asked in (["3.wav"], [made / "music/4.wav", "--segment"])
    ]
    assert after == before
    assert json.loads(after[0][1])["results"][0].keys() >= {"artist", "year"}


def test_probes_of_another_model_are_refused(idx, monkeypatch, tmp_path):
    from m2l2_mir.errors import InputError, StoreError

    index = SimilarityIndex.load(idx)
    settings = index.provenance["settings"]
    space = SimpleNamespace(weights_sha256="other", name="m2l2 (sha256:beef)", features="bottleneck", pooling="mean")
    probe = SimpleNamespace(space=space, layers=[1], facts=SimpleNamespace(probe="key"))
    monkeypatch.setattr(attributes.FittedProbe, "load", lambda folder: probe)
    (tmp_path / "probes" / "key" / "fitted" / "one").mkdir(parents=True)
    card = tmp_path / "probes" / "key" / "fitted" / "one" / attributes.CARD
    card.touch()
    with pytest.raises(StoreError, match=r"reads m2l2 \(sha256:beef\), the index holds m2l2-tiny \(random:"):
        attributes.load_attributes(index, [card.parent])
    with pytest.raises(InputError, match="holds no probe that fits the index"):
        attributes.load_attributes(index, [tmp_path / "probes"])
    space.weights_sha256 = settings["weights_sha256"]
    assert [one.name for one in attributes.load_attributes(index, [tmp_path / "probes"])] == ["key"]
    probe.layers.append(2)
    with pytest.raises(StoreError, match="a network has no few directions"):
        attributes.load_attributes(index, [card.parent])
