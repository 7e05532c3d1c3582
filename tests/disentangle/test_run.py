"""From a store and a table of labels to results and a report, through the command line, without any renderer."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from m2l2_mir.cli import app
from m2l2_mir.disentangle import run as whole
from m2l2_mir.disentangle.arms import check_shapes, names_of
from m2l2_mir.disentangle.decision import describe
from m2l2_mir.disentangle.labels import label_blocks
from m2l2_mir.disentangle.nulls import Nulls
from m2l2_mir.disentangle.results import read_results, score_table
from m2l2_mir.embedding.store import StoreWriter, TrackResult
from m2l2_mir.errors import InputError, M2L2Error

CLIPS, GROUPS, K, D = 120, 20, 3, 4
CLASSES = 3


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setitem(whole.SIZES, "quick", Nulls(rotations=19, permutations=20))


@pytest.fixture
def labels(tmp_path):
    """Two factors of three values; clips, then pairs that change one of them."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "track_id": f"c{item:03d}",
            "group": f"g{item % GROUPS}",
            "mood": int(rng.integers(CLASSES)),
            "room": "abc"[item % 3],
        }
        for item in range(CLIPS)
    ]
    for number in range(48):
        changed = ("mood", "room")[number % 2]
        one = {"mood": int(rng.integers(CLASSES)), "room": "abc"[rng.integers(3)], "group": f"g{number % GROUPS}"}
        other = dict(one)
        other[changed] = (one["mood"] + 1) % CLASSES if changed == "mood" else "abc"[("abc".index(one["room"]) + 1) % 3]
        for side, values in (("before", one), ("after", other)):
            told = {"pair": f"p{number}", "side": side, "changed": changed}
            rows.append({"track_id": f"p{number:02d}{side}", **values, **told})
    path = tmp_path / "my.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def make_store(path, labels, *, aligned):
    """Slot 1 holds mood and slot 2 room, or both slots hold a mixture of the two."""
    table = pd.read_csv(labels)
    if "side" not in table:
        table["side"] = None
    rng = np.random.default_rng(1)
    made = {"settings": {"weights": path.name, "trained": True}, "num_embeddings": K, "dim": D, "chunk_seconds": 1}
    mixing = np.linalg.qr(rng.standard_normal((K * D, K * D)))[0]
    with StoreWriter.open(path, made, keep_chunks=False) as writer:
        for line in table.to_dict("records"):
            if line["side"] != "after":  # both sides of a pair share the nuisance
                nuisance = 0.1 * rng.standard_normal((K, D))
            slots = nuisance.copy()
            slots[0, line["mood"]] += 1
            slots[1, "abc".index(line["room"])] += 1
            if not aligned:
                slots = (slots.reshape(-1) @ mixing).reshape(K, D)
            one = slots.astype(np.float32)
            writer.add(TrackResult(track_id=line["track_id"], path="x.wav", status="ok", mean=one, std=0 * one))
    return path


def disentangle(*arguments):
    return CliRunner().invoke(app, ["disentangle", *map(str, arguments)], catch_exceptions=False)


