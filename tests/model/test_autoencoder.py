"""What the networks may and may not see, and what `encode` accepts."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from m2l2_mir.errors import ConfigError, InputError
from m2l2_mir.model import networks, spectrogram
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.layers import Attention, Linear, SwiGLU, attend
from m2l2_mir.model.official import codicodec_names


def randn(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape)).float()


def on_meta(name: str, **changes) -> Music2Latent2:
    with torch.device("meta"):
        return Music2Latent2(ModelConfig.preset(name).replace(**changes))


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# The window of the consistency network


@torch.no_grad()
def denoise(model: Music2Latent2, x: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
    """One window: x [W, channels, bins, frames], embeddings [W, K, d]."""
    condition = model.condition(embeddings)
    sigma = torch.tensor([[0.4, 2.0, 80.0][: len(x)]])
    return model.denoise(x[None], sigma, [[condition[chunk] for chunk in range(len(x))]])[0]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("chunks", [2, 3])
def test_a_chunk_sees_itself_and_earlier_ones(causal, chunks, make_model, rng):
    model = make_model(causal=causal, context_chunks=chunks, latents_in_consistency=True)
    x, z = randn(rng, chunks, *model.config.spectrogram_shape), randn(rng, chunks, 8, 64)
    before = denoise(model, x, z)
    for perturbed in range(chunks):
        other_x, other_z = x.clone(), z.clone()
        other_x[perturbed] += 1
        other_z[perturbed] += 1
        for after in (denoise(model, other_x, z), denoise(model, x, other_z)):
            moved = [(a - b).abs().max().item() > 1e-4 for a, b in zip(after, before, strict=True)]
            assert moved == [chunk >= perturbed or not causal for chunk in range(chunks)]


def test_attention_by_chunks_equals_one_masked_attention(fill, rng):
    batch, chunks, tokens, dim, heads = 2, 3, 5, 12, 2
    attention = fill(Attention(dim, heads))
    x = randn(rng, batch, chunks, tokens, dim)

    def normed(part, gain):
        return part / (part.square().mean(-1, keepdim=True) + 1e-4).sqrt() * gain

    q, k, v = (x.flatten(1, 2) @ attention.qkv.weight.T).chunk(3, dim=-1)
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    q, k = normed(q, attention.query_norm), normed(k, attention.key_norm)
    scores = q @ k.transpose(-1, -2) / (dim // heads) ** 0.5
    chunk = torch.arange(chunks * tokens) // tokens
    for causal in (True, False):
        hidden = (chunk[None, :] > chunk[:, None]) & causal
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        expected = (weights @ v).transpose(1, 2).flatten(2) @ attention.out.weight.T
        for keep in (slice(None), slice(1, 4), slice(2)):
            found = attention(x, causal=causal, mask=None, keep=keep)
            every = expected.view(batch, chunks, tokens, dim)
            torch.testing.assert_close(found, every[:, :, keep], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("latents_in_consistency", [False, True])
def test_order_of_latent_tokens_lies_in_their_positions_alone(latents_in_consistency, make_model, rng):
    model = make_model(latents_in_consistency=latents_in_consistency)
    audio, latents = model.config.audio_tokens, model.config.latent_tokens
    permutation = torch.tensor([3, 0, 7, 1, 5, 2, 6, 4])
    x, z = randn(rng, 2, *model.config.spectrogram_shape), randn(rng, 2, 8, 64)
    before = denoise(model, x, z)
    assert (denoise(model, x, z[:, permutation]) - before).abs().max() > 1e-2

    def permute(positions: torch.Tensor, start: int) -> None:
        positions[start : start + latents] = positions[start : start + latents][permutation].clone()

    with torch.no_grad():
        permute(model.upsampler.transformer.positions, audio)
        if latents_in_consistency:
            assert (denoise(model, x, z[:, permutation]) - before).abs().max() > 1e-3
            length = audio + latents + model.config.registers
            for chunk in range(2):
                permute(model.consistency.transformer.positions, chunk * length + audio)
    torch.testing.assert_close(denoise(model, x, z[:, permutation]), before, atol=1e-5, rtol=1e-5)


def test_denoising_a_window_does_not_depend_on_its_batch(model, rng):
    x, condition = randn(rng, 3, 2, *model.config.spectrogram_shape), model.condition(randn(rng, 6, 8, 64))
    sigma = torch.tensor([[0.4, 80.0], [1.0, 1.0], [7.0, 0.01]])
    rows = [[condition[2 * row], condition[2 * row + 1]] for row in range(3)]
    together = model.denoise(x, sigma, rows)
    for row in range(3):
        alone = model.denoise(x[row : row + 1], sigma[row : row + 1], rows[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("keys", [255, 256, 700, 1025])
def test_attention_by_head_is_attention(keys, rng):
    q, k, v = randn(rng, 2, 3, 40, 16), randn(rng, 2, 3, keys, 16), randn(rng, 2, 3, keys, 16)
    with torch.no_grad():
        out = attend(q, k, v)
    expected = torch.softmax(q @ k.transpose(2, 3) / 4, dim=-1) @ v
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


# The encoder


class Tokens(nn.Module):
    """Stands for the patchifier: takes tokens and hands them on."""

    def forward(self, tokens, gain):
        return tokens, []


@pytest.mark.parametrize("latents", ["summary", "ordered"])
def test_ordered_latents_see_their_time_span_only(latents, make_model, rng):
    model = make_model(latents=latents, encoder_layers=1)
    model.encoder.patchifier = Tokens()  # its norms and convolutions spread every change over time
    frequencies, times = model.config.token_grid
    assert times == model.config.latent_tokens
    tokens = randn(rng, 1, frequencies, times, model.config.dim)
    with torch.no_grad():
        before = model.encoder.features(tokens.flatten(1, 2))[0]
        for span in range(times):
            other = tokens.clone()
            other[:, :, span] += randn(rng, 1, frequencies, model.config.dim)
            after = model.encoder.features(other.flatten(1, 2))[0]
            moved = (after - before).abs().amax(-1) > 1e-5
            assert moved.tolist() == [latents == "summary" or latent == span for latent in range(times)]
        model.encoder.latents[2] += randn(rng, model.config.dim)  # nor do ordered latents see one another
        moved = (model.encoder.features(tokens.flatten(1, 2))[0] - before).abs().amax(-1) > 1e-5
        assert moved.tolist() == [latents == "summary" or latent == 2 for latent in range(times)]
        before = model.encoder.features(tokens.flatten(1, 2))[0]
        model.encoder.registers += randn(rng, model.config.dim)  # which would be a way round the spans
        moved = (model.encoder.features(tokens.flatten(1, 2))[0] - before).abs().amax(-1) > 1e-5
        assert moved.tolist() == [latents == "summary"] * times


def test_ordered_latents_fill_their_time_span_only(make_model, rng):
    model = make_model(latents="ordered", upsampler_layers=1)
    frequencies, times = model.config.token_grid
    z = randn(rng, 1, 8, 64)
    with torch.no_grad():
        before = model.upsampler.tokens(z)
        for span in range(times):
            other = z.clone()
            other[:, span] += 1
            difference = (model.upsampler.tokens(other) - before).abs().amax(-1).view(frequencies, times)
            assert ((difference > 1e-5).all(0)).tolist() == [time == span for time in range(times)]
            assert ((difference > 1e-5).any(0)).tolist() == [time == span for time in range(times)]


def test_a_batch_is_whole_however_much_the_cache_holds(model, rng, monkeypatch):
    inputs = randn(rng, 5, 3, model.config.bins, model.config.chunk_frames)
    with torch.no_grad():
        together = model.encoder(inputs)
        monkeypatch.setattr(networks, "CACHE_BYTES", 2 * 4 * 16 * 64 * 8)  # two chunks
        assert networks._cached_chunks(model.config) == 2
        torch.testing.assert_close(model.encoder(inputs), together, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("features", ["bottleneck", "pre-bottleneck"])
def test_encoding_does_not_depend_on_the_batch(features, model, rng):
    waveform = torch.from_numpy(0.1 * rng.standard_normal((1, 7 * 32_768 - 1024))).float()
    blocks = spectrogram.blocks(waveform, model.config)
    together = model.encode_blocks(blocks, features=features)
    assert len(together) == 7
    shifted = model.encode_blocks(blocks.roll(3, dims=0), features=features).roll(-3, dims=0)
    alone = torch.cat([model.encode_blocks(block[None], features=features) for block in blocks])
    split = model.encode(waveform, 44_100, features=features, batch_size=3)
    for other in (shifted, alone, split):
        torch.testing.assert_close(other, together, atol=1e-5, rtol=0)
    assert (together[0] - together[1]).abs().max() > 1e-2


def test_any_length_rate_and_channels(model, rng):
    for n, rate, channels in [
        *((1, 44_100, 1), (500, 44_100, 2), (31_744, 44_100, 1), (31_745, 44_100, 1)),
        *((8_000, 8_000, 6), (60_000, 22_050, 2), (200_000, 192_000, 1)),
    ]:
        z = model.encode(0.1 * rng.standard_normal((channels, n)), rate)
        chunks = spectrogram.num_chunks(round(n * 44_100 / rate), model.config)
        assert z.shape == (chunks, 8, 64)
        assert z.dtype == torch.float32
        assert torch.isfinite(z).all()


def test_shapes_before_the_bottleneck(make_model, rng):
    waveform = 0.1 * rng.standard_normal(40_000)
    assert make_model().encode(waveform, 44_100, features="pre-bottleneck").shape == (2, 8, 64)
    many = make_model(latent_tokens=128, bottleneck="fsq", latent_rescale=0.8, dim=64)
    assert many.encode(waveform, 44_100, features="pre-bottleneck").shape == (2, 128, 64)
    assert many.encode(waveform, 44_100).shape == (2, 8, 64)


def test_rescaled_embeddings_come_back_as_values(make_model, rng):
    # CoDiCodec: tokens of 4 values, regrouped '(l d) c -> l (d c)', atanh, divided by 0.8
    model = make_model(latent_tokens=128, bottleneck="fsq", latent_rescale=0.8)
    values = torch.tanh(randn(rng, 3, 128, 4)) * (1 - 1e-3)
    embeddings = model.embeddings_from_values(values)
    assert embeddings.shape == (3, 8, 64)
    expected = np.arctanh(values[1, 16 * 2 + 5, 3].item()) / 0.8
    assert embeddings[1, 2, 4 * 5 + 3].item() == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(model.values_from_embeddings(embeddings), values, atol=1e-5, rtol=0)


def test_mono_equals_its_two_channel_duplicate(model, make_model, rng):
    mono = 0.1 * rng.standard_normal(50_000).astype(np.float32)
    expected = model.encode(mono, 44_100)
    for same in (mono[None], np.stack([mono, mono]), torch.from_numpy(mono), mono.tolist()):
        torch.testing.assert_close(model.encode(same, 44_100), expected, atol=1e-5, rtol=0)
    stereo = make_model(channels=2)
    torch.testing.assert_close(
        stereo.encode(mono, 44_100), stereo.encode(np.stack([mono, mono]), 44_100), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("transform", ["component", "polar"])
def test_silence_encodes_to_finite_numbers(transform, make_model):
    model = make_model(amplitude_transform=transform)
    for features in ("bottleneck", "pre-bottleneck"):
        assert torch.isfinite(model.encode(np.zeros(40_000, np.float32), 44_100, features=features)).all()


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros(0, np.float32), r"got shape \(1, 0\)"),
        (np.zeros((0, 100), np.float32), r"got shape \(0, 100\)"),
        (np.zeros((1, 2, 3), np.float32), r"got shape \(1, 2, 3\)"),
        (np.float32(0.5), r"got shape \(\)"),
        (np.zeros(100, np.int16), "int16.*full scale"),
        (np.array([0, np.nan, 0], np.float32), "NaN"),
        (np.array([0, np.inf, 0]), "infinite"),
        (np.array([0, 1e300]), "infinite"),
        (np.zeros((44_100, 2), np.float32), r"waveform\.T"),
    ],
)
def test_bad_waveforms_are_refused(waveform, message, model):
    with pytest.raises(InputError, match=message):
        model.encode(waveform, 44_100)


def test_bad_settings_are_refused(model):
    waveform = np.zeros(5_000, np.float32)
    for settings, message in (
        ({"sample_rate": 0}, "sample_rate"),
        ({"sample_rate": float("nan")}, "sample_rate"),
        ({"sample_rate": 44_100, "features": "prebottleneck"}, "'prebottleneck'"),
        ({"sample_rate": 44_100, "framing": "offical"}, "'offical'"),
    ):
        with pytest.raises(InputError, match=message):
            model.encode(waveform, **settings)
    for change in ({"hop_length": 0}, {"heads": 0}, {"dim": 48}, {"latent_tokens": 7}, {"latents": "sorted"}):
        with pytest.raises(ConfigError):
            model.config.replace(**change)


# Side effects


def flags():
    return (
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        *(torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        *(torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32),
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction,
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction,
        torch.backends.mkldnn.enabled,
    )


def test_global_state_of_torch_is_left_alone():
    def state():
        return (*flags(), np.random.get_state()[1].tolist())  # noqa: NPY002

    before = state()
    model = load_model("random:m2l2-tiny", device="cpu")
    z = model.encode(np.zeros(40_000, np.float32), 22_050)
    stream = model.decode_stream(z, noise=lambda chunk, draw: torch.zeros(model.config.spectrogram_shape))
    next(stream)
    assert state() == before  # also between two pieces
    model.decode(z)
    assert state() == before


def test_no_import_touches_the_flags_of_torch():
    script = f"""
