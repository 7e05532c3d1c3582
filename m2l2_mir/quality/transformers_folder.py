"""Published networks from a folder of the user's, by the package transformers; nothing is fetched or unpickled."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from m2l2_mir.errors import CheckpointError, MissingExtraError
from m2l2_mir.quality.visqol import INSTALL

__all__ = ["from_folder", "has_transformers"]


def has_transformers() -> bool:
    """Whether transformers is installed."""
    return find_spec("transformers") is not None


def from_folder(kind: str, folder: Path, *, weights: bool = False) -> Any:
    """Make an object of a class of transformers from the files of a folder.

    Parameters
    ----------
    kind
        Name of the class, such as "ClapModel".
    folder
        As the hub has it, with ``config.json``; weights as ``model.safetensors``.
    weights
        Whether the class has weights.

    Raises
    ------
    MissingExtraError
        transformers is not installed.
    CheckpointError
        The folder is not there, lacks a file, or holds something else.
    """
    if not has_transformers():
        raise MissingExtraError(f"{kind} needs the package transformers, which is not installed: {INSTALL}")
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; give the folder of {kind}, with its config.json")
    if weights and not any(folder.glob("*.safetensors")):
        raise CheckpointError(f"{folder}: holds no .safetensors; convert pickled weights first")
    options: dict[str, Any] = {"use_safetensors": True, "output_loading_info": True} if weights else {}
    try:
        made = getattr(import_module("transformers"), kind).from_pretrained(
            str(folder), local_files_only=True, **options
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: cannot be used as {kind} ({' '.join(str(error).split())[:200]})") from error
    if not weights:
        return made
    model, report = made
    if report["missing_keys"]:
        raise CheckpointError(f"{folder}: weights of {kind} are missing, such as {min(report['missing_keys'])}")
    return model
