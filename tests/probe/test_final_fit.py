"""Read-outs fitted on all tracks: kept, loaded, and the same as the estimator that they come from."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.errors import CheckpointError, InputError
from m2l2_mir.probe import fitted as fitted_module
from m2l2_mir.probe.experiment import run_probe
from m2l2_mir.probe.final_fit import keep_fits
from m2l2_mir.probe.fitted import FittedProbe
from m2l2_mir.probe.predicting import find_fitted
from m2l2_mir.probe.results import read_predictions, read_scores, write_result
from m2l2_mir.probe.rows import Row
from m2l2_mir.probe.space import Space
from m2l2_mir.probe.task import READOUTS

SPACE = Space(
    model="",
    weights="sha256:12",
    weights_sha256="34",
    trained=True,
    features="bottleneck",
    loudness=None,
    excerpt=None,
    num_embeddings=4,
    dim=3,
    slots="flatten",
    pooling="mean",
    part=0,
)
TRACKS = 120


@pytest.fixture(scope="module")
def row(dataset) -> Row:
    """Embeddings 4 x 3 that hold the genre in slot 1 and log2 of the tempo in slot 2, beside noise."""
    rng = np.random.default_rng(1)
    embeddings = rng.normal(size=(TRACKS, 4, 3))
    embeddings[:, 0] += 3 * pd.get_dummies(dataset.tracks["genre"]).to_numpy()
    embeddings[:, 1, 0] = np.log2(dataset.tracks["tempo"]) + 0.02 * rng.normal(size=TRACKS)
    vectors = embeddings.reshape(TRACKS, 12).astype(np.float32)
    vectors[7] = np.nan
    audio = [f"{number:064x}" for number in range(TRACKS)]
    return Row(
        name="mine: 4 x 3",
        kind="model",
        width=12,
        load=lambda _: vectors,
        failed={7: "broken"},
        space=SPACE,
        audio=audio,
    )


@pytest.fixture(scope="module")
def kept(plan, row, tmp_path_factory):
    """Run a probe, write it, keep its fits -> folders of the fits by read-out."""

    @cache
    def run(probe: str, *readouts: str) -> dict[str, Path]:
        return fits(plan(probe, readouts=readouts, seeds=1, folds=2), [row], tmp_path_factory.mktemp("out"))

    return run


def fits(plan, rows: list[Row], out: Path) -> dict[str, Path]:
    write_result(out, run_probe(plan, rows, jobs=1, draws=50))
    scores, predictions = read_scores(out)[plan.name], read_predictions(out, plan.name)
    found = keep_fits(plan, rows, scores, predictions, out / plan.name)
    return {FittedProbe.load(folder).facts.readout: folder for folder in found}


@pytest.mark.parametrize("probe", ["genre", "tempo"])
def test_what_is_loaded_is_the_estimator_fitted_on_all_tracks(kept, plan, row, probe: str) -> None:
    readouts = ["linear", "mlp", "knn"] if probe == "genre" else ["linear", "linear-regression", "mlp-regression"]
    folders = kept(probe, *readouts)
    assert set(folders) == set(readouts) - {"knn"}
    table = plan(probe).dataset.tracks.drop(index=7)
    vectors = row.load(0)
    for readout, folder in folders.items():
        fitted = FittedProbe.load(folder)
        task = fitted.facts.task
        estimator = READOUTS[readout](random_state=0)
        targets, groups = task.targets(table[probe].to_numpy()), pd.factorize(table["group"])[0]
        estimator.fit(np.delete(vectors, 7, axis=0), targets, groups)
        unseen = np.random.default_rng(2).normal(size=(50, 4, 3))
        flat = unseen.reshape(50, 12)
        if task.regression:
            expected = task.estimates(estimator.predict(flat), np.empty(0))
        else:
            shares = estimator.predict_proba(flat)
            np.testing.assert_allclose(fitted.predict_proba(unseen), shares, rtol=1e-4, atol=1e-6)
            expected = task.estimates(shares, estimator.classes_)
        if probe == "tempo":
            np.testing.assert_allclose(fitted.predict(unseen), expected, rtol=1e-4)
        else:
            assert fitted.predict(unseen).tolist() == expected.tolist()
        assert fitted.facts.training_tracks.keys() == set(table["track_id"])
        assert fitted.facts.training_tracks["t003"] == f"{3:064x}"
        assert fitted.facts.score["scored"] == TRACKS - 1


def test_two_classes_have_two_probabilities(plan, row, dataset, tmp_path) -> None:
    is_jig = dataset.tracks["genre"] == "jig"
    two = replace(dataset, tracks=dataset.tracks.assign(genre=np.where(is_jig, "jig", "other")))
    manifests = {"grouped": (two.split("genre", "grouped", folds=2),)}
    planned = replace(plan(readouts=["linear", "mlp"], seeds=1), dataset=two, manifests=manifests)
    for folder in fits(planned, [row], tmp_path).values():
        fitted = FittedProbe.load(folder)
        shares = fitted.predict_proba(np.delete(row.load(0), 7, axis=0))
        assert shares.shape == (TRACKS - 1, 2)
        assert np.mean((shares[:, fitted.labels.index("jig")] > 0.5) == is_jig.drop(index=7)) > 0.9


def test_directions_are_all_that_a_readout_reads(kept, row) -> None:
    fitted = FittedProbe.load(kept("genre", "linear", "mlp", "knn")["linear"])
    basis = fitted.directions()
    assert basis.shape == (2, 12)  # three classes
    np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=1e-12)
    flat = np.random.default_rng(3).normal(size=(40, 12))
    across = flat + 5 * (np.eye(12) - basis.T @ basis)[0]
    np.testing.assert_allclose(fitted.predict_proba(across), fitted.predict_proba(flat), atol=1e-12)
    without = fitted.predict_proba(flat - flat @ basis.T @ basis)
    assert np.ptp(without, axis=0).max() < 1e-12
    # A softmax does not see what is added to all logits alike.
    [(weights, offsets)] = fitted.layers
    shifted = replace(fitted, layers=[(weights + np.arange(12)[:, None], offsets)])
    assert np.linalg.svd(np.vstack([basis, shifted.directions()]))[1][2] < 1e-9
    # They lie in the slot that holds the genre.
    assert np.linalg.norm(basis[:, :3]) > 0.9 * np.linalg.norm(basis)

    faster = FittedProbe.load(kept("tempo", "linear", "linear-regression", "mlp-regression")["linear-regression"])
    [direction] = faster.directions()
    rising = faster.predict(np.arange(5)[:, None] * direction)
    assert (np.diff(rising) > 0).all()
    with pytest.raises(InputError, match="fit the probe with --readout linear"):
        FittedProbe.load(kept("genre", "linear", "mlp", "knn")["mlp"]).directions()


def test_confidence_and_labels(kept) -> None:
    folders = kept("tempo", "linear", "linear-regression", "mlp-regression")
    by_class, by_number = (FittedProbe.load(folders[name]) for name in ("linear", "linear-regression"))
    assert 55 < min(by_class.labels) < 62
    assert by_number.labels == []
    far = np.zeros((3, 4, 3))
    assert np.ptp(by_number.sure(far)) == 0
    assert by_number.sure(far)[0] == pytest.approx(by_number.facts.score["estimate"], abs=0.02)
    with pytest.raises(InputError, match="no probabilities"):
        by_number.predict_proba(far)
    far[1, 2, 0] = np.inf
    with pytest.raises(InputError, match="1 of 3 tracks hold NaN or infinity, first track 1"):
        by_class.predict(far)


def test_fits_are_made_once_and_replaced_whole(plan, row, tmp_path) -> None:
    planned = plan(readouts=["linear", "linear-regression"], probe="tempo", seeds=1, folds=2)
    folder = fits(planned, [row], tmp_path)["linear"]
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    scores, predictions = read_scores(tmp_path)["tempo"], read_predictions(tmp_path, "tempo")
    keep_fits(planned, [row], scores, predictions, tmp_path / "tempo")
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    # Another run: other numbers, and no regression.
    moved = row.load(0) * 2
    other = replace(row, load=lambda _: moved, provenance={"made": "otherwise"})
    assert fits(plan("tempo", readouts=["linear"], seeds=1, folds=2), [other], tmp_path) == {"linear": folder}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert len(list(folder.iterdir())) == 2


def test_of_a_run_the_headline_fits_are_found(plan, row, tmp_path) -> None:
    """One for each probe, under its plain name: the first read-out and row of the run, whatever the folders' order."""
    rows = [row, replace(row, name="a slot of mine", space=replace(SPACE, slots="each"), width=3)]
    rows[1] = replace(rows[1], load=lambda _: row.load(0)[:, :3])
    for probe, readouts in (("tempo", ["linear-regression", "linear"]), ("genre", ["mlp", "linear"])):
        fits(plan(probe, readouts=readouts, seeds=1, folds=2), rows, tmp_path)
    found = find_fitted(tmp_path)
    assert {name: (one.facts.row, one.facts.readout) for name, one in found.items()} == {
        "genre": (row.name, "mlp"),
        "tempo": (row.name, "linear-regression"),
    }
    one = tmp_path / "tempo" / "fitted" / "a-slot-of-mine-linear"
    assert find_fitted(one)["tempo"].facts.row == "a slot of mine"
    # Scores that a later run has replaced, and that was cut off before its fits; and none at all.
    scores = json.loads((tmp_path / "tempo" / "scores.json").read_text())
    scores["sections"][0]["readout"] = "knn"
    (tmp_path / "tempo" / "scores.json").write_text(json.dumps(scores))
    assert find_fitted(tmp_path / "tempo")["tempo"].facts.readout == "linear"
    (tmp_path / "tempo" / "scores.json").unlink()
    with pytest.raises(CheckpointError, match=f"holds 4 fitted probes, and no scores.json .* name one of them: {one}"):
        find_fitted(tmp_path)


