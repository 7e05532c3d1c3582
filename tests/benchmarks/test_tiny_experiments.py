"""The experiments that train tiny models compare the right arms, and say no more than the figures hold."""

from __future__ import annotations

import importlib
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
SEEDS, PIECES = 3, 6
EXCERPTS = {"clips": [{"piece": "a", "start": 0.0}] * PIECES, "seconds": 5}


@pytest.fixture
def script(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module(request.param)


def of_pieces(mean: float, seed: int) -> list[float]:
    """Figures of pieces that differ more from each other than arms do."""
    return (mean + 0.01 * seed + np.arange(PIECES)).tolist()


@pytest.mark.parametrize("script", ["explicit_loss"], indirect=True)
def test_the_explicit_loss_kept_is_compared_with_it_switched_off(script: ModuleType) -> None:
    means = {script.KEPT: 1.0, script.OFF: 1.5, script.NEVER: 9.0}
    measured = {
        (arm, seed): {
            script.FAD: mean + 0.01 * seed * (arm == script.KEPT),
            "two-step, si_sdr": of_pieces(mean, seed),
            **({script.PITCH: mean} if seed or arm != script.OFF else {}),  # one run has none
        }
        for arm, mean in means.items()
        for seed in range(SEEDS)
    }
    found = script.comparisons(measured, SEEDS)
    assert set(found) == {script.FAD, "two-step, si_sdr"}
    assert found[script.FAD]["seeds"]["estimate"] == pytest.approx(-0.49)
    assert found[script.FAD]["pieces"] is None
    assert found["two-step, si_sdr"]["pieces"]["estimate"] == pytest.approx(-0.5)
    said = [script.sentence(found, {"fad": floor}) for floor in (2.0, 0.5)]
    assert ["kept is better" in one for one in said] == [True, False]
    assert ["nothing follows" in one for one in said] == [False, True]
    asleep = {"step": 600, "apart": 0.0, "explicit_bands": 0.95, "bounded_std": 0.2, "consistency": 0.1}
    runs = [{"arm": arm, "seed": seed, "weights": f"run-{arm}-{seed}", "bounded_std": 0.1} for arm, seed in measured]
    ended = [
        {"step": 900.0, "stopped": "the latents have collapsed"} if run["weights"] == "run-never-1" else {}
        for run in runs
    ]
    results = {
        **EXCERPTS,
        "woken": [asleep, {**asleep, "explicit_bands": 0.5}],
        "floor": {"fad": 2.0, "log_spectral_distance": [10.0, 12.0]},
        "runs": [run | end for run, end in zip(runs, ended, strict=True)],
        "compared": found,
        "measured": [{"arm": arm, "seed": seed, **one} for (arm, seed), one in measured.items()],
        "untrained": [{script.PITCH: 0.5}],
    }
    text = script.summary(results, "trained")
    for part in (
        "In 1 of 2 seeds the encoder had not woken",
        "log-spectral distance (dB) 11.000",
        "never, seed 1, was given up at step 900: the latents have collapsed.",
        "| pitch (quick monitor) | 9.000 (sd 0.000) | 0.500 |",
        "--model run-kept-0/weights.safetensors",
    ):
        assert part in text


@pytest.mark.parametrize("script", ["context_length"], indirect=True)
def test_contexts_are_compared_with_that_of_the_paper(script: ModuleType) -> None:
    means = {"1": 0.1, "2": 0.4, "4": 0.4}
    measured = {
        (arm, seed): {
            method: {figure: of_pieces(mean + 0.001 * seed * (arm == "4"), seed) for figure in figures}
            for method, figures in {
                **dict.fromkeys(script.METHODS, script.TITLES),
                script.CONTEXT: script.SCORES | script.USE,
            }.items()
        }
        for arm, mean in means.items()
        for seed in range(SEEDS)
    }

    def least(floor: float) -> dict[str, dict[str, list[float]]]:
        uneven = 0.1 * np.cos(np.arange(PIECES))
        noise = {judged: of_pieces(floor * better, 0) + uneven for judged, better in script.ASKED.values()}
        return {"worse": {"beats": noise["beats"] - 100, "key": noise["key"] - 100}, "noise": noise}

    found = script.comparisons(measured, least(-1.0), SEEDS)
    assert set(found) == {"1", "4"}
    assert found["1"]["two-step"]["key"]["pieces"]["estimate"] == pytest.approx(-0.3)
    said = [script.sentence(arm, found[arm]["single-step"]) for arm in ("1", "4")]
    assert ["not told apart" in one for one in said] == [False, True]
    assert "nothing follows" not in said[0]
    speeds = [
        {"arm": arm, "seed": seed, "method": method, "x_real_time": [10.0 + int(arm)]}
        for arm, seed in measured
        for method in script.METHODS
    ]
    results = {**EXCERPTS, "measured": speeds, "floors": least(-1.0), "compared": found}
    text = script.summary(results, "trained")
    assert "| 4 | 14.0 | 14.0 |" in text
    assert "| 1 | two-step | key kept (weighted score) | 2.610 (sd 0.010) | 2.910 (sd 0.010) |" in text
    assert len(script.draw(found).axes) == len(script.TITLES)
    below = script.comparisons(measured, least(10.0), SEEDS)
    assert script.sentence("1", below["1"]["single-step"]).count("nothing follows") == len(script.ASKED)
    use = script.use_said(found)  # pieces have 0 to 5, seeds 0 to .02
    assert "context of 2: 2.9100 [2.8852, 2.9348] of spectra," in use
    assert "context of 4: 2.9110 [" in use


@pytest.mark.parametrize("script", ["causal_mask"], indirect=True)
def test_boundaries_with_the_mask_are_compared_with_those_without(script: ModuleType) -> None:
    rises = {script.MASK: 1.0, script.NONE: 3.0}
    measured = {
        (arm, seed): {
            method: {
                "of_chunk": {
                    str(piece): {
                        figure: [[rise + inside + 0.01 * seed, inside] for inside in of_pieces(piece, seed)]
                        for figure in script.FIGURES
                    }
                    for piece in range(PIECES)
                },
                "drift": {figure: {"estimate": rise + seed * rise} for figure in script.DRIFTING},
            }
            for method in script.METHODS
        }
        for arm, rise in rises.items()
        for seed in range(SEEDS)
    }
    found = script.comparisons(measured, [], np.full(PIECES, 9.0), SEEDS)
    one = found["two-step"]["log_spectral_distance_rise"]
    assert one["pieces"]["estimate"] == one["seeds"]["estimate"] == pytest.approx(-2)
    assert "with the mask, boundaries stand out less" in script.sentence(found)
    text = script.summary({**EXCERPTS, "floor": [9.0, 9.5], "compared": found}, "trained")
    assert "of the floor: 9.25 dB" in text
    assert "| parallel | SI-SDR (dB), where chunks meet less inside | 1.010 (sd 0.010) | 3.010 (sd 0.010) |" in text
    assert len(script.draw(found).axes) == len(script.FIGURES) + len(script.DRIFTING)
    below = script.comparisons(measured, [], np.full(PIECES, 2.0), SEEDS)
    assert "nothing follows" in script.sentence(below)
    assert found["parallel"]["log_spectral_distance_inside"]["seeds"]["estimate"] == pytest.approx(0)
    assert "training" not in found


@pytest.mark.parametrize("script", ["ordered_latents"], indirect=True)
def test_summary_embeddings_are_compared_with_ordered_latents(script: ModuleType) -> None:
    nearer, fad = (f"{script.METHODS[0]}, {figure}" for figure in script.ASKED)
    measured = {
        (arm, seed): {nearer: of_pieces(mean + 0.01 * seed * (arm == script.SUMMARY), seed), fad: 5.0 + mean}
        for arm, mean in ((script.SUMMARY, 1.0), (script.ORDERED, 3.0))
        for seed in range(SEEDS)
    }
    uneven = np.arange(PIECES) + 0.1 * np.cos(np.arange(PIECES))
    floors = [{"fad": 100.0, "log_spectral_distance": least + uneven} for least in (100.0, 0.5)]
    found, below = (script.comparisons(measured, floor, SEEDS) for floor in floors)
    assert set(found) == {nearer, fad}
    assert found[nearer]["pieces"]["estimate"] == pytest.approx(-1.99)
    said = [script.sentence(one, floor) for one, floor in zip((found, below), floors, strict=True)]
    assert [one.count("summary is nearer") for one in said] == [2, 1]
    assert ["nothing follows" in one for one in said] == [False, True]
    text = script.summary({**EXCERPTS, "floor": floors[1], "compared": below}, "trained")
    assert said[1] in text
    assert "fad_logmel 100.000" in text
    assert len(script.draw(found).axes) == 2


@pytest.mark.parametrize("script", ["_trained"], indirect=True)
def test_each_kind_of_latents_has_an_encoder_of_its_own(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: dict[str, str] = {}
    begun: list[str] = []

    def one_run(out: Path, recipe: Any, *_: object, init_from: Path | None = None, **__: object) -> dict[str, Any]:
        trained[out.name] = recipe.model_config.latents
        assert (recipe.phase_until > 0) == (init_from is not None)  # short decoders learn magnitudes first
        begun.append("" if init_from is None else init_from.read_text())
        return {}

    def moved(weights: Path, config: Any, out: Path, seed: int) -> Path:
        assert trained[weights.parent.name] == config.latents
        out.write_text(weights.parent.name)
        return out

    monkeypatch.setattr(script, "one_run", one_run)
    monkeypatch.setattr(script, "moved", moved)
    monkeypatch.setattr(script, "mix_of", lambda corpus: {})
    arms = {
        "summary": script.TINY.replace(name="m2l2-tiny-a"),
        "open": script.TINY.replace(name="m2l2-tiny-b", causal=False),
        "ordered": script.TINY.replace(name="m2l2-tiny-a-ordered", latents="ordered"),
    }
    options = Namespace(quick=False, seeds=1, steps=30, device="cpu")
    runs = script.decoder_arms(options, tmp_path, None, arms)
    assert [run["arm"] for run in runs] == ["encoder", "summary", "open", "encoder (ordered)", "ordered"]
    assert begun == ["", "encoder-0", "encoder-0", "", "encoder-ordered-0"]
    assert [trained[name] for name in ("encoder-ordered-0", "a-ordered-0", "b-0")] == ["ordered", "ordered", "summary"]
