"""Studies stand beside scores of the same model and data set alone, and older ones are not replaced unasked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.probe.experiment import run_probe
from m2l2_mir.probe.results import write_result
from m2l2_mir.probe.rows import Row
from m2l2_mir.probe.running import run_into
from m2l2_mir.probe.studies import Study, has_study, read_studies, refuse_other_study, write_study


def settings(sha256: str = "1", **changes: Any) -> dict[str, Any]:
    rows = [{"name": "m", "width": 8, "store": {"weights_sha256": sha256}}]
    return {"dataset": "mock", "label": "genre", "seeds": 2, "rows": rows, **changes}


def study(made: dict[str, Any], model: str = "m") -> Study:
    line = {"part": "p", "row": model, "x": "all", "metric": "follows", "estimate": 0.5, "low": 0.4, "high": 0.6}
    return Study(
        kind="equivariance",
        probe="genre",
        title="",
        model=model,
        sentence="",
        metric="follows",
        x_label="",
        table=pd.DataFrame([line]),
        settings=made,
    )


def test_a_study_of_other_settings_is_replaced_only_when_asked(tmp_path: Path) -> None:
    write_study(tmp_path, study(settings()))
    refuse_other_study(tmp_path, "genre", "equivariance", settings(), model="m")
    with pytest.raises(InputError, match=r"made with other settings \(row 'm'.store.weights_sha256 differs\)"):
        refuse_other_study(tmp_path, "genre", "equivariance", settings("2"), model="m")
    with pytest.raises(InputError, match="seeds: 2 in the folder, 5 asked for"):
        refuse_other_study(tmp_path, "genre", "equivariance", {"seeds": 5})
    with pytest.raises(InputError, match="model 'm' in the folder, 'other' asked for"):  # before it is embedded
        refuse_other_study(tmp_path, "genre", "equivariance", {"seeds": 2}, model="other")
    refuse_other_study(tmp_path, "genre", "equivariance", settings("2"), model="m", overwrite=True)
    refuse_other_study(tmp_path, "genre", "grouping", settings("2"), model="m")
    assert has_study(tmp_path, "genre", "equivariance", {**settings(), "versions": 1})
    assert not has_study(tmp_path, "genre", "equivariance", settings("2"))
    assert not has_study(tmp_path, "genre", "grouping", settings())


def test_one_report_does_not_join_two_models(plan, rows, tmp_path: Path) -> None:
    def model(name: str, sha256: str) -> Row:
        return Row(name=name, kind="model", width=8, load=rows["label"].load, provenance={"store": {"sha256": sha256}})

    write_result(tmp_path, run_probe(plan(), [model("m", "1")], jobs=1, draws=100))
    for made, name, said in (
        ({"dataset": "mock", "label": "genre"}, "other", "no row 'other' among the scores"),
        ({"dataset": "another", "label": "genre"}, "", 'dataset: "mock" in the folder'),
        ({"rows": [{"name": "m", "width": 8, "store": {"sha256": "2"}}]}, "m", "store.sha256 differs"),
    ):
        with pytest.raises(InputError, match=f"holds scores of something else .*{said}"):
            refuse_other_study(tmp_path, "genre", "equivariance", made, model=name, overwrite=True)
    alike = {"rows": [{"name": "m", "width": 8, "store": {"sha256": "1"}}], "seeds": 9}
    refuse_other_study(tmp_path, "genre", "equivariance", alike, model="m")
    # And the other way round: scores beside a study that was there first.
    first = tmp_path / "first"
    write_study(first, study({"dataset": "mock", "label": "genre", **alike}))
    with pytest.raises(InputError, match=r"holds a study \(equivariance\) of something else \(store.sha256 differs"):
        run_into(first, plan(), [model("m", "2")], command="", jobs=1, quiet=True)
    run_into(first, plan(), [model("m", "1")], command="", jobs=1, quiet=True)
    assert len(read_studies(first)) == 1
    run_into(first, plan(), [model("m", "2")], command="", overwrite=True, jobs=1, quiet=True)
    assert read_studies(first) == []