def test_a_save_that_is_cut_off_leaves_the_old_probe(kept, tmp_path, monkeypatch) -> None:
    folder = shutil.copytree(kept("genre", "linear", "mlp", "knn")["linear"], tmp_path / "copy")
    old = FittedProbe.load(folder)

    def killed(*_) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fitted_module, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            replace(old, mean=old.mean + 1).save(folder)
    np.testing.assert_array_equal(FittedProbe.load(folder).mean, old.mean)
    replace(old, mean=old.mean + 2).save(folder)
    np.testing.assert_array_equal(FittedProbe.load(folder).mean, old.mean + 2)
    assert len(list(folder.iterdir())) == 2


def _damage(folder, what: str) -> None:
    card, [numbers] = folder / "probe.json", folder.glob("*.safetensors")
    if what == "numbers cut off":
        numbers.write_bytes(numbers.read_bytes()[:-8])
    elif what == "numbers altered":
        content = bytearray(numbers.read_bytes())
        content[-3] ^= 1
        numbers.write_bytes(content)
    elif what == "numbers gone":
        numbers.unlink()
    elif what == "card edited":
        card.write_text(card.read_text().replace('"jig"', '"gig"'))
    elif what == "other format":
        card.write_text(json.dumps({**json.loads(card.read_text()), "format": "m2l2-mir/fitted-probe/9"}))
    else:
        card.write_text("{")


@pytest.mark.parametrize(
    "what", ["numbers cut off", "numbers altered", "numbers gone", "card edited", "other format", "no JSON"]
)
def test_what_is_damaged_is_refused(kept, tmp_path, what: str) -> None:
    folder = shutil.copytree(kept("genre", "linear", "mlp", "knn")["linear"], tmp_path / "copy")
    _damage(folder, what)
    with pytest.raises(CheckpointError, match="run the probe again"):
        FittedProbe.load(folder)


def test_numbers_that_do_not_fit_are_refused(kept) -> None:
    good = FittedProbe.load(kept("genre", "linear", "mlp", "knn")["linear"])
    [(weights, offsets)] = good.layers
    for wrong in (
        {"mean": good.mean[:5]},
        {"scale": good.scale * 0},
        {"layers": [(weights[:, :2], offsets[:2])]},
        {"layers": [(weights * np.nan, offsets)]},
        {"space": replace(SPACE, slots="mean")},
        {"facts": replace(good.facts, classes=("jig", "jig", "reel"))},
        {"facts": replace(good.facts, readout="linear-regression", metrics="tempo")},
    ):
        with pytest.raises(InputError):
            replace(good, **wrong)