import importlib, pkgutil, torch
{inspect.getsource(flags)}
before = flags()
import m2l2_mir
for module in pkgutil.walk_packages(m2l2_mir.__path__, "m2l2_mir."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:  # an extra that is not installed
            assert not error.name.startswith("m2l2_mir"), error
    assert flags() == before, module.name
print(module.name)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("m2l2_mir.")


def test_embeddings_can_train_a_torch_model(model):
    z = model.encode(np.zeros(5_000, np.float32), 44_100)
    probe = nn.Linear(64, 1)
    probe(z).sum().backward()
    assert probe.weight.grad is not None


# Layers


@pytest.mark.parametrize("shape", [(24,), (5,), (40,), (3, 20), (2, 3, 20)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_equals_that_of_torch(shape, bias, fill, rng):
    # Fewer than 32 rows go through torch's own Linear, more through a convolution.
    ours = fill(Linear(24, 7, bias=bias))
    theirs = nn.Linear(24, 7, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    values = randn(rng, *shape, 24) if shape != (24,) else randn(rng, 24)
    weights = randn(rng, *values.shape[:-1], 7)
    results = []
    for layer in (ours, theirs):
        x = values.clone().requires_grad_()
        out = layer(x)
        (out * weights).sum().backward()
        results.append([out, x.grad, *(parameter.grad for parameter in layer.parameters())])
    for found, expected in zip(*results, strict=True):
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_linear_takes_transposed_input(fill, rng):
    layer = fill(Linear(24, 7))
    x = randn(rng, 24, 50).T
    torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias, atol=1e-5, rtol=1e-5)


def test_swiglu_gates_with_its_first_half(fill, rng):
    layer = fill(SwiGLU(6, 10))
    x = randn(rng, 2, 3, 6)
    gate, value = x @ layer.up.weight[:10].T, x @ layer.up.weight[10:].T
    torch.testing.assert_close(layer(x), (gate * torch.sigmoid(gate) * value) @ layer.down.weight.T)


# Sizes


def test_ordered_model_has_the_parameters_of_the_summary_model():
    small, ordered = on_meta("m2l2-small").state_dict(), on_meta("m2l2-small-ordered").state_dict()
    assert {name: tensor.shape for name, tensor in small.items()} == {
        name: tensor.shape for name, tensor in ordered.items()
    }
    differing = {
        key
        for key, value in ModelConfig.preset("m2l2-small").to_dict().items()
        if ModelConfig.preset("m2l2-small-ordered").to_dict()[key] != value
    }
    assert differing == {"name", "latents"}


def test_preset_sizes():
    assert size(on_meta("m2l2-tiny")) < 500_000
    assert size(on_meta("m2l2-small")) <= 8_000_000
    assert size(on_meta("m2l2")) == pytest.approx(150e6, rel=0.03)
    assert size(on_meta("codicodec")) == pytest.approx(147.20e6, abs=0.005e6)
    assert [ModelConfig.preset(name).compression for name in ("m2l2", "m2l2-stereo", "codicodec")] == [64, 128, 128]


def test_every_parameter_of_codicodec_is_published_under_one_name():
    names = codicodec_names(ModelConfig.preset("codicodec"))
    assert len(set(names.values())) == len(names)
    assert set(names.values()) == on_meta("codicodec").state_dict().keys()
