"""Official weights as published: which there are, and how their ``.pt`` files are read.

Such a file is a zip archive of a pickle and of raw tensors, written by ``torch.save``: a mapping whose
``gen_state_dict`` holds the weights to infer with, beside what training left there (optimizer, counters, numpy
scalars). Only that mapping is used. The pickle is read by PyTorch's restricted reader (``weights_only=True``), in
which no name of the file is ever looked up: those of numpy stand for an empty object, any other is refused.

Tensors are mapped from the file, not read: what is not used costs neither time nor memory. A file that is new to this
machine is read once, for its SHA-256.
"""

from __future__ import annotations

import pickle
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from m2l2_mir.errors import CheckpointError
from m2l2_mir.model.official import convert_codicodec
from m2l2_mir.model.official_music2latent import convert_music2latent
from m2l2_mir.model.origin import Origin, origin_of, sha256_once

__all__ = ["OFFICIAL", "Official", "is_archive", "read_official", "tell_terms"]

STATE = "gen_state_dict"
BROKEN = (
    *(pickle.UnpicklingError, RuntimeError, ValueError, EOFError, OSError),
    *(LookupError, TypeError, AttributeError, AssertionError),  # of a pickle whose instructions make no sense
)
"""What PyTorch raises on files that are damaged or made up."""

_DTYPES = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64}


@dataclass(frozen=True)
class Official:
    """Published weights that this package can read; none are included in it."""

    preset: str
    repository: str  # on the model hub
    file: str
    mark: str  # a tensor that tells its state dict from others
    convert: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]  # published state dict -> that of the preset
    licence: str
    citation: str
    pinned: str = ""  # SHA-256 of the file that others have pinned; which of the hub's commits has it is not known
    origin: Origin | None = None  # of the file that was read
    sha256: str = ""  # of the file that was read

    @property
    def facts(self) -> dict[str, str]:
        """What every checkpoint made of these weights states."""
        checked = f"SHA-256 {self.sha256}"
        source = f"a file in the format of {self.repository}, {self.file}, {checked}"
        if self.origin is not None:
            checked += ", as stated there" if self.origin.sha256 else ", none is stated there"
            source = f"the hub's {self.repository}, {self.file}, commit {self.origin.commit}, {checked}"
        if self.pinned:
            source += ", the one that others have pinned" if self.as_pinned else ", not the one that others have pinned"
        return {"licence": self.licence, "citation": self.citation, "source": source}

    @property
    def as_pinned(self) -> bool:
        """Whether the file that was read is the one that others have pinned; also where there is none."""
        return self.pinned in ("", self.sha256)


OFFICIAL = {
    "codicodec": Official(
        preset="codicodec",
        repository="SonyCSLParis/codicodec",
        file="codicodec.pt",
        mark="mask_embedding",
        convert=convert_codicodec,
        licence="CC BY-NC 4.0",
        citation="CoDiCodec: Unifying Continuous and Discrete Compressed Representations of Audio, arXiv 2509.09836",
        pinned="27827ac41100386193fa4fd04d783c62d526a7b06ffa9e9252992eb3eb4bdb6c",
    ),
    "music2latent": Official(
        preset="music2latent",
        repository="SonyCSLParis/music2latent",
        file="music2latent.pt",
        mark="encoder.prenorm_1d_to_2d.weight",
        convert=convert_music2latent,
        licence="CC BY-NC 4.0",
        citation="Music2Latent: Consistency Autoencoders for Latent Audio Compression, arXiv 2408.06500",
    ),
}


class _Nothing:
    """Stands for whatever a file holds beside its tensors: takes any argument, keeps none."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def is_archive(path: Path) -> bool:
    """Whether the file could be one that ``torch.save`` wrote; its content is not read."""
    return path.is_file() and zipfile.is_zipfile(path)


def read_official(path: Path) -> tuple[Official, dict[str, Tensor]]:
    """Return whose weights a published file holds, with its origin, and the state dict of their preset, mapped from it.

    Raises
    ------
    CheckpointError
        The file is damaged, holds more than weights, or the weights of another network.
    """
    published = _state(path)
    for official in OFFICIAL.values():
        if official.mark in published:
            try:
                converted = official.convert(published)
                origin = origin_of(official.preset, path)
                sha256 = origin.sha256 if origin is not None and origin.sha256 else sha256_once(path)
                return replace(official, origin=origin, sha256=sha256), converted
            except CheckpointError as error:
                raise CheckpointError(f"{path}: {error}") from error
    raise CheckpointError(f"{path} holds none of the official networks that are known: {', '.join(OFFICIAL)}")


@cache  # once in a process
def tell_terms(official: Official) -> None:
    """Say on standard error under which licence official weights are, and what to cite."""
    print(f"{official.preset}: weights under {official.licence}; cite {official.citation}", file=sys.stderr)


def _state(path: Path) -> dict[str, Tensor]:
    try:
        names = get_unsafe_globals_in_checkpoint(path)
        if code := sorted(name for name in names if not name.startswith("numpy.")):
            raise CheckpointError(
                f"{path} names code to run ({', '.join(code[:3])}), which no file of weights needs: it was not run; "
                "fetch the file from its publisher"
            )
        # numpy's own names would call numpy: an object that does nothing takes their place
        with safe_globals([(_Nothing, name) for name in names]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except BROKEN as error:
        if isinstance(error, CheckpointError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} is not a readable file of official weights ({reason}); fetch it again"
        ) from error
    state = content.get(STATE) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is no file of official weights: it has no {STATE!r}")
    if other := [str(name) for name, value in state.items() if not _is_weights(name, value)]:
        raise CheckpointError(f"{path}: {other[0]!r} of {STATE!r} is no tensor of real numbers on its own")
    return state


def _is_weights(name: object, value: object) -> bool:
    if not isinstance(name, str) or not isinstance(value, Tensor):
        return False
    return value.layout is torch.strided and not value.is_meta and value.dtype in _DTYPES
