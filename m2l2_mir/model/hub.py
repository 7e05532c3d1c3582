"""Where official weights lie on this machine, and their download from the model hub when there are none."""

from __future__ import annotations

from pathlib import Path

from m2l2_mir.durable import cache_home
from m2l2_mir.errors import CheckpointError
from m2l2_mir.model.official_file import Official

__all__ = ["local_path", "official_path"]


def local_path(official: Official) -> Path | None:
    """File of official weights that is on this machine, converted or as published; None if there is none.

    Looked for in ``models/`` of this package's cache, then in the cache of ``huggingface_hub``. Nothing is downloaded.
    """
    folder = _folder()
    for path in (folder / f"{official.preset}.safetensors", folder / official.file):
        if path.is_file():
            return path
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(official.repository, official.file)  # the revision taken last
    return Path(found) if isinstance(found, str) else None


def official_path(official: Official) -> Path:
    """File of official weights, downloaded to the user's cache if it is nowhere on this machine.

    Its publisher states no checksum: the newest revision is taken, and checked by names and shapes when it is loaded.

    Raises
    ------
    CheckpointError
        It cannot be downloaded; the message says which file to put where.
    """
    if found := local_path(official):
        return found
    by_hand = (
        f"get {official.file} of the hub's {official.repository} and put it at {_folder() / official.file}, "
        "or name its path as the model"
    )
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    except ImportError as error:
        raise CheckpointError(
            f"{official.file} is not on this machine and huggingface_hub is not installed: {by_hand}"
        ) from error
    try:
        # Asked first, without the download's retries: half a minute of them where there is no network.
        get_hf_file_metadata(hf_hub_url(official.repository, official.file))
        return Path(hf_hub_download(official.repository, official.file))
    except Exception as error:  # of whichever network library that version of the hub's client uses
        raise CheckpointError(
            f"{official.file} is not on this machine and cannot be downloaded ({type(error).__name__}): {by_hand}"
        ) from error


def _folder() -> Path:
    return cache_home() / "models"
