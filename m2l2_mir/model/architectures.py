"""Which network a configuration asks for, and all configurations by name.

Two architectures: that of :mod:`m2l2_mir.model.autoencoder`, and the UNet of :mod:`m2l2_mir.model.music2latent`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m2l2_mir.model import config as family
from m2l2_mir.model import music2latent_config as unet
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.config import ModelConfig, preset_names
from m2l2_mir.model.music2latent import Music2Latent
from m2l2_mir.model.music2latent_config import Music2LatentConfig

__all__ = ["build", "config_from_dict", "config_named", "model_names", "preset_path"]


def build(config: ModelConfig) -> Music2Latent2:
    """Return the network of a configuration, with random weights."""
    return Music2Latent(config) if isinstance(config, Music2LatentConfig) else Music2Latent2(config)


def model_names() -> list[str]:
    """Return the names of all presets, sorted.

    >>> {"m2l2-small", "codicodec", "music2latent"} <= set(model_names())
    True
    """
    return sorted([*preset_names(), unet.PRESET.stem])


def config_named(name: str) -> ModelConfig:
    """Return the configuration of the preset called `name`.

    Raises
    ------
    ConfigError
        There is no such preset.

    >>> type(config_named("music2latent")).__name__
    'Music2LatentConfig'
    """
    return Music2LatentConfig.official() if name == unet.PRESET.stem else ModelConfig.preset(name)


def preset_path(name: str) -> Path:
    """Return the file of the preset called `name`."""
    return unet.PRESET if name == unet.PRESET.stem else family.PRESETS / f"{name}.toml"


def config_from_dict(values: Mapping[str, Any]) -> ModelConfig:
    """Rebuild the configuration, of either kind, that gave `values` as its ``to_dict``.

    Raises
    ------
    ConfigError
        A key is unknown, or a value is refused.

    >>> config_from_dict(config_named("music2latent").to_dict()) == config_named("music2latent")
    True
    """
    kind = Music2LatentConfig if "architecture" in values else ModelConfig
    return kind.from_dict(dict(values))
