"""Published weights: every tensor accounted for, and the same answers as the published network."""

import pytest
import torch

from m2l2_mir.errors import CheckpointError
from m2l2_mir.model import official
from m2l2_mir.model.autoencoder import Condition, Music2Latent2
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.official import codicodec_names, convert_codicodec

CONFIG = ModelConfig.preset("codicodec")
A_FILTER = "frontend_encoder_down.down_layers.7.down.weight"  # the second level's, over 4 x 1 cells


@pytest.fixture
def published():
    """Stand-in for the published state dict: all its names, the constants' values, empty weights."""
    learned = {name: torch.zeros(1, 1, 2, 3) for name in codicodec_names(CONFIG)}
    unused = {name: torch.zeros(1) for name in official.UNUSED}
    return {**learned, **unused, **official._constants(CONFIG)}


def test_every_published_tensor_is_accounted_for(published):
    assert len(published) == 546
    converted = convert_codicodec(published)
    assert converted.keys() == set(codicodec_names(CONFIG).values())
    assert converted["encoder.latents"].shape == (2, 3)  # leading axes of size one are gone
    assert converted["encoder.patchifier.stem.weight"].shape == (1, 1, 2, 3)
    torch.testing.assert_close(published[A_FILTER], torch.full((256, 1, 4, 1), 0.25))


def test_other_networks_are_refused(published):
    with pytest.raises(CheckpointError, match=r"unknown tensors encoder\.extra"):
        convert_codicodec({**published, "encoder.extra": torch.zeros(1)})
    for name in ("latents", "fsq._levels_tensor", "encoder.linear_input.bias"):
        with pytest.raises(CheckpointError, match=f"no tensors {name}"):
            convert_codicodec({key: value for key, value in published.items() if key != name})
    for altered in (published[A_FILTER] * 1.01, published[A_FILTER][:, :, :2], published[A_FILTER] * torch.nan):
        with pytest.raises(CheckpointError, match=f"constant '{A_FILTER}'"):
            convert_codicodec({**published, A_FILTER: altered})
    with pytest.raises(CheckpointError, match="constant 'fsq"):
        convert_codicodec({**published, "fsq._levels_tensor": torch.tensor([11, 11, 11, 9])})


@pytest.fixture(scope="module")
def networks(fill):
    """The published network with random values in every trainable parameter, and ours with the same."""
    models = pytest.importorskip("codicodec.models")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("kaiming_uniform_", "uniform_", "normal_"):  # overwritten at once: skipped for speed
            patch.setattr(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor)
        theirs = fill(models.UNet().eval())
    with torch.device("meta"):
        ours = Music2Latent2(CONFIG)
    ours.load_state_dict(convert_codicodec(theirs.state_dict()), strict=True, assign=True)
    return theirs, ours


@pytest.mark.reference
def test_sizes_are_the_published_ones(networks):
    theirs, ours = networks
    assert len(theirs.state_dict()) == 546
    assert sum(tensor.numel() for tensor in theirs.state_dict().values()) == pytest.approx(148.53e6, abs=0.005e6)
    assert sum(tensor.numel() for tensor in ours.state_dict().values()) == pytest.approx(147.20e6, abs=0.005e6)
    assert not any((parameter == 0).all() for parameter in theirs.parameters())


@pytest.mark.reference
@torch.no_grad()
def test_encoder_answers_as_the_published_one(networks, rng):
    theirs, ours = networks
    x = torch.from_numpy(0.3 * rng.standard_normal((1, 4, 1024, 32))).float()
    expected = theirs.encoder_forward(x, dont_quantize=True)  # [1, 128 tokens, 4]
    embeddings = ours.encode_spectrograms(x)  # atanh, divided by 0.8
    assert expected.std() > 0.1
    torch.testing.assert_close(ours.values_from_embeddings(embeddings), expected, atol=1e-5, rtol=0)
    assert embeddings.shape == (1, 8, 64)


@pytest.mark.reference
@torch.no_grad()
def test_denoiser_answers_as_the_published_one(networks, rng):
    theirs, ours = networks
    x = torch.from_numpy(rng.standard_normal((1, 2, 4, 1024, 32))).float()
    latents = torch.from_numpy(rng.uniform(-1, 1, (2, 128, 4))).float()
    sigmas = torch.tensor([[0.4, 20.0]])
    expected = theirs.decoder_forward(
        torch.cat([x[:, 0], x[:, 1]], dim=-1), latents.flatten(0, 1)[None], sigma_left=0.4, sigma_right=20.0
    )
    condition = Condition(latents, tuple(ours.upsampler(latents)))
    expected = torch.stack(expected.chunk(2, dim=-1), dim=1)
    found = ours.denoise(x, sigmas, [[condition[0], condition[1]]])
    assert (expected - x).abs().max() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
