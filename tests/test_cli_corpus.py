"""The commands that bring training music together: what they print, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from m2l2_mir.audio import save
from m2l2_mir.cli_corpus import corpus, pack
from m2l2_mir.errors import InputError
from m2l2_mir.training.free_music import free_music
from tests.training.tones import RATE, tone


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Two collections with two tones each."""
    for number in range(4):
        folder = tmp_path / "library" / f"album {number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        save(folder / f"{number}.wav", tone(200 + 50 * number), RATE)
    return tmp_path / "library"


def run(*arguments: object) -> Any:
    app = typer.Typer()
    app.add_typer(corpus, name="corpus")
    app.command("pack")(pack)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_list_names_every_package_with_its_licence() -> None:
    rows = json.loads(run("corpus", "list", "--json").stdout)
    assert [row["name"] for row in rows] == [package.name for package in free_music()]
    assert all(row["licence"] and row["megabytes"] > 0 for row in rows)
    assert "wesnoth-music" in run("corpus", "list").stdout


def test_pack_counts_and_exits_with_3_where_a_file_is_broken(library: Path, tmp_path: Path) -> None:
    result = run("pack", library, tmp_path / "shards")
    assert result.exit_code == 0
    assert "4 recordings in 1 shards" in result.stdout
    (library / "album 0" / "broken.ogg").write_bytes(b"OggS" + bytes(100))
    result = run("pack", library, tmp_path / "more", "--json")
    assert result.exit_code == 3
    assert [entry["name"] for entry in json.loads(result.stdout)["skipped"]] == ["album 0/broken.ogg"]
    assert "failed: album 0/broken.ogg" in run("pack", library, tmp_path / "more").stderr


def test_fetch_renders_once(tmp_path: Path) -> None:
    arguments = ("corpus", "fetch", "renders", "--out", tmp_path / "r", "--hours", 0.005, "--jobs", 1)
    assert "1 pieces rendered now" in run(*arguments).stdout
    assert "0 pieces rendered now" in run(*arguments).stdout
    with pytest.raises(InputError, match="did you mean 'renders'"):
        raise run("corpus", "fetch", "render", "--out", tmp_path).exception
