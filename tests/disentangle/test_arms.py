"""What is checked of the arms before anything is measured, and what they differ in."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from m2l2_mir.disentangle import arms
from m2l2_mir.disentangle.arms import arms_of, check_models
from m2l2_mir.errors import InputError
from m2l2_mir.model.config import ModelConfig

TINY = ModelConfig.preset("m2l2-tiny")


@pytest.fixture
def models(monkeypatch):
    """Models by name: configuration, and steps of the one stage of training."""
    held = {}

    def add(name, *, steps=100, trained=True, **changes):
        recipe = {"model": "x", "latents": "y", "seed": len(held), "steps": steps}
        stages = [{"recipe": recipe, "data": {"corpus": "a" * 64}}]
        held[name] = SimpleNamespace(
            config=replace(TINY, name=name, **changes), metadata={"stages": json.dumps(stages)}, trained=trained
        )

    monkeypatch.setattr(arms, "load_model", lambda name, device: held[name])
    monkeypatch.setattr(arms, "model_name", lambda name: name)
    return add


def test_latents_names_and_seeds_may_differ_and_nothing_else(models):
    models("a")
    models("b", latents="ordered")
    models("c", steps=50)
    models("d", encoder_layers=2)
    assert check_models(["a"], ["b"]) == []
    assert check_models(["a"], []) == []
    [note] = check_models(["a", "b"], ["d", "c"])[1:]
    assert "steps of stage 1: 100 and 50" in note
    assert note.startswith("b and c differ")
    assert "encoder_layers: 1 and 2" in check_models(["a"], ["d"])[0]


def test_arms_are_paired_by_place():
    assert arms_of(["a", "b"], []) == (["a"], ["b"])
    assert arms_of(["a", "b"], ["c", "d"]) == (["a", "b"], ["c", "d"])
    with pytest.raises(InputError, match="no model"):
        arms_of([], [])
