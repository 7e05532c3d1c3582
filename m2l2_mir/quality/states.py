"""State dicts of embedders: read without unpickling objects, and put into networks with nothing left over."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from m2l2_mir.errors import CheckpointError
from m2l2_mir.model.official_file import BROKEN

__all__ = ["load_into", "read_state"]


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors, .pth or .pt file.

    Raises
    ------
    CheckpointError
        The file cannot be read, or holds anything but named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, *BROKEN) as error:
        line = str(error).strip().splitlines()
        raise CheckpointError(f"{path}: cannot be read as weights ({line[0] if line else error!r})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds no state dict of tensors; give the weights alone")
    return state


def load_into(network: nn.Module, state: dict[str, Tensor], path: Path) -> nn.Module:
    """Give a network its weights, all of them and no others, and return it in evaluation mode.

    Raises
    ------
    CheckpointError
        Names or shapes differ.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        wrong = " ".join(str(error).split())
        raise CheckpointError(f"{path}: these are the weights of another network ({wrong[:200]})") from error
    return network.eval().requires_grad_(False)
