"""Tiny models whose every weight matters."""

from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
from torch import nn

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
