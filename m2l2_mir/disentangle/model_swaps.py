"""Decoder swaps of the models of an analysis: made where there is a decoder to hear, then judged and put in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.decision import describe_swaps
from m2l2_mir.disentangle.decoders import decoder_of, has_trained_decoder
from m2l2_mir.disentangle.sources import Source
from m2l2_mir.disentangle.swap_examples import write_examples
from m2l2_mir.disentangle.swapping import PLANS, controllable, swap_slots
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.probe.sources import Count

__all__ = ["is_controllable", "swaps_of_model", "told_swaps"]

UNTRAINED_DECODER = "its decoder is untrained, so that no swaps are decoded"


def swaps_of_model(
    model: Music2Latent2,
    source: Source,
    dataset: Dataset,
    blocks: Sequence[Block],
    parts: Path,
    examples: Path,
    *,
    size: str,
    progress: Count | None,
) -> dict[str, Any]:
    """Swaps (``plans``) and what there is to hear of them (``examples``); of an untrained decoder none.

    Parameters
    ----------
    model, source
        The model, and what it made of the clips.
    dataset, blocks
        The clips.
    parts, examples
        Folders of finished plans and of sound files.
    size
        Of the analysis, a key of :data:`~m2l2_mir.disentangle.swapping.PLANS`.
    progress
        Called with the number of pairs done and of all.
    """
    if not has_trained_decoder(model):
        return {"plans": [], "examples": []}
    decode, sample_rate = decoder_of(model), model.config.sample_rate
    plans = swap_slots(decode, sample_rate, source, dataset, blocks, parts, plans=PLANS[size], progress=progress)
    heard = write_examples(decode, sample_rate, source, blocks, plans[0], examples, model.fingerprint)
    return {"plans": plans, "examples": heard}


def is_controllable(swapped: Mapping[str, Any], name: str, cells: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether swaps of a model move what its slot scores say; None where that was not tried, or cannot be measured."""
    if name not in swapped or (control := controllable(swapped[name]["plans"], cells, name)) is None:
        return None
    return bool(control["controllable"])


def told_swaps(swapped: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The same with ``control`` and ``sentence`` of each model."""
    told = {}
    for name, one in swapped.items():
        control = controllable(one["plans"], cells, name)
        sentence = describe_swaps(name, control) if one["plans"] else f"{name}: {UNTRAINED_DECODER}"
        told[name] = {**one, "control": control, "sentence": sentence}
    return told
