"""The command on recordings: clicks at stated tempi, altered by the phase vocoder, with a model and all its rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from m2l2_mir.audio import save
from m2l2_mir.cli_equivariance import equivariance
from m2l2_mir.errors import InputError


@pytest.fixture
def run():
    """Run the command alone -> exit code, output; errors are raised."""
    app = typer.Typer()
    app.command()(equivariance)

    def call(*arguments):
        return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)

    return call


@pytest.fixture
def clicks(tmp_path: Path) -> str:
    """24 click tracks of 3 s from 60 to 180 bpm; the last one cannot be read."""
    lines = ["path,tempo,artist"]
    for number in range(24):
        bpm = round(60 * 3 ** (number / 23), 2)
        waveform = np.zeros(24000)
        waveform[(np.arange(0, 3, 60 / bpm) * 8000).astype(int)] = 0.9
        if number < 23:
            save(tmp_path / f"{number:02}.wav", waveform[None], 8000)
        lines.append(f"{number:02}.wav,{bpm},artist {number // 2}")
    (tmp_path / "my.csv").write_text("\n".join(lines) + "\n")
    return f"table:{tmp_path / 'my.csv'}"


def test_recordings(run, clicks: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    common = ["--model", "random:m2l2-tiny", "--device", "cpu", "--jobs", "1", "--out", out]
    done = run("tempo", "--dataset", clicks, *common, "--quick", "--tracks", "6", "--json")
    told = json.loads(done.stdout)
    study = json.loads((out / "tempo" / "equivariance.json").read_text())
    assert told["probes"][0]["sentence"] == study["sentence"]
    rows = {line["row"] for line in study["table"]}
    assert {"random:m2l2-tiny", "untrained m2l2-tiny", "shuffled labels", "tempogram"} <= rows
    assert {line["part"] for line in study["table"]} == {"phase vocoder"}
    assert {(line["scored"], line["expected"]) for line in study["table"]} == {(6, 6)}
    assert all(track.split(".")[0] != "23" for track in study["settings"]["tracks"])
    assert "What a single score hides" in (out / "report.html").read_text()


def test_what_is_refused(run, clicks: str, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "out"]
    with pytest.raises(InputError, match="no change moves labels of genre"):
        run("genre", *out)
    with pytest.raises(InputError, match="none of 24 tracks can be altered by rendering"):
        run("tempo", "--dataset", clicks, "--by", "rendering", "--seeds", "1", *out)
    with pytest.raises(InputError, match="--by is 'magic'"):
        run("tempo", "--by", "magic", *out)
    with pytest.raises(InputError, match="--tracks is 1"):
        run("tempo", "--tracks", "1", *out)
