"""Recordings decoded with context and without: figures where chunks meet and inside them, and drift."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from time import perf_counter
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch
from _held_out import Waveform
from numpy.typing import NDArray
from torch import Tensor

from m2l2_mir.model import decoding, spectrogram
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.probe.statistics import bootstrap_statistic, cluster_bootstrap
from m2l2_mir.quality.boundaries import FIGURES, boundary_figures

CHUNKWISE = "chunk by chunk"
ROUND_TRIP = "STFT round trip"
UNITS = {
    "si_sdr": "SI-SDR (dB)",
    "log_spectral_distance": "log-spectral distance (dB)",
    "excess_flux": "excess flux (dB)",
    "level": "level (dB)",
}
DRIFTING = ("level", "log_spectral_distance")

Recordings = Mapping[str, Mapping[str, Any]]  # what boundary_figures gives, by name
Rebuild = Callable[[Music2Latent2, Waveform, Tensor], NDArray[np.floating]]


# What becomes of a recording


def rows(model: Music2Latent2, seed: int) -> Iterator[tuple[str, Rebuild]]:
    """Name what is compared."""

    def round_trip(model: Music2Latent2, waveform: Waveform, latents: Tensor) -> NDArray[np.floating]:
        blocks = spectrogram.blocks(torch.from_numpy(waveform), model.config)
        spectra = (spectrogram.analyze(block[None], model.config)[0] for block in blocks)
        return torch.cat(list(spectrogram.synthesize(spectra, model.config, waveform.shape[1])), dim=-1).numpy()

    def chunkwise(model: Music2Latent2, waveform: Waveform, latents: Tensor) -> NDArray[np.floating]:
        return decode_chunkwise(model, latents, waveform.shape[1], seed).numpy()

    def whole(method: decoding.Method) -> Rebuild:
        def rebuild(model: Music2Latent2, waveform: Waveform, latents: Tensor) -> NDArray[np.floating]:
            return model.decode(latents, num_samples=waveform.shape[1], method=method, seed=seed).numpy()

        return rebuild

    yield ROUND_TRIP, round_trip
    for method in get_args(decoding.Method):
        yield method, whole(method)
    yield CHUNKWISE, chunkwise


@torch.no_grad()
def decode_chunkwise(model: Music2Latent2, latents: Tensor, samples: int, seed: int) -> Tensor:
    """Decode each chunk alone, in one step, from the noise that it has in the other methods."""
    noise = decoding.SeededNoise(model.config, seed)

    def alone(number: int) -> Tensor:
        condition = model.condition(latents[number][None])[0]
        return next(
            decoding.decode(
                model.denoise, [condition], lambda _, draw: noise(number, draw), model.config, method="single-step"
            )
        )

    spectra = (alone(number) for number in range(len(latents)))
    return torch.cat([piece.cpu() for piece in spectrogram.synthesize(spectra, model.config, samples)], dim=-1)


# Figures


def measure(
    model: Music2Latent2, pieces: dict[str, Waveform], latents: dict[str, Tensor], rebuild: Rebuild
) -> dict[str, Any]:
    """Rebuild each recording; figures at boundaries and inside, their difference, speed."""
    config = model.config
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    speed = []
    for name, piece in pieces.items():
        begun = perf_counter()
        estimated = rebuild(model, piece, latents[name])
        speed.append(piece.shape[1] / config.sample_rate / (perf_counter() - begun))
        found[name] = boundary_figures(
            piece, estimated, sample_rate=config.sample_rate, chunk_samples=config.chunk_samples, overlap=config.overlap
        )
    recording = owners(found)
    compared = {}
    for figure in FIGURES:
        at, inside = np.concatenate([one[figure] for one in found.values()]).T
        compared[figure] = {
            "at": asdict(cluster_bootstrap(at, recording)),
            "inside": asdict(cluster_bootstrap(inside, recording)),
            "difference": asdict(cluster_bootstrap(at - inside, recording)),
        }
    listed = {name: {figure: values.tolist() for figure, values in one.items()} for name, one in found.items()}
    return {"compared": compared, "of_chunk": listed, "x_real_time": speed}


def owners(found: Recordings) -> list[str]:
    """Recording of each boundary."""
    return [name for name, one in found.items() for _ in one["level"]]


def of_context(found: Recordings, chunkwise: Recordings) -> dict[str, dict[str, Any]]:
    """What context does, figure by figure, against chunk-by-chunk decoding.

    ``of_context``: by how much more a figure rises where chunks meet; ``inside_of_context``: by how much more it is
    inside them.
    """
    compared: dict[str, dict[str, Any]] = {"of_context": {}, "inside_of_context": {}}
    for figure in FIGURES:
        at, inside = (
            ours - theirs
            for ours, theirs in zip(
                *(
                    np.concatenate([np.asarray(one[figure], np.float64) for one in side.values()]).T
                    for side in (found, chunkwise)
                ),
                strict=True,
            )
        )
        compared["of_context"][figure] = asdict(cluster_bootstrap(at - inside, owners(found)))
        compared["inside_of_context"][figure] = asdict(cluster_bootstrap(inside, owners(found)))
    return compared


def drift(found: Recordings, chunkwise: Recordings) -> dict[str, dict[str, Any]]:
    """Slope a minute of level and log-spectral distance beyond those of chunk-by-chunk decoding, with an interval."""
    slopes = {}
    for figure in DRIFTING:
        parts = []
        for name, one in found.items():
            beyond = of_chunks(one, figure) - of_chunks(chunkwise[name], figure)
            parts.append(
                pd.DataFrame({"recording": name, "minutes": np.asarray(one["seconds"]) / 60, "beyond": beyond})
            )
        chunks = pd.concat(parts).dropna()
        slopes[figure] = asdict(bootstrap_statistic(slope, chunks, chunks["recording"]))
    return slopes


def of_chunks(found: Mapping[str, Any], figure: str) -> NDArray[np.float64]:
    """Values of a figure, those inside chunks where it has others at boundaries; nan where it has none."""
    values = np.asarray(found[figure], dtype=np.float64)
    return values if values.ndim == 1 else values[:, 1]


def slope(chunks: pd.DataFrame) -> float:
    """Of the line through all chunks that has an intercept for each recording; nan where all are as short as one."""
    centred = chunks[["minutes", "beyond"]] - chunks.groupby("recording")[["minutes", "beyond"]].transform("mean")
    spread = float((centred["minutes"] ** 2).sum())
    return float((centred["minutes"] * centred["beyond"]).sum()) / spread if spread else math.nan
