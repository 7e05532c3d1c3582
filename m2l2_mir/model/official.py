"""Official weights of published relatives: which of their tensors is which of ours.

CoDiCodec (arXiv 2509.09836) is of the same family. Its state dict is mapped by name into the ``codicodec`` preset;
every tensor is accounted for: carried over, never read by the published network, or a constant that this package
computes itself and checks. Code and weights of CoDiCodec are CC BY-NC 4.0; none of either is included here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from m2l2_mir.errors import CheckpointError
from m2l2_mir.model.config import ModelConfig

__all__ = ["codicodec_names", "convert_codicodec"]

Pairs = Iterator[tuple[str, str]]
BOTH = ("weight", "bias")

# Present in the published state dict, never read by the published network
UNUSED = frozenset(
    [f"{net}.linear_input.{part}" for net in ("encoder", "pre_decoder", "decoder") for part in BOTH]
    + [f"{net}.linear_output.{part}" for net in ("pre_decoder", "decoder") for part in BOTH]
    + ["pre_decoder.norm_output.norm.g", "frontend_pre_decoder_up.norm_out.weight"]
    + [f"frontend_pre_decoder_up.conv_out.{part}" for part in BOTH]
)


def convert_codicodec(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of the ``codicodec`` preset for the published ``gen_state_dict``.

    Raises
    ------
    CheckpointError
        A tensor is missing or unknown, or a constant does not have the published value.
    """
    config = ModelConfig.preset("codicodec")
    names, constants = codicodec_names(config), _constants(config)
    expected = names.keys() | constants.keys() | UNUSED
    if unknown := sorted(published.keys() - expected):
        raise CheckpointError(f"not the published CoDiCodec network: unknown tensors {', '.join(unknown[:3])} ...")
    if missing := sorted(expected - published.keys()):
        raise CheckpointError(f"not the whole CoDiCodec network: no tensors {', '.join(missing[:3])} ...")
    for name, constant in constants.items():
        if published[name].shape != constant.shape or not torch.allclose(published[name].to(constant), constant):
            raise CheckpointError(f"the constant {name!r} differs from CoDiCodec's: another version of the network")
    # Learned tokens and gains carry leading axes of size one in the published network.
    learned = {name for name in names if not name.endswith((*BOTH, ".g"))}
    return {
        ours: published[name].reshape(-1, published[name].shape[-1]) if name in learned else published[name]
        for name, ours in names.items()
    }


def codicodec_names(config: ModelConfig) -> dict[str, str]:
    """Return published tensor name -> name in :class:`Music2Latent2`, for every tensor carried over."""
    pairs = [
        ("latents", "encoder.latents"),
        ("mask_embedding", "upsampler.mask_tokens"),
        ("gain_encoder", "encoder.gain"),
        ("more_latents_encoder", "encoder.registers"),
        ("more_latents_pre_decoder", "upsampler.registers"),
        ("more_latents_decoder", "consistency.registers"),
        ("encoder.norm_output.norm.g", "encoder.norm_out.weight"),
        *_modules("lat2patch_pre_decoder", "upsampler.from_latents"),
        *_modules("lat2patch", "consistency.from_latents"),
        *_modules("encoder.linear_output", "encoder.to_bottleneck"),
        *_modules("decoder.norm_output.cond_proj", "consistency.norm_out.gain"),
        *_modules("frontend_encoder_down.conv_inp", "encoder.patchifier.stem"),
        *_modules("frontend_decoder_down.conv_inp", "consistency.patchifier.stem"),
        *_modules("frontend_decoder_up.norm_out.cond_proj", "consistency.depatchifier.norm_out.gain"),
        *_modules("frontend_decoder_up.conv_out", "consistency.depatchifier.head"),
        *_transformer("encoder", "encoder.transformer", config.encoder_layers),
        *_transformer("pre_decoder", "upsampler.transformer", config.upsampler_layers),
        *_transformer("decoder", "consistency.transformer", config.consistency_layers, conditioned=True),
        *_frontend("frontend_encoder_down", "encoder.patchifier", config.level_blocks, "down"),
        *_frontend("frontend_pre_decoder_up", "upsampler.depatchifier", config.level_blocks[::-1], "up"),
        *_frontend("frontend_decoder_down", "consistency.patchifier", config.level_blocks, "down", conditioned=True),
        *_frontend(
            "frontend_decoder_up",
            "consistency.depatchifier",
            config.level_blocks[::-1],
            "up",
            conditioned=True,
        ),
    ]
    for layer in (0, 2, 4):
        pairs += [*_modules(f"emb_proj.{layer}", f"consistency.noise_mlp.{layer}")]
        pairs += [*_modules(f"gain_decoder.{layer}", f"consistency.gain_mlp.{layer}")]
    return dict(pairs)