def test_a_store_is_described_with_nulls_tables_and_an_offline_report(tmp_path, labels):
    store, out = make_store(tmp_path / "aligned", labels, aligned=True), tmp_path / "out"
    result = disentangle("--store", store, "--labels", labels, "--out", out, "--quick")
    assert result.exit_code == 0
    assert "Its slots are purer than chance on both" in " ".join(result.output.split())
    found = read_results(out)
    scores = {line["score"]: line for line in found["scores"] if line["row"] == "aligned"}
    for what in ("P1 D", "P2 D"):
        assert scores[what]["estimate"] > 0.9 > scores[what]["rotation_mean"] + 0.2
        assert scores[what]["permutation_mean"] < 0.2
    assert scores["P1 D"]["permutation_p"] == pytest.approx(1 / 21)
    assert scores["information"]["estimate"] > 0.8
    assert 0.8 < scores["information"]["low"] <= scores["information"]["high"] <= 1
    assert "permuted" in result.output
    assert found["counts"]["labels"] == {"clips": 120, "expected": 120, "pairs": 48, "expected_pairs": 48, "groups": 20}
    assert max(found["inside"].values()) < 1e-6  # slots turned inside themselves score the same
    cells = pd.read_parquet(out / "cells.parquet").set_index(["slot", "factor"])
    assert cells.loc[(1, "mood"), "information"] > 0.8
    assert cells.loc[(3, "mood"), "information"] < 0.1
    assert cells.loc[(1, "mood"), "change"] > 1
    assert cells.loc[(2, "mood"), "change"] < 0.2
    told = {line["factor"]: line for line in found["told"] if line["row"] == "aligned"}["mood"]
    for name in ("information", "redundancy", "equivariance", "invariance"):
        assert told[f"{name}_low"] <= told[name] <= told[f"{name}_high"]
    whole = cells.xs("mood", level="factor")
    assert told["redundancy"] == pytest.approx(whole["information"].sum() - told["information"])
    assert told["redundancy_rotated"] == pytest.approx(3 * whole["information_rotated"].mean() - told["information"])
    assert told["invariance_rotated"] == pytest.approx(1 - whole["change_rotated"].mean() / 2)
    page = (out / "report.html").read_text()
    assert f"{told['equivariance']:.2f}".lstrip("0") + " [" in page
    assert "<svg" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert {"scores.csv", "table.md", "table.tex", "scores.json"} <= {path.name for path in out.iterdir()}
    unseen = pd.read_csv(out / "unseen.csv").set_index("factor")
    assert (unseen["unseen"] > 0.8).all()
    assert unseen["difference"].abs().max() < 0.1
    assert unseen.loc["mood", "beside"] == "room"
    dimensions = pd.read_parquet(out / "dimensions.parquet")
    assert dimensions.groupby("factor")["information"].nlargest(1).min() > 0.3
    best = dimensions.loc[dimensions.groupby("factor")["information"].idxmax()].set_index("factor")["slot"]
    assert best.to_dict() == {"mood": 1, "room": 2}
    for written in (page, (out / "table.md").read_text()):
        assert "Combinations that were not heard" in written
        assert "tells, beyond rotated slots" in written
    assert "Single dimensions: aligned" in page
    assert (out / "figures" / "aligned-information.svg").is_file()


def test_finished_parts_are_not_measured_again(tmp_path, labels, monkeypatch):
    store, out = make_store(tmp_path / "aligned", labels, aligned=True), tmp_path / "out"
    arguments = ("--store", store, "--labels", labels, "--out", out, "--quick", "--json")
    first = json.loads(disentangle(*arguments).output)
    monkeypatch.setattr("m2l2_mir.disentangle.experiment.measure", lambda *_, **__: pytest.fail("measured again"))
    assert json.loads(disentangle(*arguments).output) == first


def test_two_stores_are_compared_and_the_sentence_keeps_to_them(tmp_path, labels):
    one = make_store(tmp_path / "aligned", labels, aligned=True)
    two = make_store(tmp_path / "mixed", labels, aligned=False)
    found = json.loads(
        disentangle(
            "--store", one, "--store", two, "--labels", labels, "--out", tmp_path / "o", "--quick", "--json"
        ).output
    )
    assert found["decision"] == "yes"
    assert "aligned less mixed" in found["sentence"]
    assert "these checkpoints only" in found["sentence"]
    written = read_results(tmp_path / "o")
    assert written["comparison"]["strata"]["labels"]["P1 D"]["first"] > 0.8
    [line] = [one for one in written["scores"] if (one["row"], one["score"]) == ("mixed", "P1 D")]
    less = (line["estimate"] - line["rotation_mean"]) / (1 - line["rotation_mean"])
    assert written["comparison"]["strata"]["labels"]["P1 D"]["second"] == pytest.approx(less)
    assert abs(line["rotation_mean"]) > 0.001
    assert len(written["matching"]["match"]) == K


