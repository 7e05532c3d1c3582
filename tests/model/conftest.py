"""Tiny models whose every weight matters."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from m2l2_mir.model import catalogue, config, official, official_file
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import random_model
from m2l2_mir.model.config import ModelConfig

Module = TypeVar("Module", bound=nn.Module)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def fill() -> Callable[[Module], Module]:
    """Give every trainable parameter a random value: branches that start at zero would hide their faults."""

    def fill(module: Module, seed: int = 0) -> Module:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                if not parameter.requires_grad:
                    continue
                if parameter.ndim == 1:  # gains and biases
                    parameter.normal_(1, 0.1, generator=generator)
                else:
                    parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
        return module

    return fill


@pytest.fixture(scope="session")
def make_model(fill) -> Callable[..., Music2Latent2]:
    """Build the tiny model, with changes to its configuration and all its weights random."""

    def make_model(**changes) -> Music2Latent2:
        return fill(random_model(ModelConfig.preset("m2l2-tiny").replace(**changes)))

    return make_model


@pytest.fixture(scope="session")
def model(make_model) -> Music2Latent2:
    return make_model()


SMALL_CODICODEC = """# CoDiCodec, every part of it, small
name = "codicodec"
sample_rate = 48000
channels = 2
n_fft = 256
hop_length = 128
level_channels = [16, 32, 64, 128]
level_blocks = [1, 2, 1, 1]
dim = 128
encoder_layers = 2
upsampler_layers = 2
consistency_layers = 2
noise_dim = 64
latent_tokens = 128
bottleneck = "fsq"
latent_rescale = 0.8
latents_in_consistency = true
"""
# The same in the published package's terms
SMALL_PUBLISHED = {
    "hop": 128,
    "dim": 128,
    "head_dim": 32,
    "heads": 4,
    "num_layers": 2,
    "num_layers_encoder": 2,
    "cond_channels": 64,
    "frontend_base_channels": 16,
    "frontend_layers_list": [1, 2, 1, 1],
    "frontend_encoder_layers_list": [1, 2, 1, 1],
    "frontend_multipliers_list": [1, 2, 4, 8],
    "data_length": 64,
    "mixed_precision": False,
}
LEADING_AXES = {"gain_encoder": (1, 1, -1, 1), "mask_embedding": (1, -1, 1, 128)}


@pytest.fixture
def small_codicodec(tmp_path, monkeypatch) -> ModelConfig:
    """The preset ``codicodec`` at a size that runs in a blink."""
    presets = tmp_path / "presets"
    presets.mkdir()
    for path in config.PRESETS.glob("*.toml"):
        (presets / path.name).write_bytes(path.read_bytes())
    (presets / "codicodec.toml").write_text(SMALL_CODICODEC)
    for module in (config, catalogue):
        monkeypatch.setattr(module, "PRESETS", presets)
    official_file.tell_terms.cache_clear()
    return ModelConfig.preset("codicodec")


@pytest.fixture
def published_state(small_codicodec) -> dict[str, Tensor]:
    """Weights as CoDiCodec publishes them, all of them random: none of its branches is zero."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Music2Latent2(small_codicodec).state_dict().items()}
    numbers = np.random.default_rng(5)
    state = {}
    for theirs, ours in official.codicodec_names(small_codicodec).items():
        shape = shapes[ours]
        gain = len(shape) == 1 or ours == "encoder.gain"
        values = 1 + 0.1 * numbers.standard_normal(shape) if gain else numbers.standard_normal(shape)
        tensor = torch.from_numpy(values if gain else values * np.prod(shape[1:]) ** -0.5).float()
        if theirs.endswith(("weight", "bias", ".g")):
            state[theirs] = tensor
        else:
            state[theirs] = tensor.reshape(LEADING_AXES.get(theirs, (1, *shape)))
    for part in ("weight", "bias"):
        state[f"frontend_decoder_up.conv_out.{part}"] *= 0.1  # audio that is not all clipped
    unused = {name: torch.ones(1) for name in official.UNUSED}
    return {**state, **unused, **official._constants(small_codicodec)}


@pytest.fixture
def official_pt(published_state, tmp_path) -> Path:
    """A file as CoDiCodec publishes it: weights beside what training left."""
    path = tmp_path / "codicodec.pt"
    optimizer = torch.optim.RAdam([nn.Parameter(torch.zeros(3))])
    left = {"it": np.int64(7), "loss": np.float32(0.5), "losses": np.ones(3), "best": float("inf")}
    torch.save({"gen_state_dict": published_state, "optimizer_state_dict": optimizer.state_dict(), **left}, path)
    return path


@pytest.fixture(scope="session")
def small_published() -> ModuleType:
    """The published package's own code, built as small: its module ``inference``."""
    package = pytest.importorskip("codicodec")
    flags = torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32

    def take_out() -> dict[str, ModuleType]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "codicodec"}

    kept = take_out()
    bare = ModuleType("codicodec")  # the package itself would import all its modules before they are made small
    bare.__path__ = package.__path__
    sys.modules["codicodec"] = bare
    hparams = importlib.import_module("codicodec.hparams")
    for name, value in SMALL_PUBLISHED.items():
        assert hasattr(hparams, name)
        setattr(hparams, name, value)
    inference = importlib.import_module("codicodec.inference")
    inference.download_model = lambda: None
    take_out()
    sys.modules.update(kept)
    torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32 = flags
    return inference
