"""The analysis of models from end to end, on tones in place of rendered music: every section of what --full writes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.dataset.recipe import find_recipe
from m2l2_mir.dataset.rendered.factors import FACTORS
from m2l2_mir.disentangle import model_swaps, run
from m2l2_mir.disentangle.blocks import ANALYSED
from m2l2_mir.disentangle.decision import DECISIONS
from m2l2_mir.disentangle.dimension_lines import CLASSICS
from m2l2_mir.disentangle.nulls import Nulls
from m2l2_mir.disentangle.results import read_results
from m2l2_mir.disentangle.swapping import PLANS, SwapPlan
from m2l2_mir.model.checkpoint import random_model, save_model
from m2l2_mir.model.config import ModelConfig

CLIPS, GROUPS, PAIRS, K, D = 48, 12, 2, 4, 6
CONFIG = replace(ModelConfig.preset("m2l2-tiny"), num_embeddings=K, latent_dim=D)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """Tones in noise whose level and pitch follow the factors; what stands for eight chunks lasts two."""
    folder, rng = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    rows = []

    def add(chunks, codes, group, **told):
        track = f"t{len(rows):04d}"
        length, level = min(chunks, 2) * CONFIG.chunk_samples, 10 ** (codes["level"] / 8 - 1)
        tone = np.sin(2 * np.pi * 110 * 2 ** (codes["pitch"] / 12) * np.arange(length) / CONFIG.sample_rate)
        heard = 0.3 * level * (tone + 0.1 * np.random.default_rng(group).standard_normal(length))
        soundfile.write(folder / f"{track}.wav", heard.astype(np.float32), CONFIG.sample_rate)
        columns = {factor.column: codes[factor.name] for factor in FACTORS}
        empty = {"changed": None, "pair": None, "side": None}
        rows.append(
            {"track_id": track, "path": str(folder / f"{track}.wav"), "chunks": chunks, "group": f"g{group}"}
            | columns
            | empty
            | told
        )

    def drawn():
        return {factor.name: int(rng.integers(len(factor.values))) for factor in FACTORS}

    for chunks in (1, 8):
        for clip in range(CLIPS):
            add(chunks, drawn(), clip % GROUPS)
        for factor in FACTORS:
            for number in range(PAIRS if ANALYSED[factor.name] == chunks else 0):
                codes = drawn()
                other = {**codes, factor.name: (codes[factor.name] + 1) % len(factor.values)}
                for side, values in (("before", codes), ("after", other)):
                    add(chunks, values, number, changed=factor.name, pair=f"{factor.name}{number}", side=side)
    name, recipe = find_recipe("factors")
    return Dataset(name=name, recipe=recipe, tracks=pd.DataFrame(rows), dropped=pd.DataFrame())


def decoder_of(model):
    """In place of a decoder without training: slot 1 sets the level of a tone."""
    time = np.arange(model.config.chunk_samples) / model.config.sample_rate

    def decode(embeddings, noise):
        rng = np.random.default_rng(noise)
        levels = 10 ** np.clip(6 * embeddings[:, 0, 0] - 1.5, -3, -0.3)
        tones = np.sin(2 * np.pi * 220 * time) + 0.01 * rng.standard_normal((len(embeddings), len(time)))
        return (levels[:, None] * tones).ravel()

    return decode


@pytest.fixture(scope="module")
def analysed(dataset, tmp_path_factory):
    """Two pairs of random models, summary against ordered, with --full at the smallest size."""
    folder = tmp_path_factory.mktemp("analysis")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "factor_clips", lambda **_: dataset)
        patch.setitem(run.SIZES, "full", Nulls(rotations=2, permutations=2))
        patch.setitem(PLANS, "full", (SwapPlan(chunks=1, pairs=8, seeds=2, null_swaps=1),))
        patch.setattr(model_swaps, "has_trained_decoder", lambda _: True)
        patch.setattr(model_swaps, "decoder_of", decoder_of)
        for name in set(CLASSICS) - {"MIG", "IRS"}:
            patch.delitem(CLASSICS, name)
        arms = {}
        for latents in ("summary", "ordered"):
            for seed in range(2):
                path = folder / f"{latents}-{seed}.safetensors"
                save_model(random_model(replace(CONFIG, name=latents, latents=latents), seed), path)
                arms.setdefault(latents, []).append(str(path))
        found = run.analyse_models(
            arms["summary"], folder / "out", against=arms["ordered"], size="full", device="cpu", jobs=1
        )
    return found, folder / "out"


def test_pairs_of_models_are_compared_with_all_that_stands_beside_them(analysed):
    found, _ = analysed
    kinds = pd.Series([row["kind"] for row in found["rows"]]).value_counts().to_dict()
    assert kinds == {"model": 4, "basis": 4, "native": 2, "untrained": 1, "oracle": 1}
    assert found["decision"] in DECISIONS
    assert "2 pairs of checkpoints" in found["sentence"]
    compared = found["comparison"]
    assert list(compared["bases"]) == ["DCT", "PCA"]
    assert list(compared["strata"]) == ["global", "local", "sequence", "all"]
    assert {line["pairs"] for one in compared["strata"].values() for line in one.values()} == {2}
    perfect = {line["score"]: line for line in found["scores"] if (line["row"], line["stratum"]) == ("oracle", "local")}
    assert perfect["P1 D"]["estimate"] > 0.9 > perfect["P1 D"]["rotation_mean"]
    assert any("log-mel statistics" in note for note in found["notes"])
    assert [name.split("/")[-1] for name in found["seeds"]["second"]["others"]] == ["ordered-1"]
    assert {line["metric"].split(":")[0] for line in found["classics"]} == {"MIG", "IRS"}
    shown = [line[0] for line in (compared["first"], compared["second"])]
    assert list(found["swaps"]) == list(found["identity"]) == list(found["dimensions"]) == shown


def test_every_section_and_file_of_a_full_analysis_is_written(analysed):
    found, out = analysed
    first, second = found["swaps"]
    assert read_results(out)["sentence"] == found["sentence"]
    table = (out / "table.md").read_text()
    assert table.count("| estimator, on reconstructions |") == 2
    assert f"* {found['swaps'][second]['sentence']}\n" in table
    page = (out / "report.html").read_text()
    for section in (
        "What was found", "Scores, stratum global", "Factor by factor", "Combinations that were not heard",
        f"Single dimensions: {second}", f"Slot identity: {first}", "The same slots with other seeds", "Decoder swaps",
        "Factors, arm by arm",
        "Dimension by dimension", "How to make it again",
    ):  # fmt: skip
        assert section in page, section
    assert "<audio" in page
    tables = [(out / name).read_text() for name in ("table.md", "table.tex")]
    for title in (
        "Comparison",
        "Factor by factor",
        "Dimension by dimension",
        "Slot identity",
        f"Decoder swaps of {second}",
    ):
        assert all(title in table for table in tables), title
    swaps = pd.read_parquet(out / "swaps.parquet")
    assert len(swaps) == 2 * K * swaps["attribute"].nunique()
    level = swaps[(swaps["row"] == first) & (swaps["attribute"] == "level")].set_index("slot")["transfer"]
    assert level[1] > 0.2 > level[[2, 3, 4]].max()
    [plan] = found["swaps"][first]["plans"]
    assert level.tolist() == [slot[plan["attributes"].index("level")] for slot in plan["transfer"]]
    identity = pd.read_csv(out / "identity.csv")
    assert identity["row"].tolist() == [first] * K + [second] * K
    assert (identity["match"][:K] - 1).tolist() == list(found["matching"]["match"])
    assert {"equivariance_low", "redundancy_rotated"} <= set(pd.read_csv(out / "factors.csv"))
    assert {"estimate", "rotation", "permutation", "normalised"} <= set(pd.read_csv(out / "classics.csv"))