def test_labels_without_pairs_leave_the_decision_open(tmp_path, labels):
    table = pd.read_csv(labels)
    table[table["pair"].isna()].drop(columns=["pair", "side", "changed"]).to_csv(labels, index=False)
    one, two = (make_store(tmp_path / name, labels, aligned=name == "a") for name in "ab")
    found = json.loads(
        disentangle(
            "--store", one, "--store", two, "--labels", labels, "--out", tmp_path / "o", "--quick", "--json"
        ).output
    )
    assert found["decision"] == "not decided"


def test_what_a_table_cannot_give_is_said(tmp_path, labels):
    table = pd.read_csv(labels)
    table["constant"] = 1
    table["speed"] = np.linspace(1, 2, len(table))
    table.loc[0, "mood"] = np.nan
    table.to_csv(labels, index=False)
    [block], notes = label_blocks(labels, [*table["track_id"][:-1]])
    assert block.names == ("mood", "room", "speed")
    assert block.schema[2].kind == "continuous"
    assert len(block.track_ids) == CLIPS - 1
    assert len(block.pairs) == 47
    assert any("constant" in note for note in notes)
    assert any("1 of 216" in note for note in notes)
    with pytest.raises(InputError, match="30 or more"):
        label_blocks(labels, table["track_id"][:9].tolist())
    with pytest.raises(InputError, match=r"none of its 216 tracks .* c000, c001, .* x"):
        label_blocks(labels, ["x"])
    table["rare"] = ["no"] * (len(table) - 3) + ["yes"] * 3
    table.to_csv(labels, index=False)
    [block], notes = label_blocks(labels, [*table["track_id"]])
    assert "rare is no but for 3 tracks and is left out" in notes
    table["group"] = [f"g{number % 4}" for number in range(len(table))]
    table.to_csv(labels, index=False)
    with pytest.raises(InputError, match="4 groups; give 5 or more"):
        label_blocks(labels, [*table["track_id"]])
    labels.write_text("name,mood\na,1\n")
    with pytest.raises(InputError, match="no column track_id"):
        label_blocks(labels, ["a"])


def test_scores_of_a_code_that_tells_nothing_are_not_read(tmp_path, labels):
    store, out = make_store(tmp_path / "aligned", labels, aligned=True), tmp_path / "out"
    disentangle("--store", store, "--labels", labels, "--out", out, "--quick")
    found = read_results(out)
    assert "too little told" not in set(score_table(found, "labels")["normalised"])
    for line in found["scores"]:
        if line["score"] == "information":
            line["estimate"] = 0.01
    table = score_table(found, "labels").set_index("score")["normalised"]
    assert (table[["slot scores: D", "slot scores: C"]] == "too little told").all()
    assert (table[["counterfactual: D"]] != "too little told").all()
    assert "D says nothing" in describe(found, "labels")


def test_mistakes_in_a_table_are_named(tmp_path, labels):
    table = pd.read_csv(labels, dtype={"track_id": str})
    known = table["track_id"].tolist()
    table["title"] = table["track_id"]
    table["tempo"] = [f"{60.5 + number}" for number in range(len(table))]
    table.loc[3, "tempo"] = "fast"
    table["mood"] = table["mood"].map(lambda mood: f"m{mood}" + " " * (mood == 1))
    table["track_id"] += " "
    table.loc[table["pair"] == "p0", "side"] = ["before", "After"]
    table.to_csv(labels, index=False)
    [block], notes = label_blocks(labels, known)
    assert block.names == ("mood", "room")
    assert block.values[0] == ("m0", "m1", "m2")
    assert len(block.pairs) == 47
    said = "; ".join(notes)
    assert "title has 216 classes for 216 tracks" in said
    assert "'fast' is no number" in said
    assert "2 rows of pairs make no pair" in said
    table.drop(columns="side").to_csv(labels, index=False)
    assert any("only changed and pair" in note for note in label_blocks(labels, known)[1])
    table.loc[:4, "group"] = None
    table.to_csv(labels, index=False)
    with pytest.raises(InputError, match="5 tracks have no group"):
        label_blocks(labels, known)


