"""Envelope tokens: octave by octave, how regularly something begins."""

from __future__ import annotations

import pytest
import torch

from m2l2_mir.errors import ConfigError
from m2l2_mir.model.checkpoint import random_model
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.envelope import onset_features

FRAMES, BINS, OCTAVES = 32, 1024, 8


def beats(period: int, first: int, low: int, high: int) -> torch.Tensor:
    magnitude = torch.zeros(1, 1, BINS, FRAMES)
    magnitude[:, :, low:high, first::period] = 1.0
    return magnitude


@pytest.mark.parametrize(("period", "first"), [(5, 1), (5, 4), (8, 2)])
def test_the_period_of_beats_stands_in_their_octave_alone(period: int, first: int) -> None:
    features = onset_features(beats(period, first, 256, 512), OCTAVES)[0]  # the second highest octave
    assert torch.equal(features[1, :FRAMES] > 0, torch.arange(FRAMES) % period == first % period)
    assert int(features[1, FRAMES:].argmax()) + 1 == period
    assert not features[[0, *range(2, OCTAVES)]].any()


def test_autocorrelation_is_that_of_its_definition() -> None:
    magnitude = torch.rand(2, 1, BINS, FRAMES, generator=torch.Generator().manual_seed(0))
    envelope = onset_features(magnitude, OCTAVES)[..., :FRAMES]
    centred = envelope - envelope.mean(dim=-1, keepdim=True)
    lag = 6
    expected = (centred[..., lag:] * centred[..., :-lag]).sum(-1) / (centred.square().sum(-1) + 0.5)
    torch.testing.assert_close(onset_features(magnitude, OCTAVES)[..., FRAMES + lag - 1], expected)


def test_the_encoder_hears_it_and_impossible_counts_are_refused() -> None:
    model = random_model(ModelConfig.preset("m2l2-small"), 0)
    assert model.config.envelope_tokens == 8
    inputs = torch.randn(1, 3, BINS, FRAMES, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model.encoder(inputs)
        model.encoder.envelope.project.weight.mul_(2)
        assert not torch.allclose(before, model.encoder(inputs))
    with pytest.raises(ConfigError, match="envelope_tokens needs magnitude_channel"):
        model.config.replace(magnitude_channel=False)
    with pytest.raises(ConfigError, match="envelope_tokens needs magnitude_channel"):
        model.config.replace(envelope_tokens=12)
