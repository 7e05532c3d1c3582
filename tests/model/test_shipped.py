"""Shipped weights: found by name, unchanged, and the default where they are there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from m2l2_mir.errors import CheckpointError
from m2l2_mir.model import shipped
from m2l2_mir.model.catalogue import catalogue, describe
from m2l2_mir.model.checkpoint import load_model, save_model
from m2l2_mir.model.shipped import default_model, shipped_names, shipped_path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of the package's own."""
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    return tmp_path


def ship(folder: Path, model, *, name: str = "m2l2-small") -> Path:
    model.weights_id = "run 1"
    path = folder / f"{name}.safetensors"
    save_model(model, path, metadata={"licence": "CC-BY-SA-4.0", "data": "2 h: a, b"}, half=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  {path.name}\n")
    return path


def test_without_weights_the_default_is_random(folder: Path, make_model) -> None:
    assert (default_model(), shipped_names()) == ("random:m2l2-small", [])
    with pytest.raises(CheckpointError, match="no trained weights of 'm2l2-small' are shipped yet"):
        load_model("m2l2-small", device="cpu")
    ship(folder, make_model())
    (folder / "SHA256SUMS").unlink()  # what is not listed is not shipped
    assert (default_model(), shipped_names()) == ("random:m2l2-small", [])


def test_with_weights_the_default_is_trained(folder: Path, make_model) -> None:
    model = make_model()
    ship(folder, model)
    assert (default_model(), shipped_names()) == ("m2l2-small", ["m2l2-small"])
    loaded = load_model("m2l2-small", device="cpu")
    assert loaded.trained
    assert torch.equal(loaded.encoder.latents, model.encoder.latents.half().float())


def test_other_weights_do_not_change_the_default(folder: Path, make_model) -> None:
    ship(folder, make_model(), name="m2l2-small-ordered")
    assert (default_model(), shipped_names()) == ("random:m2l2-small", ["m2l2-small-ordered"])


def test_replaced_and_missing_weights_are_refused(folder: Path, make_model) -> None:
    path = ship(folder, make_model())
    save_model(make_model(), path, metadata={"licence": "MIT"})  # whole in itself, but not what was shipped
    with pytest.raises(CheckpointError, match=r"m2l2-small\.safetensors is not the file that was shipped.*install"):
        load_model("m2l2-small", device="cpu")
    load_model(path, device="cpu")
    path.unlink()
    with pytest.raises(CheckpointError, match=r"cannot be read \(No such file.*install the package again"):
        load_model("m2l2-small", device="cpu")


def test_shipped_weights_are_told_with_size_licence_and_card(folder: Path, make_model) -> None:
    path = ship(folder, make_model())
    rows = {row["name"]: row for row in catalogue()}
    row = rows["m2l2-small"]
    assert (row["weights"], row["licence"]) == ("shipped", "CC-BY-SA-4.0")
    assert row["megabytes"] == pytest.approx(path.stat().st_size / 1e6, abs=0.05)
    assert rows["m2l2-tiny"]["weights"] == "untrained, as random:m2l2-tiny"
    assert "card" not in describe("m2l2-small")
    path.with_suffix(".md").write_text("# m2l2-small\n")
    facts = describe("m2l2-small")
    assert (facts["licence"], facts["data"], facts["card"]) == (
        "CC-BY-SA-4.0",
        "2 h: a, b",
        str(folder / "m2l2-small.md"),
    )


def test_what_the_package_ships_is_whole() -> None:
    for name in shipped_names():
        model = load_model(name, device="cpu")
        assert model.trained
        assert model.metadata["licence"] in shipped_path(name).with_suffix(".md").read_text(encoding="utf-8")
        assert shipped_path(name).stat().st_size <= 16e6
