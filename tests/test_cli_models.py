"""``m2l2 models``: what is listed, shown and converted."""

import hashlib
import json
import re

import pytest

from m2l2_mir.model import shipped
from m2l2_mir.model.architectures import model_names
from m2l2_mir.model.checkpoint import load_model, random_model, save_model
from m2l2_mir.model.config import ModelConfig


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """The package's folder of weights, empty."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(shipped, "WEIGHTS", folder)
    return folder


@pytest.fixture
def trained(tmp_path):
    """A checkpoint that counts as trained."""
    model = random_model(ModelConfig.preset("m2l2-tiny"))
    model.weights_id = "run 1"
    path = tmp_path / "trained.safetensors"
    save_model(model, path, metadata={"licence": "CC-BY-SA-4.0", "data": "2.0 h: a, b", "training": "a note"})
    return path


def test_models_list(m2l2, weights):
    code, out, _ = m2l2("models", "list")
    assert code == 0
    lines = [line for line in out.splitlines() if not line.startswith(" ")]
    assert [line.split()[0] for line in lines] == model_names()
    assert all("untrained" in line or "official" in line for line in lines)
    code, out, _ = m2l2("models", "list", "--json")
    rows = json.loads(out)
    assert [row["name"] for row in rows] == model_names()
    sizes = {row["name"]: row["parameters"] for row in rows}
    assert sizes["m2l2-tiny"] < 5e5
    assert sizes["m2l2-small"] < 8e6


@pytest.mark.parametrize("name", ["m2l2-tiny", "random:m2l2-tiny:7"])
def test_models_show(m2l2, weights, name):
    code, out, _ = m2l2("models", "show", name)
    assert code == 0
    for part in ["name: m2l2-tiny", "untrained" if ":" not in name else name, "MIT", "arXiv 2501.17578", "  dim = 64"]:
        assert part in out
    facts = json.loads(m2l2("models", "show", name, "--json")[1])
    assert facts["config"]["dim"] == 64
    assert facts["parameters"] < 5e5


def test_models_show_of_nothing(m2l2):
    code, out, err = m2l2("models", "show", "m2l2-tinny")
    assert (code, out) == (2, "")
    assert re.fullmatch(r"m2l2: no model 'm2l2-tinny': .*did you mean 'm2l2-tiny'\?\n", err)


def test_from_a_checkpoint_to_a_shipped_model(m2l2, weights, trained):
    path = weights / "m2l2-tiny.safetensors"
    code, out, _ = m2l2("models", "convert", trained, path, "--half")
    assert (code, out) == (0, f"{hashlib.sha256(path.read_bytes()).hexdigest()}  m2l2-tiny.safetensors\n")
    (weights / "SHA256SUMS").write_text(out)
    (weights / "m2l2-tiny.md").write_text("# m2l2-tiny\n")
    listed = m2l2("models", "list")[1]
    assert re.search(r"^m2l2-tiny .* shipped, \d\.\d MB .*\n +licence: CC-BY-SA-4\.0$", listed, re.MULTILINE)
    assert listed.count("licence: CC-BY-SA-4.0") == 1
    _, shown, _ = m2l2("models", "show", "m2l2-tiny")
    for part in ("data: 2.0 h: a, b", "licence: CC-BY-SA-4.0", "training: a note", f"card: {weights / 'm2l2-tiny.md'}"):
        assert part in shown
    assert load_model("m2l2-tiny", device="cpu").trained


def test_convert_tells_a_machine(m2l2, trained, tmp_path):
    out = tmp_path / "out.safetensors"
    facts = json.loads(m2l2("models", "convert", trained, out, "--json")[1])
    assert (facts["file"], facts["bytes"]) == (str(out), out.stat().st_size)
    assert load_model(out, device="cpu").metadata == load_model(trained, device="cpu").metadata
