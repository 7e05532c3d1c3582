"""Envelope tokens: what the encoder is shown of rhythm.

Tokens of a patchified spectrogram hold when something sounds; how regularly it does is a product of two moments, which
a small network is slow to form. So octave by octave the onset envelope of the chunk and its autocorrelation, as in a
tempogram (Grosche, Müller and Kurth, ICASSP 2010), enter the encoder as one more token each.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.layers import Linear

__all__ = ["EnvelopeTokens", "onset_features"]

SCALE = 10.0  # brings onset envelopes of log magnitudes to about unit variance
FLOOR = 0.5  # of their energy in a chunk, so that silence has no rhythm


class EnvelopeTokens(nn.Module):
    """Log magnitudes of one chunk [N, channels, bins, frames] -> one token an octave [N, envelope_tokens, dim]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.octaves = config.envelope_tokens
        self.project = Linear(2 * config.chunk_frames - 1, config.dim)

    def forward(self, log_magnitude: Tensor) -> Tensor:
        """Return the tokens, the highest octave first."""
        tokens: Tensor = self.project(onset_features(log_magnitude, self.octaves))
        return tokens


def onset_features(log_magnitude: Tensor, octaves: int) -> Tensor:
    """Onset envelope and its autocorrelation in each of the highest octaves.

    Parameters
    ----------
    log_magnitude : [N, channels, bins, frames]
    octaves
        From half to all bins, from a quarter to half, and so on; the last one holds all bins below.

    Returns
    -------
    Tensor [N, octaves, 2 * frames - 1]
        Half-wave rectified rise of the mean log magnitude, then its autocorrelation at lags of 1 frame and more over
        that at lag 0.
    """
    magnitude = log_magnitude.float().mean(dim=1)
    rise = torch.diff(magnitude, dim=-1, prepend=magnitude[..., :1]).clamp(min=0)
    edges = [*(magnitude.shape[1] >> octave for octave in range(octaves)), 0]
    envelope = SCALE * torch.stack([rise[:, low:high].mean(dim=1) for high, low in pairwise(edges)], dim=1)
    centred = envelope - envelope.mean(dim=-1, keepdim=True)
    frames = envelope.shape[-1]
    later = F.pad(centred, (0, frames)).unfold(-1, frames, 1)[..., :frames, :]  # (N, octaves, lags, frames)
    correlation = (later @ centred[..., None]).squeeze(-1)
    return torch.cat([envelope, correlation[..., 1:] / (correlation[..., :1] + FLOOR)], dim=-1)
