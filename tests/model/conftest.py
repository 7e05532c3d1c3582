"""Tiny models whose every weight matters."""

import dataclasses
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

from m2l2_mir.model import config, music2latent_config, official, official_file, official_music2latent
from m2l2_mir.model.architectures import build
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import random_model
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.music2latent_config import Music2LatentConfig

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
    monkeypatch.setattr(config, "PRESETS", presets)
    official_file.tell_terms.cache_clear()
    small = dataclasses.replace(official_file.OFFICIAL["codicodec"], pinned="")  # that is of the full size
    monkeypatch.setitem(official_file.OFFICIAL, "codicodec", small)
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
    return _small_package("codicodec", SMALL_PUBLISHED)


SMALL_MUSIC2LATENT = """# Music2Latent, every part of it, small
name = "music2latent"
n_fft = 128
hop_length = 32
chunk_frames = 64
amplitude_transform = "polar"
level_channels = [8, 16, 32, 32, 32]
level_blocks = [2, 2, 2, 2, 2]
encoder_blocks = [1, 1, 1, 1, 1]
level_attention = [false, false, true, true, true]
downsample = [[4, 1], [2, 2], [2, 2], [2, 2]]
bottleneck_channels = 32
bottleneck_blocks = 2
noise_dim = 32
latent_scale = 0.06
dim = 64
"""
# The same in the published package's terms
SMALL_PUBLISHED_MUSIC2LATENT = {
    "hop": 32,
    "base_channels": 8,
    "bottleneck_base_channels": 32,
    "num_bottleneck_layers": 2,
    "cond_channels": 32,
    "mixed_precision": False,
}
ONE_DIMENSIONAL = ("decoder.conv_inp.weight", "encoder.conv_out.weight")  # and those with "bottleneck" in their name


@pytest.fixture(scope="session")
def music2latent_preset(tmp_path_factory) -> Path:
    """The preset ``music2latent`` at a size that runs in a blink."""
    preset = tmp_path_factory.mktemp("unet") / "music2latent.toml"
    preset.write_text(SMALL_MUSIC2LATENT)
    return preset


@pytest.fixture(scope="session")
def music2latent_state(music2latent_preset) -> dict[str, Tensor]:
    """Weights as Music2Latent publishes them, all of them random: none of its branches is zero."""
    config = Music2LatentConfig.from_toml(music2latent_preset)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in build(config).state_dict().items()}
    numbers = np.random.default_rng(6)
    state = {}
    for theirs, ours in official_music2latent.music2latent_names(config).items():
        shape = shapes[ours]
        if len(shape) == 1 or ours == "encoder.gain":
            values = (not ours.endswith("bias")) + 0.1 * numbers.standard_normal(shape)
        else:
            values = numbers.standard_normal(shape) * np.prod(shape[1:]) ** -0.5
        tensor = torch.from_numpy(values).float()
        if theirs == "encoder.gain.scale":
            tensor = tensor[None, None]
        elif theirs == "encoder.bottleneck_layers.0.weight":
            tensor = tensor.flatten(1, 2)
        elif tensor.ndim == 4 and ("bottleneck" in theirs or theirs in ONE_DIMENSIONAL):
            tensor = tensor.squeeze(2)
        state[theirs] = tensor
    width, noise = config.bottleneck_channels, config.noise_dim
    unused = {
        name: torch.ones((width, noise) if name.endswith("weight") else width)
        for name in official_music2latent.unused_names(config)
    }
    return {**state, **unused}


@pytest.fixture(scope="session")
def music2latent_pt(music2latent_state, tmp_path_factory) -> Path:
    """A file as Music2Latent publishes it: weights beside what training left."""
    path = tmp_path_factory.mktemp("official") / "music2latent.pt"
    torch.save({"gen_state_dict": music2latent_state, "it": np.int64(7)}, path)
    return path


@pytest.fixture
def small_music2latent(music2latent_preset, monkeypatch) -> None:
    """Make the preset small; terms are told anew."""
    monkeypatch.setattr(music2latent_config, "PRESET", music2latent_preset)
    official_file.tell_terms.cache_clear()


@pytest.fixture(scope="session")
def small_published_music2latent() -> ModuleType:
    """The published package's own code, built as small: its module ``inference``."""
    return _small_package("music2latent", SMALL_PUBLISHED_MUSIC2LATENT)


def _small_package(name: str, values: dict[str, object]) -> ModuleType:
    """Module ``inference`` of a published package, with other hyperparameters."""
    package = pytest.importorskip(name)
    flags = torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32

    def take_out() -> dict[str, ModuleType]:
        return {each: sys.modules.pop(each) for each in list(sys.modules) if each.split(".")[0] == name}

    kept = take_out()
    bare = ModuleType(name)  # the package itself would import all its modules before they are made small
    bare.__path__ = package.__path__
    sys.modules[name] = bare
    hparams = importlib.import_module(f"{name}.hparams")
    for setting, value in values.items():
        assert hasattr(hparams, setting)
        setattr(hparams, setting, value)
    inference = importlib.import_module(f"{name}.inference")
    inference.download_model = lambda: None
    take_out()
    sys.modules.update(kept)
    torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32 = flags
    return inference