def _modules(theirs: str, ours: str) -> Pairs:
    yield from ((f"{theirs}.{part}", f"{ours}.{part}") for part in BOTH)


def _norm(theirs: str, ours: str, gain: str, conditioned: bool) -> Pairs:
    """A norm with a learned gain (called `gain` there), or with one given by the noise level."""
    if conditioned:
        yield from _modules(f"{theirs}.cond_proj", f"{ours}.gain")
    else:
        yield f"{theirs}.{gain}", f"{ours}.weight"


def _transformer(theirs: str, ours: str, layers: int, *, conditioned: bool = False) -> Pairs:
    yield f"{theirs}.pe", f"{ours}.positions"
    yield from _norm(f"{theirs}.norm_input", f"{ours}.norm_in", "norm.g", conditioned)
    for layer in range(layers):
        there, here = f"{theirs}.layers.{layer}", f"{ours}.blocks.{layer}"
        yield from _norm(f"{there}.attn.norm", f"{here}.attention_norm", "norm.g", conditioned)
        yield f"{there}.attn.mha.to_qkv.weight", f"{here}.attention.qkv.weight"
        yield f"{there}.attn.mha.to_out.weight", f"{here}.attention.out.weight"
        yield f"{there}.attn.mha.q_norm.g", f"{here}.attention.query_norm"
        yield f"{there}.attn.mha.k_norm.g", f"{here}.attention.key_norm"
        yield from _norm(f"{there}.mlp.norm", f"{here}.mlp_norm", "norm.g", conditioned)
        yield f"{there}.mlp.ff.to_mlp.weight", f"{here}.mlp.up.weight"
        yield f"{there}.mlp.ff.to_out.weight", f"{here}.mlp.down.weight"


def _frontend(theirs: str, ours: str, blocks: tuple[int, ...], way: str, *, conditioned: bool = False) -> Pairs:
    """Blocks and resamplings, numbered in one list there, apart here."""
    position = 0
    for level, count in enumerate(blocks):
        for block in range(count):
            there, here = f"{theirs}.{way}_layers.{position}", f"{ours}.levels.{level}.{block}"
            yield from _norm(f"{there}.norm", f"{here}.norm", "weight", conditioned)
            yield f"{there}.ff.ff1.weight", f"{here}.conv_in.weight"
            yield f"{there}.ff.ff2.weight", f"{here}.conv_out.weight"
            position += 1
        if level + 1 < len(blocks):
            there, here = f"{theirs}.{way}_layers.{position}", f"{ours}.{way}.{level}"
            yield f"{there}.norm.weight", f"{here}.norm.weight"
            yield f"{there}.c.weight", f"{here}.conv.weight"
            position += 1


def _constants(config: ModelConfig) -> dict[str, Tensor]:
    """The resampling filters and quantiser tables that the published state dict carries along."""
    count = config.token_dim
    levels = torch.full((count,), config.fsq_levels)
    constants = {"fsq._levels_tensor": levels, "fsq._basis_tensor": config.fsq_levels ** torch.arange(count)}
    widths, blocks, factors = config.level_channels, config.level_blocks, config.downsample
    for way, frontends in (
        ("down", ("frontend_encoder_down", "frontend_decoder_down")),
        ("up", ("frontend_pre_decoder_up", "frontend_decoder_up")),
    ):
        position = -1
        for level, factor in enumerate(factors if way == "down" else factors[::-1]):
            position += (blocks if way == "down" else blocks[::-1])[level] + 1
            narrow, wide = sorted((widths if way == "down" else widths[::-1])[level : level + 2])
            # Down: the mean of each cell. Up: the mean over the channels that merge, spread evenly.
            value = 1 / (factor[0] * factor[1]) if way == "down" else narrow / wide
            for frontend in frontends:
                constants[f"{frontend}.{way}_layers.{position}.{way}.weight"] = torch.full((wide, 1, *factor), value)
    return constants
