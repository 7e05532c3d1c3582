"""VGGish: embeddings of examples of 0.96 s, the first that the Fréchet audio distance was taken on.

Conventions
-----------
- Mono at 16 kHz; log(0.01 + magnitude) in 64 HTK mel bands from 125 to 7500 Hz, frames of 25 ms every 10 ms; an example
  is 96 frames, without overlap. A rest is left out; a clip shorter than one example is filled up with zeros.
- An embedding is the output of the last layer, 128 numbers, before its ReLU, principal components and quantization, as
  most toolkits take it for the distance. Figures of toolkits that differ in that do not compare.
- Weights are the user's: the state dict of the PyTorch port (``vggish-10086976.pth`` of torchvggish, Apache-2.0).

Source: S. Hershey et al., "CNN architectures for large-scale audio classification", ICASSP 2017 (arXiv 1609.09430).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from m2l2_mir.quality.states import load_into, read_state
from m2l2_mir.quality.waveform_pairs import check_clip
from m2l2_mir.waveform import map_channels, resample

__all__ = ["VGGish", "log_mel_examples"]

RATE = 16_000
FRAMES, BANDS = 96, 64
DIMENSIONS = 128

_WINDOW, _HOP, _FFT = 400, 160, 512  # samples
_LOWEST, _HIGHEST = 125.0, 7500.0  # Hz
_OFFSET = 0.01
_BATCH = 32  # examples at once


class VGGish:
    """Embeds clips by weights that the user gives.

    Parameters
    ----------
    weights : Path
        State dict, .safetensors or .pth.
    device
        "cpu", "cuda", ...

    Raises
    ------
    CheckpointError
        The file cannot be read or holds something else.
    """

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        state = {name: value for name, value in read_state(weights).items() if not name.startswith("pproc.")}
        self._network = load_into(_Network(), state, weights).to(device)
        self._device = device

    @torch.no_grad()
    def __call__(self, waveform: NDArray[np.floating], *, sample_rate: int) -> NDArray[np.float64]:
        """Embed a clip [samples] or [channels, samples] -> [examples, 128]."""
        examples = torch.from_numpy(log_mel_examples(waveform, sample_rate=sample_rate))[:, None]
        found = [self._network(batch.to(self._device)) for batch in examples.split(_BATCH)]
        return torch.cat(found).double().cpu().numpy()


class _Network(nn.Module):
    """Examples [n, 1, 96, 64] -> embeddings [n, 128]; named as in the port, so that its state dict fits."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for block in ((64,), (128,), (256, 256), (512, 512)):
            for width in block:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        maps = channels * (FRAMES // 16) * (BANDS // 16)
        self.embeddings = nn.Sequential(
            nn.Linear(maps, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, DIMENSIONS)
        )

    def forward(self, examples: Tensor) -> Tensor:
        # Frames, bands, channels: the order of the network that the weights were trained in.
        embeddings: Tensor = self.embeddings(self.features(examples).permute(0, 2, 3, 1).flatten(1))
        return embeddings


def log_mel_examples(waveform: NDArray[np.floating], *, sample_rate: int) -> NDArray[np.float32]:
    """Cut a clip into what the network sees.

    Parameters
    ----------
    waveform : np.ndarray [samples] or [channels, samples]
        Full scale at -1 and 1.
    sample_rate
        Rate in Hz.

    Returns
    -------
    np.ndarray [examples, 96 frames, 64 bands]
        At least one example.

    Raises
    ------
    InputError
        There are no samples, a sample is not finite, or the rate is not positive.
    """
    samples = resample(map_channels(check_clip(waveform, "waveform"), 1), sample_rate, RATE)[0].astype(np.float64)
    least = (FRAMES - 1) * _HOP + _WINDOW
    samples = np.pad(samples, (0, max(least - len(samples), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    found = []
    for start in range(0, len(frames) - FRAMES + 1, FRAMES):
        magnitude = np.abs(np.fft.rfft(frames[start : start + FRAMES] * window, n=_FFT))
        found.append(np.log(magnitude @ _bands() + _OFFSET))
    return np.stack(found).astype(np.float32)


@cache
def _bands() -> NDArray[np.float64]:
    """Triangles on the mel scale [bins, bands]: straight in mel, where librosa's are straight in Hz."""

    def mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(1127 * np.log1p(hertz / 700))

    bins = mel(np.linspace(0, RATE / 2, _FFT // 2 + 1))
    lowest, highest = mel(np.array([_LOWEST, _HIGHEST])).tolist()
    edges = np.linspace(lowest, highest, BANDS + 2)
    rise = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(np.minimum(rise, fall), 0)
    triangles[0] = 0
    return np.asarray(triangles)
