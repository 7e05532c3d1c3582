"""Models by name or file: checkpoints with their configuration inside.

A checkpoint is one safetensors file. Its metadata hold the configuration, the SHA-256 of all that (checked on
load) and, where given, licence and citation. Tensors in half precision are float32 again once loaded. Nothing is ever
unpickled from a native checkpoint.

Official weights of published relatives are loaded as published (see :mod:`m2l2_mir.model.official_file`), or from a
checkpoint that was made of them. Only the encoder is read then: upsampler and consistency network stay in the file
until they are used. Such a checkpoint has a digest of the encoder alone, checked on load; that of all is checked when
one of the others is used for the first time.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from m2l2_mir.durable import write_durably
from m2l2_mir.errors import CheckpointError, ConfigError
from m2l2_mir.model.architectures import build, config_from_dict, config_named, model_names
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.hub import official_path
from m2l2_mir.model.official_file import OFFICIAL, is_archive, read_official, tell_terms
from m2l2_mir.model.shipped import shipped_names, shipped_path, verified_path
from m2l2_mir.recipe import close_match

__all__ = [
    "checkpoint_path",
    "convert_official",
    "load_model",
    "random_model",
    "read_metadata",
    "save_model",
    "tensors_sha256",
]

FORMAT = "m2l2-mir/1"
DEFAULT_SEED = 0
ENCODER = "sha256-encoder"
OWN_KEYS = ("format", "config", "sha256", ENCODER, "trained")  # of the metadata; the rest is the caller's


def load_model(name: str | Path, *, device: str = "auto") -> Music2Latent2:
    """Load a model by name or file.

    Parameters
    ----------
    name : str or Path
        A ``.safetensors`` checkpoint, a model that is shipped (see ``m2l2 models list``), or ``"random:PRESET"`` (or
        ``"random:config.toml"``, and optionally a seed: ``"random:m2l2-small:3"``) for untrained weights. Or official
        weights: their ``.pt`` as published, or ``"codicodec"`` or ``"music2latent"``,
        which downloads it if it is not on this machine.
    device : str
        ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...

    Raises
    ------
    CheckpointError
        There are no such weights, the file is damaged, or its tensors do not fit its configuration.

    >>> model = load_model("random:m2l2-tiny", device="cpu")
    >>> model.trained, model.config.num_embeddings
    (False, 8)
    """
    target = _device(device)
    text = os.fspath(name)
    if text.startswith("random:"):
        return _random_by_name(text).to(target)
    path = verified_path(text) if text in shipped_names() else checkpoint_path(text)
    model = _load_official(path) if is_archive(path) else _load_file(path)
    if _is_official(model):
        tell_terms(OFFICIAL[model.config.name])
    return model.to(target)


def checkpoint_path(name: str) -> Path:
    """Where the weights of a file, of a shipped or of an official model lie; the file is not read.

    Official weights that are nowhere on this machine are downloaded.

    Raises
    ------
    CheckpointError
        There are no such weights.
    """
    if name in shipped_names():
        return shipped_path(name)
    path = Path(name)
    if path.suffix in (".safetensors", ".pt") or path.exists():
        return path
    if name in OFFICIAL:
        return official_path(OFFICIAL[name])
    if name in model_names():
        raise CheckpointError(
            f"no trained weights of {name!r} are shipped yet; give a .safetensors file, or 'random:{name}' (untrained)"
        )
    known = [*model_names(), *(f"random:{preset}" for preset in model_names())]
    raise CheckpointError(f"no model {name!r}: neither a file nor a known name{close_match(name, known)}")


def random_model(config: ModelConfig, seed: int = DEFAULT_SEED) -> Music2Latent2:
    """Build a model with random weights drawn from `seed`; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(config)
    model.weights_id = f"random:{config.name}:{seed}"
    return model


def save_model(
    model: Music2Latent2, path: str | Path, *, metadata: Mapping[str, str] | None = None, half: bool = False
) -> str:
    """Write a checkpoint, atomically, and return its SHA-256 (of tensors and configuration).

    Parameters
    ----------
    model
        Its own metadata are kept.
    path
        Of the file.
    metadata
        Added to the model's own.
    half
        Store float16: half the size.

    Raises
    ------
    CheckpointError
        The file cannot be written, or a weight is beyond the range of float16.
    """
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        tensors = {name: _halved(name, tensor) for name, tensor in tensors.items()}
    config = json.dumps(model.config.to_dict())
    sha256 = tensors_sha256(tensors, config)
    header = {
        **model.metadata,
        **(metadata or {}),
        "format": FORMAT,
        "config": config,
        "sha256": sha256,
        "trained": "yes" if model.trained else f"no: {model.weights_id}",
    }
    if model.config.name in OFFICIAL and "source" in header:
        encoder = {name.removeprefix("encoder."): part.float() for name, part in tensors.items() if _of_encoder(name)}
        header[ENCODER] = _encoder_digest(config, tensors_sha256(encoder))
    content = save(tensors, metadata=header)
    try:
        write_durably(path, lambda file: file.write(content))
    except OSError as error:
        raise CheckpointError(f"cannot write the checkpoint {path}: {error}") from error
    return sha256


