"""The model card of a run: its figures are those of the run's files, for the weights it is about."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from matplotlib.image import imread

from m2l2_mir.errors import CheckpointError, InputError
from m2l2_mir.model.checkpoint import load_model, read_metadata
from m2l2_mir.training import loop, watch
from m2l2_mir.training.card import write_card
from m2l2_mir.training.loop import train
from m2l2_mir.training.recordings import Collection, write_collections
from m2l2_mir.training.release import release
from m2l2_mir.training.stages import earlier_stages
from tests.training.runs import Tones, recipe

EXPLICIT = {"consistency_weight": 0.0, "consistency_from": 0.0, "easy_until": 0.0}
HEARD = {
    "renders": {"hours": 2.0, "pieces": 9, "licences": ["MIT"]},
    "warzone": {"hours": 3.0, "pieces": 4, "licences": ["GPL-2+"]},
    "wizznic": {"hours": 1.0, "pieces": 2, "licences": ["unknown"]},
}


class Heard(Tones):
    """Tones that say where they come from."""

    def describe(self) -> dict[str, Any]:
        return {"corpus": "0" * 64, "collections": HEARD, "mix": {"renders": 1.0, "*": 3.0}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run "first" of explicit losses, then "second", begun with its best weights, of all losses."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "LOG_EVERY", 1)
        patch.setattr(loop, "EVALUATE_EVERY", 3)
        patch.setattr(watch, "HELD_OUT_WINDOWS", 4)
        patch.setattr(watch, "HELD_OUT_CHUNKS", 16)
        first = recipe(name="wake", hold_out=("validation",), **EXPLICIT)
        train(first, Heard(), folder / "first", held_out=Tones(), device="cpu")
        begun = str(folder / "first" / "best.safetensors")
        train(recipe(name="join", steps=4), Heard(), folder / "second", init_from=begun, device="cpu")
    return folder


def change(run: Path, **history: Any) -> None:
    path = run / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | history))


@pytest.fixture
def first(runs: Path, tmp_path: Path) -> Path:
    """A copy of the first run, to change."""
    return Path(shutil.copytree(runs / "first", tmp_path / "first"))


def test_a_run_leaves_a_card_with_its_own_figures(runs: Path) -> None:
    card = (runs / "first" / "card.md").read_text()
    with open(runs / "first" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    total = sum(float(row["total"]) for row in rows) / len(rows)
    assert f"| total | {total:.4f} | {float(rows[-1]['held_out_total']):.4f} |" in card
    assert f"| effective rank | {float(rows[-1]['held_out_effective_rank']):.4g} |" in card
    # 3 of 4 parts for all but the renders, divided by length: 3 h and 1 h
    assert "| warzone | 3.00 | 4 | 56.2% | GPL-2+ |" in card
    assert "| renders | 2.00 | 9 | 25.0% | MIT |" in card
    assert "6.0 h in 3 collections" in card
    assert "| 1 | wake | 6 of 6 | 2 | 0.0 h |" in card
    assert "Held out by the recipe, to watch the loss on: validation." in card
    assert "The consistency model is untrained" in card
    assert "of step 6" in card
    assert "Taken at step" not in card
    assert str(runs) not in card


def test_the_front_matter_is_what_the_hub_reads(runs: Path) -> None:
    _, front, _ = (runs / "first" / "card.md").read_text().split("---\n", 2)
    values = yaml.safe_load(front)
    assert (values["library_name"], values["license"], values["license_name"]) == (
        "m2l2-mir",
        "other",
        "none-recommended",
    )
    assert "music" in values["tags"]


def test_curves_are_an_image_that_the_card_shows(runs: Path) -> None:
    assert "](curves.png)" in (runs / "first" / "card.md").read_text()
    pixels = imread(runs / "first" / "curves.png")
    assert pixels.std() > 0.01


def test_a_run_stopped_before_its_first_row_has_a_card(first: Path) -> None:
    (first / "metrics.csv").write_text("\n")
    (first / "curves.png").unlink()
    text = write_card(first, weights="weights.safetensors").read_text()
    assert "# m2l2-tiny" in text
    assert "## Losses" not in text
    assert not (first / "curves.png").exists()


def test_best_weights_have_the_figures_of_their_step(first: Path) -> None:
    path = first / "best.safetensors"
    step = json.loads(read_metadata(path)["best"])["step"]
    lines = (first / "metrics.csv").read_text().splitlines()
    end = lines[-1].split(",")
    end[0] = "7"  # an evaluation after the best one
    (first / "metrics.csv").write_text("\n".join([*lines, ",".join(end)]) + "\n")
    text = write_card(first, weights="best.safetensors").read_text()
    assert f"where the held-out loss was lowest, of step {step}." in text
    assert f"measured at step {step} |" in text
    path.unlink()
    with pytest.raises(CheckpointError, match=r"has no best\.safetensors"):
        write_card(first, weights="best.safetensors")


def test_time_is_the_sum_of_the_stretches(first: Path) -> None:
    stretches = [
        {"from_step": 0, "to_step": 2, "of": 9, "device": "CPU", "seconds": 1800.0},
        {"from_step": 2, "to_step": 3, "of": 6, "device": "CPU", "threads": 4, "seconds": 900.0},
        {"from_step": 3, "to_step": 5, "of": 6, "device": "2 x NVIDIA H100", "seconds": 5400.0},
        {"from_step": 5, "to_step": 5, "of": 6, "device": "CPU", "seconds": 900.0},
    ]
    change(first, stretches=stretches)
    text = write_card(first, weights="weights.safetensors").read_text()
    assert "0.75 h of CPU, 1.00 h of CPU core, 3.00 h of NVIDIA H100" in text
    assert "Taken at step 5 of 6 planned" in text
    assert "| 5 of 6, planned as 9 until step 2 |" in text


def test_a_second_stage_tells_the_first_wherever_that_is(runs: Path, tmp_path: Path) -> None:
    second = Path(shutil.copytree(runs / "second", tmp_path / "second"))
    text = write_card(second, weights="weights.safetensors").read_text()
    assert "| 1 | wake | 6 of 6 |" in text
    assert "| 2 | join | 4 of 4 |" in text
    assert "Stage 2: the same." in text
    assert "| first/best.safetensors |" in text
    assert "The consistency model is untrained" not in text


def test_weights_alone_tell_their_stages(runs: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(runs / "second" / "weights.safetensors", tmp_path / "moved.safetensors"))
    stages = earlier_stages(str(alone))
    assert [stage["recipe"]["name"] for stage in stages] == ["wake", "join"]
    assert [stage["stretches"][-1]["to_step"] for stage in stages] == [6, 4]
    assert "best" not in read_metadata(alone)  # that was the first stage's
    assert earlier_stages("random:m2l2-tiny") == []


def test_a_release_is_half_as_large_and_knows_its_licence(runs: Path, tmp_path: Path) -> None:
    write_collections(tmp_path, {"wizznic": Collection(licence="GPL-3", source="Debian package wizznic-data 1-1")})
    (tmp_path / "notes.md").write_text("## Measured\n\nPitch .9\n")
    out = tmp_path / "mine.safetensors"
    source = runs / "first" / "best.safetensors"
    sha256 = release(source, out, half=True, sources=[tmp_path], notes=[tmp_path / "notes.md"])
    assert sha256 == hashlib.sha256(out.read_bytes()).hexdigest()
    assert out.stat().st_size < 0.6 * source.stat().st_size
    metadata = load_model(out, device="cpu").metadata
    assert metadata["licence"] == "GPL-3.0-only, attribution required"
    assert metadata["data"] == "6.0 h: renders, warzone, wizznic"
    assert metadata["training"] == read_metadata(source)["training"]
    card = (tmp_path / metadata["card"]).read_text()
    assert "| GPL-3 | Debian package wizznic-data 1-1 |" in card
    assert "**GPL-3.0-only, attribution required**" in card
    assert card.startswith("---\nlibrary_name") and "# mine\n" in card and card.endswith("Pitch .9\n")  # noqa: PT018
    assert "](mine.png)" in card and (tmp_path / "mine.png").is_file()  # noqa: PT018
    again = tmp_path / "again.safetensors"
    release(out, again)  # outside of a run: its words travel along, and there is no card
    assert load_model(again, device="cpu").metadata == metadata
    assert not again.with_suffix(".md").exists()


def test_what_cannot_be_released_is_refused(runs: Path, tmp_path: Path) -> None:
    weights = runs / "first" / "weights.safetensors"
    with pytest.raises(InputError, match=r"official\.pt: only \.safetensors"):
        release(tmp_path / "official.pt", tmp_path / "out.safetensors")
    with pytest.raises(InputError, match=r"out\.bin: only \.safetensors"):
        release(weights, tmp_path / "out.bin")
    lone = Path(shutil.copy(weights, tmp_path / "lone.safetensors"))
    with pytest.raises(InputError, match=r"no run's folder"):
        release(lone, tmp_path / "out.safetensors", notes=[tmp_path / "notes.md"])
    with pytest.raises(InputError, match=r"notes\.md cannot be read"):
        release(weights, tmp_path / "out.safetensors", notes=[tmp_path / "notes.md"])
    assert [path.name for path in tmp_path.iterdir()] == ["lone.safetensors"]