def test_factors_are_chosen_and_a_sparse_column_does_not_cost_the_rest(tmp_path, labels):
    table = pd.read_csv(labels)
    known = table["track_id"].tolist()
    table["comment"] = [f"note {number}" if number < 9 else None for number in range(len(table))]
    table["bpm"] = 70 + np.arange(len(table)) % 60
    table["half"] = [number % 3 if number % 4 else None for number in range(len(table))]
    table.to_csv(labels, index=False)
    [block], notes = label_blocks(labels, known)
    assert block.names == ("mood", "room", "half")
    assert len(block.track_ids) == CLIPS * 3 // 4
    assert block.values[2] == ("0", "1", "2")
    assert any("comment has a value for 4% of the tracks" in note for note in notes)
    assert any("'bpm:continuous' takes it as numbers" in note for note in notes)
    [block], _ = label_blocks(labels, known, factors=["mood", "bpm:cyclic:60"])
    assert block.names == ("mood", "bpm")
    assert (block.schema[1].kind, block.schema[1].period) == ("cyclic", 60.0)
    assert len(block.track_ids) == CLIPS
    for wrong, words in (
        ("mod", "no column 'mod'.*mood"),
        ("bpm:number", "give NAME"),
        ("bpm:cyclic:x", "period 'x'"),
        ("bpm:cyclic", "cyclic factors need one"),
    ):
        with pytest.raises(InputError, match=words):
            label_blocks(labels, known, factors=[wrong])
    with pytest.raises(InputError, match="'a', which is no number"):
        label_blocks(labels, known, factors=["room:continuous"])


def test_models_and_stores_are_checked_before_anything_is_rendered(tmp_path, labels, monkeypatch):
    monkeypatch.setattr(whole, "factor_clips", lambda **_: pytest.fail("rendered"))
    for models, words in (
        (["random:nosuch"], "nosuch"),
        (["random:m2l2-tiny", "random:m2l2-tiny"], "name of two models"),
    ):
        with pytest.raises(M2L2Error, match=words):
            whole.analyse_models(models, tmp_path / "o")
    store = make_store(tmp_path / "S", labels, aligned=True)
    with pytest.raises(InputError, match="given twice"):
        whole.analyse_stores([store, store], labels, tmp_path / "o")
    with pytest.raises(InputError, match=r"b has slots of \(4, 64\), a of \(8, 64\)"):
        check_shapes([("a", (8, 64)), ("b", (4, 64))])
    with pytest.raises(InputError, match="cannot be a folder of results"):
        whole.analyse_stores([store], labels, labels)
    assert names_of([tmp_path / "a" / "S", tmp_path / "b" / "S"]) == ["a/S", "b/S"]


def test_wrong_usage_is_one_line(tmp_path, labels):
    for arguments, words in (
        (("--quick", "--full"), "exclude each other"),
        (("--labels", labels), "belong together"),
        (("--store", tmp_path, "--labels", labels, "--swaps"), "needs a model that decodes"),
        (("--factor", "mood"), "--factor names columns"),
        (("--model", "a", "--model", "b", "--model", "c"), "3 models"),
        (("--model", "a", "--against", "b", "--against", "c"), "1 models against 2"),
    ):
        with pytest.raises(InputError, match=words):
            disentangle(*arguments, "--out", tmp_path / "o")


def test_other_embeddings_under_the_same_name_are_measured_anew(tmp_path, labels):
    out = tmp_path / "out"
    for aligned, pure in ((True, True), (False, False)):
        store = tmp_path / "store"
        shutil.rmtree(store, ignore_errors=True)
        make_store(store, labels, aligned=aligned)
        assert disentangle("--store", store, "--labels", labels, "--out", out, "--quick").exit_code == 0
        scores = {line["score"]: line for line in read_results(out)["scores"] if line["row"] == "store"}
        assert (scores["P1 D"]["estimate"] > 0.9) == pure


def test_one_label_alone_is_refused(tmp_path, labels):
    store = make_store(tmp_path / "store", labels, aligned=True)
    pd.read_csv(labels)[["track_id", "mood"]].to_csv(tmp_path / "one.csv", index=False)
    with pytest.raises(InputError, match="fewer than two factors"):
        disentangle("--store", store, "--labels", tmp_path / "one.csv", "--out", tmp_path / "out", "--quick")
