"""The probe commands, end to end: a table with a store, and a rendered set with a model and all its rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.audio import save
from m2l2_mir.probe.results import read_predictions, read_scores
from m2l2_mir.probe.rows import hand_made_rows

TINY = ["--model", "random:m2l2-tiny", "--device", "cpu", "--jobs", "1"]


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Thirty tones of half a second, high or low, of ten artists; one file is missing."""
    rng = np.random.default_rng(0)
    time = np.arange(8000) / 16000
    lines = ["path,genre,artist"]
    for number in range(30):
        hertz = (300 if number % 2 else 3000) * (1 + 0.1 * rng.random())
        if number:
            save(tmp_path / f"{number:02}.wav", 0.3 * np.sin(2 * np.pi * hertz * time)[None], 16000)
        lines.append(f"{number:02}.wav,{'low' if number % 2 else 'high'},artist {number // 3}")
    (tmp_path / "my.csv").write_text("\n".join(lines) + "\n")
    return f"table:{tmp_path / 'my.csv'}"


def test_a_table_with_a_model_and_vectors(m2l2, table: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    vectors = pd.DataFrame({"track_id": [f"{number:02}.wav" for number in range(30)], "x": np.arange(30) % 2 * 1.0})
    vectors.to_parquet(tmp_path / "parity.parquet")
    run = ["probe", "run", "genre", "--dataset", table, *TINY, "--vectors", tmp_path / "parity.parquet"]
    run += ["--slots", "flatten", "--slots", "mean", "--seeds", "2", "--folds", "2", "--out", out]
    code, printed, err = m2l2(*run)
    assert code == 3, err  # a file is missing
    assert "Genre, split grouped, read-out linear" in printed
    scores = read_scores(out)["genre"]
    kinds = {row["name"]: row["kind"] for row in scores["rows"]}
    assert list(kinds)[:5] == [
        "random:m2l2-tiny",
        "random:m2l2-tiny, mean of slots",
        "parity",
        "untrained m2l2-tiny",
        "shuffled labels",
    ]
    assert sum(kind == "hand-made" for kind in kinds.values()) == 7
    section = scores["sections"][0]
    assert (section["scored"], section["expected"]) == (29, 30)
    assert section["left_out"][0]["track_id"] == "00.wav"
    best = {line["row"]: line["estimate"] for line in section["scores"] if line["metric"] == "accuracy"}
    assert best["parity"] == best["log-mel"] == 1
    assert best["shuffled labels"] < 0.9
    assert any("untrained" in note for note in scores["notes"])
    # The untrained row is none of the weights that "random:NAME" names.
    made = {row["name"]: row for row in scores["settings"]["rows"]}
    hashes = [store["weights_sha256"] for store in made["untrained m2l2-tiny"]["stores"]]
    assert len({*hashes, made["random:m2l2-tiny"]["store"]["weights_sha256"]}) == 3
    report = (out / "report.html").read_text(encoding="utf-8")
    assert scores["command"].startswith("m2l2 probe run genre --dataset ")
    assert "29 of 30" in report.replace("\u00a0", " ")
    # The same command again fits nothing anew.
    before = (out / "genre" / "scores.json").stat().st_mtime_ns
    assert m2l2(*run, "--json")[0] == 3
    assert (out / "genre" / "scores.json").stat().st_mtime_ns == before
    code, printed, _ = m2l2("probe", "compare", out, out, "--json")
    assert code == 0
    assert all(line["difference"] == 0 for line in json.loads(printed)["genre"])


def test_changed_audio_and_settings_are_not_taken_for_the_old_ones(m2l2, table: str, tmp_path: Path) -> None:
    """Neither reused as if nothing had changed, nor replaced unasked."""
    out, scores = tmp_path / "out", tmp_path / "out" / "genre" / "scores.json"
    run = ["probe", "run", "genre", "--dataset", table, *TINY, "--folds", "2", "--out", out]
    assert m2l2(*run, "--seeds", "1")[0] == 3
    before = scores.read_bytes()
    code, _, err = m2l2(*run, "--seeds", "2")
    assert code == 2
    assert "(seeds: 1 in the folder, 2 asked for)" in err.splitlines()[-1]
    save(tmp_path / "03.wav", np.full((1, 8000), 0.1), 16000)
    code, _, err = m2l2(*run, "--seeds", "1")
    assert code == 2
    assert "row 'random:m2l2-tiny'.audio_sha256 differs" in err.splitlines()[-1]
    assert scores.read_bytes() == before
    assert m2l2(*run, "--seeds", "1", "--overwrite")[0] == 3
    assert scores.read_bytes() != before


def test_all_rows_hear_the_excerpt_of_a_store(m2l2, table: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    embedded = m2l2("embed", f"dataset:{table}", "--out", store, "--model", "random:m2l2-tiny", "--excerpt", "0.1,0.3")
    assert embedded[0] == 3
    run = ["probe", "run", "genre", "--dataset", table, "--store", store, "--jobs", "1", "--seeds", "1", "--folds", "2"]
    assert m2l2(*run, "--out", tmp_path / "out")[0] == 3
    scores = read_scores(tmp_path / "out")["genre"]
    assert "all rows hear 0.3 s of each file from 0.1 s on, as the store does" in scores["notes"]
    made = {row["name"]: row for row in scores["settings"]["rows"]}
    assert made["untrained m2l2-tiny"]["stores"][0]["excerpt"] == [0.1, 0.3]
    whole = hand_made_rows([str(tmp_path / "01.wav")], jobs=1)[0].load(0)
    part = hand_made_rows([str(tmp_path / "01.wav")], excerpt=(0.1, 0.3), jobs=1)[0].load(0)
    assert not np.array_equal(whole, part)
    other = tmp_path / "other"
    m2l2("embed", f"dataset:{table}", "--out", other, "--model", "random:m2l2-tiny")
    code, _, err = m2l2(*run, "--store", other, "--out", tmp_path / "out")
    assert code == 2
    assert "was made with excerpt None, " in err


def test_an_excerpt_that_is_asked_for(m2l2, table: str, tmp_path: Path) -> None:
    run = ["probe", "run", "genre", "--dataset", table, *TINY, "--seeds", "1", "--folds", "2", "--loudness", "-20"]
    assert m2l2(*run, "--excerpt", "0.1,0.3", "--out", tmp_path / "out")[0] == 3
    scores = read_scores(tmp_path / "out")["genre"]
    assert "all rows hear 0.3 s of each file from 0.1 s on" in scores["notes"]
    made = {row["name"]: row for row in scores["settings"]["rows"]}
    store = made["random:m2l2-tiny"]["store"]
    assert (store["excerpt"], store["loudness"]) == ([0.1, 0.3], -20)
    m2l2("embed", f"dataset:{table}", "--out", tmp_path / "store", "--model", "random:m2l2-tiny")
    code, _, err = m2l2(*run, "--excerpt", "0.1,0.3", "--store", tmp_path / "store", "--out", tmp_path / "other")
    assert code == 2
    assert "was made with excerpt None, and (0.1, 0.3) is asked for" in err


def test_the_learning_curve_of_a_finished_probe_is_kept(m2l2, table: str, tmp_path: Path) -> None:
    run = [
        "probe",
        "run",
        "genre",
        "--dataset",
        table,
        *TINY,
        "--seeds",
        "1",
        "--folds",
        "2",
        "--out",
        tmp_path / "out",
    ]
    run += ["--vectors", tmp_path / "parity.parquet", "--learning-curve"]
    vectors = pd.DataFrame({"track_id": [f"{number:02}.wav" for number in range(30)], "x": np.arange(30) % 2 * 1.0})
    vectors.to_parquet(tmp_path / "parity.parquet")
    assert m2l2(*run)[0] == 3
    curve = tmp_path / "out" / "genre" / "learning-curve.json"
    before = curve.stat().st_mtime_ns
    assert m2l2(*run)[0] == 3
    assert curve.stat().st_mtime_ns == before
    # That of other settings is made again with the scores.
    assert m2l2(*run, "--slots", "mean", "--overwrite")[0] == 3
    assert curve.stat().st_mtime_ns > before


def test_slots_stand_below_the_whole(m2l2, table: str, tmp_path: Path) -> None:
    """What a slot is compared with comes first, unasked, and once."""
    out = tmp_path / "out"
    run = ["probe", "run", "genre", "--dataset", table, *TINY, "--seeds", "1", "--folds", "2", "--out", out, "--json"]
    run += ["--slots", "leave-one-out", "--slots", "each", "--pooling", "mean+std", "--features", "pre-bottleneck"]
    code, printed, err = m2l2(*run)
    assert code == 3, err
    scores = read_scores(out)["genre"]
    models = [row["name"] for row in scores["rows"] if row["kind"] == "model"]
    whole = "random:m2l2-tiny, mean+std"
    slots = [f"{whole}, {how} {slot}" for how in ("without slot", "slot") for slot in range(1, len(models) // 2 + 1)]
    assert models == [whole, *slots]
    assert json.loads(printed)["probes"][0]["sentence"].startswith(f"{whole}: ")
    assert scores["settings"]["rows"][0]["store"]["features"] == "pre-bottleneck"
    assert {path.stem for path in (out / "figures").iterdir()} == {"slots-left-out-1", "slots-alone-2"}


def test_check_embedder(m2l2, table: str, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "my_levels.py").write_text(
        "import numpy as np\nclass Level:\n    name, sample_rate = 'level', 8000\n"
        "    def embed(self, waveform):\n        return np.array([waveform.std()])\n"
        "class Frames(Level):\n    def embed(self, waveform):\n        return waveform[::100]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    code, printed, _ = m2l2("probe", "check-embedder", "my_levels:Level")
    assert (code, printed.split(",")[0]) == (0, "my_levels:Level is sound: row 'level'")
    code, _, err = m2l2("probe", "check-embedder", "my_levels:Frames")
    assert (code, "pool over time" in err) == (2, True)
    run = ["probe", "run", "genre", "--dataset", table, "--embedder", "my_levels:Level", "--jobs", "1", "--seeds", "1"]
    assert m2l2(*run, "--folds", "2", "--out", tmp_path / "out")[0] == 3
    rows = {row["name"]: (row["kind"], row["width"]) for row in read_scores(tmp_path / "out")["genre"]["rows"]}
    assert rows["level"] == ("model", 1)


def test_list(m2l2) -> None:
    code, printed, _ = m2l2("probe", "list", "--json")
    assert code == 0
    assert {row["name"]: row["dataset"] for row in json.loads(printed)}["key"] == "bach-key"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["keys"], "no probe 'keys' (see 'm2l2 probe list'); did you mean 'key'"),
        (["key", "--slots", "al"], "slots is 'al'"),
        (["genre", "--dataset", "TABLE", "--readout", "liner"], "no read-out 'liner'; did you mean 'linear'"),
        (["genre", "--dataset", "TABLE", "--readout", "linear-regression"], "genre has classes"),
        (["key", "--dataset", "TABLE"], "has no label 'key'"),
        (["genre", "--dataset", "TABLE", "--store", "nowhere"], "nowhere is no embedding store"),
        (["genre", "--dataset", "table:nowhere.csv", "--vectors", "mine.npy"], "mine.npy is no file"),
        (["genre", "--dataset", "TABLE", "--excerpt", "3"], "--excerpt takes START,LENGTH in seconds"),
    ],
)
def test_wrong_use_is_one_line(m2l2, table: str, tmp_path: Path, arguments, message: str) -> None:
    named = [table if argument == "TABLE" else argument for argument in arguments]
    code, _, err = m2l2("probe", "run", *named, "--out", tmp_path / "out")
    lines = [line for line in err.splitlines() if not line.startswith("m2l2: warning")]
    assert (code, len(lines)) == (2, 1), err
    assert message in lines[0]


def test_several_probes_go_on_where_one_fails(m2l2, table: str, tmp_path: Path) -> None:
    run = ["probe", "run", "key", "genre", "--dataset", table, *TINY, "--seeds", "1", "--folds", "2", "--json"]
    code, printed, _ = m2l2(*run, "--out", tmp_path / "out")
    assert code == 3
    key, genre = json.loads(printed)["probes"]
    assert "no label 'key'" in key["error"]
    assert "genre accuracy" in genre["sentence"]


def test_a_rendered_set_end_to_end(m2l2, tmp_path: Path) -> None:
    pytest.importorskip("midirenderer")
    code, printed, err = m2l2("probe", "run", "pitch", *TINY, "--quick", "--out", tmp_path)
    assert code == 0, err
    assert "random:m2l2-tiny: pitch exact ." in printed
    scores = read_scores(tmp_path)["pitch"]
    best = {line["row"]: line["estimate"] for line in scores["sections"][0]["scores"] if line["metric"] == "exact"}
    assert best["log-mel"] > 0.8 > 0.5 > best["shuffled labels"]
    assert best["random:m2l2-tiny"] > best["majority"] + 0.3
    predictions = read_predictions(tmp_path, "pitch")
    held_out = predictions.groupby(["row", "seed", "group"])["fold"].nunique()
    assert (held_out == 1).all()  # no instrument lies in two folds
