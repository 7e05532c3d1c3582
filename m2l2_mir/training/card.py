"""The model card of a run: what it is, what it heard, under which licence, how it was trained, how far it came.

Every figure comes from the run's own files (``run.json``, ``metrics.csv``); nothing is typed in. The front matter is
that of the Hugging Face Hub, where the card is called ``README.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from m2l2_mir.durable import write_durably
from m2l2_mir.errors import CheckpointError
from m2l2_mir.model.catalogue import count_parameters
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.training.best import BEST, read_best
from m2l2_mir.training.card_tables import data_section, losses_section, monitors_section, training_section
from m2l2_mir.training.config import TrainingConfig
from m2l2_mir.training.curves import save_curves
from m2l2_mir.training.licensing import hub_identifier, weights_licence
from m2l2_mir.training.metrics import METRICS
from m2l2_mir.training.stages import collections_of, stages_of
from m2l2_mir.training.state import read_history
from m2l2_mir.training.steps import phases

__all__ = ["CARD", "CURVES", "write_card"]

CARD, CURVES = "card.md", "curves.png"


def write_card(
    run: Path,
    *,
    weights: str,
    out: Path | None = None,
    sources: Mapping[str, Mapping[str, Any]] | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write the card of a run and, once there are two rows of metrics, its curves as PNG.

    Parameters
    ----------
    run
        The run's folder.
    weights
        File in it that the card is about, ``weights.safetensors`` or ``best.safetensors``.
    out
        The card, ``NAME.md``; the curves become ``NAME.png``. Default: ``card.md`` and ``curves.png`` of the run.
    sources
        By collection: ``source`` and ``licence``, for what the run's own table of the data does not tell.
    notes
        Markdown that ends the card, such as measured results.

    Returns
    -------
    Path
        Of the card.

    Raises
    ------
    CheckpointError
        The folder holds no run, or its history cannot be read.
    """
    history = read_history(run)
    card, curves = (run / CARD, run / CURVES) if out is None else (out, out.with_suffix(".png"))
    model = ModelConfig.from_dict(history["model"])
    name = model.name if out is None else out.stem
    metrics = _metrics(run / METRICS)
    if drawn := len(metrics) > 1:
        save_curves(metrics, curves)
    best = read_best(run) if weights == BEST else None
    if weights == BEST and best is None:
        raise CheckpointError(f"{run} has no {BEST}: nothing was held out; take weights.safetensors")
    step = history["stretches"][-1]["to_step"] if best is None else best.step
    seen = metrics[metrics["step"] <= step]
    stages = with_sources(stages_of(history, run / weights), sources or {})
    licence = weights_licence(collections_of(stages))
    sections = [
        _front_matter(licence.text),
        _about(name, model),
        data_section(stages),
        f"## Licence of the weights\n\n**{licence.text}**: {licence.reason}.",
        training_section(stages, model, step, best is not None, history["torch"]),
        losses_section(seen, curves.name if drawn else ""),
        monitors_section(seen),
        _limits(stages, model, step),
        *notes,
    ]
    text = "\n\n".join(section.strip() for section in sections if section) + "\n"
    write_durably(card, lambda file: file.write(text.encode()))
    return card


def _metrics(path: Path) -> pd.DataFrame:
    """The run's table, without a row where nothing has been logged yet."""
    try:
        return pd.read_csv(path)
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame({"step": []})


def with_sources(stages: Sequence[dict[str, Any]], sources: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The stages, their collections completed: a source each, and a licence where it was unknown."""
    completed = []
    for stage in stages:
        data = dict(stage.get("data", {}))
        if "collections" in data:
            data["collections"] = {
                name: _with_source(facts, sources.get(name, {})) for name, facts in data["collections"].items()
            }
        completed.append({**stage, "data": data})
    return completed


def _with_source(facts: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    licences = [known.get("licence", text) if text == "unknown" else text for text in facts["licences"]]
    return {**facts, "licences": licences, "source": known.get("source", facts.get("source", ""))}


def _front_matter(licence: str) -> str:
    identifier = hub_identifier(licence)
    slug = re.sub(r"[^a-z0-9.]+", "-", licence.lower())
    named = [f"license_name: {slug}", "license_link: README.md"] if identifier == "other" else []
    tags = ("music", "audio", "music-information-retrieval", "embeddings", "consistency-models")
    lines = ["library_name: m2l2-mir", f"license: {identifier}", *named, "pipeline_tag: feature-extraction", "tags:"]
    return "\n".join(["---", *lines, *(f"- {tag}" for tag in tags), "---"])


def _about(name: str, model: ModelConfig) -> str:
    tied = "each tied to its share of the chunk's time" if model.latents == "ordered" else "each about the whole chunk"
    channels = "mono" if model.channels == 1 else f"{model.channels} channels"
    layers = f"{model.encoder_layers} + {model.upsampler_layers} + {model.consistency_layers}"
    return f"""# {name}

Turns music into embeddings: {model.num_embeddings} vectors of {model.latent_dim} numbers for each
{model.chunk_seconds:.3f} s, {tied}. A model of the Music2Latent2 family (arXiv 2501.17578), implemented and trained
anew by m2l2-mir; code and weights of the paper's authors are not in it.

```python
import m2l2_mir as mm

model = mm.load_model("{name}.safetensors")
embeddings = model.encode(waveform, sample_rate)  # [chunks, {model.num_embeddings}, {model.latent_dim}]
```

| | |
|---|---|
| parameters | {count_parameters(model) / 1e6:.2f} M |
| input | {channels}, {model.sample_rate} Hz, resampled if need be |
| compression | {model.compression:g} samples for each number |
| layers of encoder, upsampler, consistency model | {layers}, {model.dim} wide, {model.heads} heads |
| latents | {model.latents}, {model.bottleneck} |"""


def _limits(stages: Sequence[Mapping[str, Any]], model: ModelConfig, step: int) -> str:
    told = [stage for stage in stages if "recipe" in stage]
    hours = sum(facts.get("hours", 0.0) for facts in collections_of(stages).values())
    limits = [
        f"{hours:.1f} h of music were heard, those above: music unlike it is embedded less well.",
        f"Each chunk of {model.chunk_seconds:.2f} s is encoded alone: what takes longer, such as a slow tempo, has to "
        "be read from several.",
    ]
    decoded = any(
        phase.name != "explicit" and phase.first < stage["stretches"][-1]["to_step"]
        for stage in told
        for phase in phases(TrainingConfig.from_dict(stage["recipe"]))
    )
    if not decoded and len(told) == len(stages):
        limits.append("The consistency model is untrained: use the embeddings, decoding them gives noise.")
    if (planned := stages[-1]["recipe"]["steps"]) > step:
        limits.append(f"Taken at step {step} of {planned} planned.")
    return "\n".join(["## Known limits\n", *(f"* {limit}" for limit in limits)])
