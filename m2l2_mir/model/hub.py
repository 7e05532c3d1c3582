"""Where official weights lie on this machine, and their download from the model hub when there are none."""

from __future__ import annotations

import warnings
from pathlib import Path

from m2l2_mir.durable import cache_home
from m2l2_mir.errors import CheckpointError
from m2l2_mir.model.official_file import Official
from m2l2_mir.model.origin import keep_origin, noted_origin, sha256_of, stated_sha256

__all__ = ["local_path", "official_path"]


def local_path(official: Official) -> Path | None:
    """File of official weights that is on this machine, converted or as published; None if there is none.

    Looked for in ``models/`` of this package's cache, then in the cache of ``huggingface_hub``: the commit that was
    downloaded last by this package, or else by another. Nothing is downloaded.
    """
    folder = _folder()
    for path in (folder / f"{official.preset}.safetensors", folder / official.file):
        if path.is_file():
            return path
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    noted = noted_origin(official.preset)
    for revision in (noted.commit if noted else None, None):
        found = try_to_load_from_cache(official.repository, official.file, revision=revision)
        if isinstance(found, str):
            return Path(found)
    return None


def official_path(official: Official) -> Path:
    """File of official weights, downloaded to the user's cache if it is nowhere on this machine.

    The commit that the hub names as its newest is taken and compared with the SHA-256 that the hub states. Both are
    kept (:mod:`m2l2_mir.model.origin`) and get into the facts of stores and of converted files. No commit is pinned:
    what is newest is decided at the first use, on each machine.

    Raises
    ------
    CheckpointError
        It cannot be downloaded; the message says which file to put where. Or it is not what the hub states.
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
        stated = get_hf_file_metadata(hf_hub_url(official.repository, official.file))
        path = Path(hf_hub_download(official.repository, official.file, revision=stated.commit_hash))
    except Exception as error:  # of whichever network library that version of the hub's client uses
        raise CheckpointError(
            f"{official.file} is not on this machine and cannot be downloaded ({type(error).__name__}): {by_hand}"
        ) from error
    if stated.commit_hash is not None:
        _keep(official, path, stated.commit_hash, stated_sha256(stated.etag))
    return path


def _keep(official: Official, path: Path, commit: str, expected: str) -> None:
    """Compare a download with what the hub states of it, and note that."""
    if expected and (found := sha256_of(path)) != expected:
        raise CheckpointError(
            f"{path} is not what the hub states of {official.file}: its SHA-256 is {found}, not {expected}; "
            "delete it and try again"
        )
    before = noted_origin(official.preset)
    if before is not None and before.sha256 != expected:
        warnings.warn(
            f"the hub's {official.file} has changed (commit {commit[:12]}, before {before.commit[:12]}): embeddings of "
            "the two do not compare",
            stacklevel=3,
        )
    try:
        keep_origin(official.preset, path, commit=commit, sha256=expected)
    except OSError as error:
        warnings.warn(
            f"where {official.file} came from cannot be noted ({error.strerror}): stores will not state it, and it may "
            "be downloaded anew",
            stacklevel=3,
        )


def _folder() -> Path:
    return cache_home() / "models"
