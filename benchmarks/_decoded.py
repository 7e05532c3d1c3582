"""Excerpts decoded by models that benchmarks train: distances of each excerpt and of the set, by decoding method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from _held_out import Clip
from numpy.typing import NDArray
from reconstruction import decoding, encoded, measure

from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.model.decoding import Method
from m2l2_mir.quality.baseline import shaped_noise
from m2l2_mir.quality.logmel import logmel_embeddings
from m2l2_mir.quality.visqol import has_visqol, visqol

METHODS: tuple[Method, ...] = ("single-step", "two-step")
OF_CLIPS = {
    "log_spectral_distance": "log-spectral distance (dB)",
    "si_sdr": "SI-SDR (dB)",
    "visqol": "ViSQOL (MOS)",
}
OF_SETS = {"fad": "fad_logmel", "kad": "kad_logmel"}
TITLES = {**OF_CLIPS, **OF_SETS}
DECODED = {f"{method}, {name}": f"{title}, {method}" for method in METHODS for name, title in TITLES.items()}

References = Sequence[NDArray[np.float64]]


def references_of(clips: Sequence[Clip], rate: int) -> References:
    """Log-mel embeddings of the originals."""
    return [logmel_embeddings(clip.waveform, sample_rate=rate) for clip in clips]


def figures_of_clips(
    run: Mapping[str, Any], clips: Sequence[Clip], references: References, device: str
) -> dict[str, Any]:
    """Decode all clips by each method with the weights of a run.

    Returns
    -------
    dict
        By the names of ``DECODED``: [clips], or one number of the set. ViSQOL where it is installed.
    """
    model = load_model(run["weights"], device=device)
    embeddings = encoded(model, clips)
    figures: dict[str, Any] = {}
    for method in METHODS:
        opinions: list[float] = []

        def keep(number: int, estimated: NDArray[np.floating], rate: int, opinions: list[float] = opinions) -> None:
            if has_visqol():
                opinions.append(float(visqol(clips[number].waveform, estimated, sample_rate=rate)))

        rebuild = decoding(model, embeddings, clips, method)
        found, _ = measure(rebuild, clips, references, model.config.sample_rate, keep)
        of_clip = {**found["of_clip"], **({"visqol": opinions} if opinions else {})}
        figures |= {f"{method}, {name}": of_clip[name] for name in OF_CLIPS if name in of_clip}
        figures |= {f"{method}, {name}": found["logmel"][name] for name in OF_SETS}
    print(f"{run['arm']}, seed {run['seed']}: measured", flush=True)
    return figures


def floor(clips: Sequence[Clip], references: References, rate: int) -> dict[str, Any]:
    """Figures of noise with mean spectrum and level of each clip, by name: what a decoder has to be better than.

    Log-spectral distance by clip, FAD of the set.
    """
    found, _ = measure(
        lambda number: shaped_noise(clips[number].waveform, sample_rate=rate, seed=number),
        clips,
        references,
        rate,
        lambda number, estimated, rate: None,
    )
    return {"log_spectral_distance": found["of_clip"]["log_spectral_distance"], "fad": found["logmel"]["fad"]}


def floor_line(found: Mapping[str, Any]) -> str:
    """Say it for a person."""
    figures = ", ".join(f"{TITLES[name]} {np.mean(value):.3f}" for name, value in found.items())
    return f"The floor, noise with the mean spectrum and level of each excerpt: {figures}."
