"""The report of a run: every row, nothing from outside, and the same again from the files alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.probe.experiment import run_probe
from m2l2_mir.probe.figures import section_figures, slot_figures
from m2l2_mir.probe.report import UNTRAINED, summary_section, write_report
from m2l2_mir.probe.results import read_predictions, read_scores, write_result
from m2l2_mir.probe.rows import Row

HOSTILE = "<script>alert('1')</script> & $x$"


@pytest.fixture(scope="module")
def out(plan, rows, tmp_path_factory) -> Path:
    """Two probes of a model, its two slots alone and left out, noise, and a row with a hostile name."""
    folder = tmp_path_factory.mktemp("run")
    [whole, noise] = rows.values()
    halves = [
        Row(
            name=f"label, {word} {slot + 1}",
            kind="model",
            width=4,
            load=lambda seed, start=start: whole.load(seed)[:, start : start + 4],
            provenance={"view": [view, "mean", slot]},
        )
        for word, view, starts in (("slot", "each", (0, 4)), ("without slot", "leave-one-out", (4, 0)))
        for slot, start in enumerate(starts)
    ]
    model = replace(whole, provenance={"view": ["flatten", "mean", 0], "store": {"weights": "random:x"}})
    several = [model, *halves, noise, replace(noise, name=HOSTILE, about=HOSTILE, note=HOSTILE)]
    for probe, options in (("genre", {}), ("tempo", {"readouts": ["linear-regression"]})):
        result = run_probe(plan(probe, **options), several, jobs=1, draws=100)
        write_result(folder, result, command="m2l2 probe run 'genre' > <x>")
    return folder


def test_every_row_is_there_and_nothing_from_outside(out: Path) -> None:
    text = write_report(out).read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt; &amp; $x$" in text
    assert "m2l2 probe run &#x27;genre&#x27; &gt; &lt;x&gt;" in text
    for scores in read_scores(out).values():
        for row in scores["rows"]:
            if row["name"] != HOSTILE:
                assert text.count(f'<td data-name="row">{row["name"]}</td>') >= 4  # overview, two tables, list of rows
        assert scores["sentence"].split(";")[0] in text
    assert "120 of 120" in text.replace("\u00a0", " ")
    assert UNTRAINED in text
    for words in ("Licence: CC0", "Please cite: none", "m2l2 probe report", "within 4 % of the true tempo"):
        assert words in text
    assert not re.search(r"https?:|@import|url\((?!#)|src=\"(?!data:)", text)
    assert all(target[0] == "#" for target in re.findall(r'\shref="([^"]*)"', text))
    ids = re.findall(r'\sid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in re.findall(r'<a href="(#[^"]*)"', text)} <= set(ids)


def test_figures_are_files_and_old_ones_go(out: Path) -> None:
    folder = out / "genre" / "figures"
    folder.mkdir(exist_ok=True)
    (folder / "grouped-mlp-scores.svg").write_text("of another run")
    write_report(out)
    assert sorted(path.name for path in folder.iterdir()) == [
        f"grouped-linear-{name}.svg"
        for name in ("calibration-1", "calibration-2", "confusion-1", "confusion-2", "scores")
    ]
    assert sorted(path.name for path in (out / "figures").iterdir()) == ["slots-alone-1.svg", "slots-left-out-2.svg"]


def test_all_rows_are_sorted_and_hold_their_scores(out: Path) -> None:
    scores = read_scores(out)["genre"]
    [section] = scores["sections"]
    figure, *others = section_figures(scores, section, read_predictions(out, "genre"))
    found = {line["row"]: line["estimate"] for line in section["scores"] if line["metric"] == "accuracy"}
    [axes] = figure.figure.axes
    assert [patch.get_width() for patch in axes.patches] == sorted(found.values(), reverse=True)
    assert axes.get_yticklabels()[0].get_text() in ("label", "label, slot 1", "label, without slot 2")  # all of them 1
    assert "label (1.000)" in figure.caption
    # Drawn are the model and the best hand-made row, no slots.
    assert [one.caption.split(":")[0] for one in others if one.name.startswith("confusion")] == ["label", "noise"]


def test_slots_against_probes(out: Path) -> None:
    probes = read_scores(out)
    alone, left_out = slot_figures(list(probes.values()))
    found = {
        (probe, line["row"]): line["estimate"]
        for probe, scores in probes.items()
        for line in scores["sections"][0]["scores"]
        if line["metric"] == scores["sections"][0]["primary"]
    }
    # Slot 1 holds the genre; noise fills slot 2, which is no better than shuffled labels.
    cells = [text.get_text() for text in alone.figure.axes[0].texts]
    texts = [float(cell.removesuffix(" ~")) for cell in cells]
    names = ["label, slot 1", "label, slot 2", "label", "shuffled labels"]
    wanted = [found[probe, name] for name in names for probe in ("genre", "tempo")]
    np.testing.assert_allclose(texts, wanted, atol=5e-4)
    assert texts[0] == 1
    assert [cell[-1] == "~" for cell in cells] == [False, True, True, True, False, False, False, False]
    assert "genre is read best from slot 1 (1.000)" in alone.caption
    legend = write_report(out).read_text(encoding="utf-8")
    assert re.search(r"; ~ marks slots read alone .*, n\.s\. left-out slots .*", legend)
    cells = [text.get_text() for text in left_out.figure.axes[0].texts]
    assert not cells[0].endswith("n.s.")
    assert cells[2].endswith("n.s.")  # without the noise genre is read as well
    texts = [float(cell.removesuffix(" n.s.")) for cell in cells]
    assert texts[0] == pytest.approx(found["genre", "label, without slot 1"] - 1, abs=5e-4)
    assert texts[0] < -0.3
    assert "genre changes most without 1" in left_out.caption


def test_again_from_files_alone_and_with_one_probe(m2l2, out: Path, tmp_path: Path) -> None:
    text = write_report(out).read_bytes()
    (out / "report.html").unlink()
    before = (out / "genre" / "scores.json").stat().st_mtime_ns
    code, printed, _ = m2l2("probe", "report", out, "--json")
    assert (code, json.loads(printed)) == (0, {"report": str(out / "report.html")})
    assert (out / "report.html").read_bytes() == text
    assert (out / "genre" / "scores.json").stat().st_mtime_ns == before
    alone = tmp_path / "tempo"
    alone.mkdir()
    for name in ("scores.json", "predictions.parquet"):
        (alone / name).write_bytes((out / "tempo" / name).read_bytes())
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "Tempo (acc1)" in text
    assert "Genre" not in text
    (alone / "predictions.parquet").unlink()
    with pytest.raises(InputError, match=r"predictions\.parquet cannot be read"):
        write_report(tmp_path)


def test_section_of_another_page(out: Path) -> None:
    text = summary_section(out, intro="<why>", report=Path("far/probes/report.html"))
    assert "&lt;why&gt;" in text
    assert "<code>probes/report.html</code>" in text
    assert text.count("<svg") == 4  # of each probe all rows, and the model's estimates
