"""Weights of embedders that are asked for from the model hub; nothing is downloaded that is not named."""

from __future__ import annotations

import re
from pathlib import Path

from m2l2_mir.errors import CheckpointError, InputError

__all__ = ["HUB", "fetched"]

HUB = "hub:"
READ = ("*.json", "*.safetensors")  # of a folder


def fetched(name: str) -> Path:
    """Return the file or folder that is named, from the hub's cache or downloaded into it.

    Parameters
    ----------
    name
        ``hub:OWNER/NAME`` for the folder, of which configuration and .safetensors are fetched; ``hub:OWNER/NAME/FILE``
        for one file; ``@REVISION`` after it for a commit, the newest if there is none.

    Raises
    ------
    InputError
        The name has another form.
    CheckpointError
        It cannot be downloaded.
    """
    parts = re.fullmatch(rf"{HUB}([\w.-]+/[\w.-]+)(?:/([\w./-]+))?(?:@([\w.-]+))?", name)
    if parts is None:
        raise InputError(
            f"{name}: weights of the hub are named {HUB}OWNER/NAME, with /FILE for one file, @REVISION for a commit"
        )
    repository, file, revision = parts.groups()
    from huggingface_hub import hf_hub_download, snapshot_download

    try:
        if file is None:
            return Path(snapshot_download(repository, revision=revision, allow_patterns=list(READ)))
        return Path(hf_hub_download(repository, file, revision=revision))
    except Exception as error:  # of whichever network library that version of the hub's client uses
        raise CheckpointError(
            f"{name} cannot be downloaded ({type(error).__name__}); get it by hand and give its path"
        ) from error
