"""A GPU gives the answers of the CPU."""

import pytest
import torch

from m2l2_mir.model.checkpoint import load_model, save_model

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0).item()


@pytest.fixture
def pair(make_model, tmp_path):
    model = make_model()
    save_model(model, tmp_path / "model.safetensors")
    return model, load_model(tmp_path / "model.safetensors", device="cuda")


@pytest.fixture
def waveform(rng):
    return torch.from_numpy(0.1 * rng.standard_normal((1, 100_000))).float()


@pytest.mark.parametrize("features", ["bottleneck", "pre-bottleneck"])
def test_encode(features, pair, waveform):
    on_cpu, on_gpu = (model.encode(waveform, 44_100, features=features) for model in pair)
    assert on_gpu.device.type == "cpu"
    assert cosine(on_cpu, on_gpu) > 0.9999


@pytest.mark.parametrize("method", ["two-step", "single-step", "parallel"])
def test_decode(method, pair, waveform):
    embeddings = pair[0].encode(waveform, 44_100)
    on_cpu, on_gpu = (model.decode(embeddings, method=method, num_samples=100_000) for model in pair)
    assert on_gpu.device.type == "cpu"
    assert cosine(on_cpu, on_gpu) > 0.9999


def test_encode_in_bfloat16(pair, waveform):
    on_cpu, on_gpu = pair
    with torch.autocast("cuda", torch.bfloat16):
        half = on_gpu.encode(waveform, 44_100)
    assert half.dtype == torch.float32
    assert cosine(on_cpu.encode(waveform, 44_100), half) > 0.999


@pytest.mark.usefixtures("small_music2latent")
@pytest.mark.parametrize("file", ["official_pt", "music2latent_pt"])
def test_official_weights(file, request, waveform, tmp_path):
    published, converted = request.getfixturevalue(file), tmp_path / "own.safetensors"
    on_cpu = load_model(published, device="cpu")
    save_model(on_cpu, converted)
    expected = on_cpu.encode(waveform, 44_100)
    audio = on_cpu.decode(expected, method="parallel")
    for path in (published, converted):
        on_gpu = load_model(path, device="cuda")
        assert cosine(on_gpu.encode(waveform, 44_100), expected) > 0.9999
        assert cosine(on_gpu.decode(expected, method="parallel"), audio) > 0.9999