def convert_official(weights: Path, out: Path, *, half: bool = False) -> str:
    """Write official weights, as published, as a checkpoint with licence, citation and a checksum of its own inside.

    Parameters
    ----------
    weights
        The published ``.pt``.
    out
        Where to, ``NAME.safetensors``.
    half
        Store float16: half the size.

    Returns
    -------
    str
        SHA-256 of the file, as ``sha256sum`` gives it.

    Raises
    ------
    CheckpointError
        These are no official weights, the file's name is another one, or it cannot be written.
    """
    if out.suffix != ".safetensors":
        raise CheckpointError(f"cannot convert to {out}: name a .safetensors file")
    if weights.exists() and not is_archive(weights):
        raise CheckpointError(f"{weights} is neither a .safetensors checkpoint nor a .pt of official weights")
    save_model(load_model(weights, device="cpu"), out, half=half)
    with open(out, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_metadata(path: str | Path) -> dict[str, str]:
    """What a checkpoint states beside its tensors, which are not read.

    Raises
    ------
    CheckpointError
        There is no such file, or it cannot be read.
    """
    if is_archive(Path(path)):
        return read_official(Path(path))[0].facts
    return _opened(Path(path), with_tensors=False)[0]


def tensors_sha256(tensors: Mapping[str, Tensor], config: str = "") -> str:
    """SHA-256 over a configuration as text, and the names, types, shapes and bytes of `tensors` in order of name."""
    digest = hashlib.sha256(config.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _halved(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    halved = tensor.half()
    if not torch.equal(halved.isfinite(), tensor.isfinite()):
        raise CheckpointError(f"{name} holds {tensor.abs().max():.3g}, beyond the range of float16; keep float32")
    return halved


def _opened(path: Path, *, with_tensors: bool = True) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys() if with_tensors else ()
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, struct.error) as error:
        raise CheckpointError(
            f"{path} is not a readable safetensors checkpoint ({error}); fetch or convert it again"
        ) from error


def _load_file(path: Path) -> Music2Latent2:
    header, tensors = _opened(path)
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is no m2l2-mir checkpoint: its format is {header.get('format')!r}, not {FORMAT!r}"
        )
    sha256, encoder_alone = header.get("sha256", ""), ENCODER in header
    if not encoder_alone:
        _check(path, header, tensors, sha256)
    try:
        config = config_from_dict(json.loads(header["config"]))
    except (KeyError, json.JSONDecodeError, ConfigError) as error:
        raise CheckpointError(f"{path} holds no usable model configuration: {error}") from error
    with torch.device("meta"):
        model = build(config)
    weights = {name: tensor if encoder_alone else tensor.float() for name, tensor in tensors.items()}
    weights |= {name: part.to(torch.float32, copy=True) for name, part in weights.items() if _of_encoder(name)}
    try:
        model.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"the tensors of {path} do not fit its configuration {config.name!r}: {error}") from error
    model.metadata = {key: text for key, text in header.items() if key not in OWN_KEYS}
    trained = header.get("trained", "yes")
    model.weights_id = f"sha256:{sha256}" if trained == "yes" else trained.removeprefix("no: ")
    if encoder_alone or _is_official(model):
        encoder = tensors_sha256(model.encoder.state_dict())
        model.weights_id = _official_id(config, encoder)
        if encoder_alone:
            if header[ENCODER] != _encoder_digest(header["config"], encoder):
                raise _damaged(path)
            model.check_rest = partial(_check_file, path, sha256)
    return model


def _check_file(path: Path, sha256: str) -> None:
    _check(path, *_opened(path), sha256)


def _check(path: Path, header: Mapping[str, str], tensors: Mapping[str, Tensor], sha256: str) -> None:
    """Compare all tensors and the configuration with what was written of them."""
    if sha256 != tensors_sha256(tensors, header.get("config", "")):
        raise _damaged(path)


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} is damaged: its checksum is not the one written; fetch or convert it again")


def _encoder_digest(config: str, encoder: str) -> str:
    """What a checkpoint states of its encoder: a digest of the configuration and of the SHA-256 of its tensors."""
    return hashlib.sha256(f"{config}{encoder}".encode()).hexdigest()


def _load_official(path: Path) -> Music2Latent2:
    """Official weights: the encoder is read, all else is mapped from the file."""
    official, tensors = read_official(path)
    if not official.as_pinned:
        warnings.warn(
            f"{path} is not the {official.file} that others have pinned: its SHA-256 is {official.sha256[:12]}..., not "
            f"{official.pinned[:12]}...; embeddings by the two may not compare",
            stacklevel=3,
        )
    with torch.device("meta"):
        model = build(config_named(official.preset))
    for name, expected in model.state_dict().items():
        if tensors[name].shape != expected.shape:
            raise CheckpointError(
                f"{path} holds another size of {official.preset}: {name} is {tuple(tensors[name].shape)}, "
                f"not {tuple(expected.shape)}"
            )
    weights = {name: tensor.float() for name, tensor in tensors.items()}
    weights |= {name: tensor.clone() for name, tensor in weights.items() if _of_encoder(name)}
    model.load_state_dict(weights, strict=True, assign=True)
    model.metadata = {**official.facts}
    model.weights_id = _official_id(model.config, tensors_sha256(model.encoder.state_dict()))
    return model


def _of_encoder(name: str) -> bool:
    return name.startswith("encoder.")


def _is_official(model: Music2Latent2) -> bool:
    return model.config.name in OFFICIAL and "source" in model.metadata


def _official_id(config: ModelConfig, encoder: str) -> str:
    """Name of official weights: the same for the published file and for what was made of it, by what embeds."""
    return f"{config.name}:{encoder}"


def _random_by_name(name: str) -> Music2Latent2:
    _, spec, *rest = name.split(":")
    if len(rest) > 1 or not all(part.isdecimal() for part in rest):
        raise CheckpointError(f"cannot read {name!r}; write random:PRESET or random:PRESET:SEED")
    seed = int(rest[0]) if rest else DEFAULT_SEED
    try:
        config = ModelConfig.from_toml(spec) if spec.endswith(".toml") else config_named(spec)
    except ConfigError as error:
        raise CheckpointError(f"cannot build {name!r}: {error}") from error
    return random_model(config, seed)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(
            f"device {name!r} cannot be used here ({str(error).splitlines()[0]}); try device='cpu'"
        ) from error
    return device
