"""CLAP: embeddings of sound that were trained beside text; distances on them are ``fad_clap`` and ``kad_clap``.

Conventions
-----------
- Mono at the rate of the weights (48 kHz); windows of their length (10 s) every half of it. A rest under half a window
  is left out; a clip shorter than a window is repeated to fill it, as in training.
- An embedding is the audio projection at unit length (512 numbers for the published weights).
- Weights are the user's: a folder as the hub has it (``config.json``, ``model.safetensors``,
  ``preprocessor_config.json``), such as that of ``laion/larger_clap_music``; ``hub:laion/larger_clap_music`` as weights
  of :func:`m2l2_mir.quality.embedders.load_embedder` fetches it. Figures of other weights or other windows
  do not compare: one codec has been published with an eighth of the ``fad_clap`` that another toolkit gave it.
- Needs transformers (extra ``quality``).

Source: Y. Wu, K. Chen, T. Zhang, Y. Hui, T. Berg-Kirkpatrick, S. Dubnov, "Large-scale contrastive language-audio
pretraining with feature fusion and keyword-to-caption augmentation", ICASSP 2023 (arXiv 2211.06687).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from m2l2_mir.quality.transformers_folder import from_folder
from m2l2_mir.quality.waveform_pairs import check_clip
from m2l2_mir.waveform import map_channels, resample

__all__ = ["Clap"]


class Clap:
    """Embeds clips by weights that the user gives.

    Parameters
    ----------
    folder : Path
        Of the weights.
    device
        "cpu", "cuda", ...

    Raises
    ------
    MissingExtraError
        transformers is not installed.
    CheckpointError
        The folder is not there, lacks a file, or holds something else.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self._features = from_folder("ClapFeatureExtractor", folder)
        self._model = from_folder("ClapModel", folder, weights=True).eval().requires_grad_(False).to(device)
        self._device = device

    @torch.no_grad()
    def __call__(self, waveform: NDArray[np.floating], *, sample_rate: int) -> NDArray[np.float64]:
        """Embed a clip [samples] or [channels, samples] -> [windows, d]."""
        rate, length = int(self._features.sampling_rate), int(self._features.nb_max_samples)
        samples = resample(map_channels(check_clip(waveform, "waveform"), 1), sample_rate, rate)[0]
        step = length // 2
        found = []
        for start in range(0, max(len(samples) - length, 0) + 1, step):
            inputs = self._features(samples[start : start + length], sampling_rate=rate, return_tensors="pt")
            heard = self._model.audio_model(**inputs.to(self._device))
            projected = self._model.audio_projection(heard.pooler_output)
            found.append(torch.nn.functional.normalize(projected, dim=-1))
        return torch.cat(found).double().cpu().numpy()
