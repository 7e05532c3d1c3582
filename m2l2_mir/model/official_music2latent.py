"""Official weights of Music2Latent (arXiv 2408.06500): which of their tensors is which of ours.

Every tensor of the published network is accounted for. The package that publishes them passes over whatever else a file
holds; so does this one, but within the network's own modules a tensor without a place means that it is another
network. Code and weights of Music2Latent are CC BY-NC 4.0; none of either is included here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from m2l2_mir.errors import CheckpointError
from m2l2_mir.model.music2latent_config import Music2LatentConfig

__all__ = ["convert_music2latent", "music2latent_names"]

Pairs = Iterator[tuple[str, str]]
BOTH = ("weight", "bias")


def convert_music2latent(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of the ``music2latent`` preset for the published ``gen_state_dict``.

    Raises
    ------
    CheckpointError
        A tensor is missing, or one of the network's modules has an unknown one.
    """
    config = Music2LatentConfig.official()
    names, unused = music2latent_names(config), unused_names(config)
    expected = names.keys() | unused
    if missing := sorted(expected - published.keys()):
        raise CheckpointError(f"not the whole Music2Latent network: no tensors {', '.join(missing[:3])} ...")
    modules = {name.split(".")[0] for name in expected}
    if unknown := sorted(name for name in published.keys() - expected if name.split(".")[0] in modules):
        raise CheckpointError(f"not the published Music2Latent network: unknown tensors {', '.join(unknown[:3])} ...")
    return {ours: _shaped(theirs, published[theirs], config) for theirs, ours in names.items()}


def music2latent_names(config: Music2LatentConfig) -> dict[str, str]:
    """Return published tensor name -> name in :class:`Music2Latent`, for every tensor carried over."""
    bottleneck, levels = range(config.bottleneck_blocks), len(config.level_channels)
    pairs = [
        ("encoder.gain.scale", "encoder.gain"),
        *_both("encoder.conv_inp", "encoder.stem"),
        *_both("encoder.prenorm_1d_to_2d", "encoder.norm_features"),
        *_both("encoder.bottleneck_layers.0", "encoder.gather"),
        *_both("encoder.norm_out", "encoder.norm_out"),
        *_both("encoder.conv_out", "encoder.to_latents"),
        *_both("decoder.conv_inp", "upsampler.from_latents"),
        *_both("decoder.conv_out_bottleneck", "upsampler.spread"),
        *_both("conv_inp", "consistency.stem"),
        *_both("conv_decoded", "consistency.join_out"),
        *_both("norm_out", "consistency.norm_out"),
        *_both("conv_out", "consistency.head"),
    ]
    for block in bottleneck:
        pairs += _block(f"encoder.bottleneck_layers.{block + 1}", f"encoder.bottleneck.{block}")
        pairs += _block(f"decoder.bottleneck_layers.{block}", f"upsampler.bottleneck.{block}")
    for layer in (0, 2):
        pairs += _both(f"emb_proj.{layer}", f"consistency.noise_mlp.{layer}")
    for layer in (0, 2, 4):
        pairs += _both(f"scale_inp.{layer}", f"consistency.gain_in.{layer}")
        pairs += _both(f"scale_out.{layer}", f"consistency.gain_out.{layer}")

    attention = config.level_attention
    changing = [False, *(a != b for a, b in zip(config.level_channels, config.level_channels[1:], strict=False))]
    walks: tuple[tuple[str, str, str, str, Sequence[int], Sequence[bool]], ...] = (
        ("encoder.down_layers", "encoder.levels", "", "encoder.down", config.encoder_levels, attention),
        ("decoder.up_layers", "upsampler.levels", "", "upsampler.up", config.encoder_levels[::-1], attention[::-1]),
        (
            "down_layers",
            "consistency.levels_down",
            "consistency.join_down",
            "consistency.down",
            config.level_blocks,
            attention,
        ),
        (
            "up_layers",
            "consistency.levels_up",
            "consistency.join_up",
            "consistency.up",
            config.level_blocks[::-1],
            attention[::-1],
        ),
    )
    for theirs, blocks, joins, resample, counts, attends in walks:
        place = 0  # blocks, joins and resamplings are numbered in one list there
        for level, count in enumerate(counts):
            for block in range(count):
                if joins:
                    pairs += _both(f"{theirs}.{place}", f"{joins}.{level}.{block}")
                    place += 1
                changes = blocks == "encoder.levels" and changing[level] and block == 0
                pairs += _block(
                    f"{theirs}.{place}",
                    f"{blocks}.{level}.{block}",
                    attends=attends[level],
                    changes=changes,
                    conditioned=bool(joins),
                )
                place += 1
            if level + 1 < levels:
                pairs += _both(f"{theirs}.{place}.c", f"{resample}.{level}.conv")
                if blocks == "encoder.levels":
                    pairs += _both(f"{theirs}.{place}.norm", f"{resample}.{level}.norm")
                place += 1
    return dict(pairs)


def unused_names(config: Music2LatentConfig) -> frozenset[str]:
    """Present in the published state dict, never read: the decoder has layers for a noise level that it is not told."""
    layers = range(config.bottleneck_blocks)
    return frozenset(f"decoder.bottleneck_layers.{layer}.proj_emb.{part}" for layer in layers for part in BOTH)


def _both(theirs: str, ours: str) -> Pairs:
    yield from ((f"{theirs}.{part}", f"{ours}.{part}") for part in BOTH)


def _block(theirs: str, ours: str, *, attends: bool = False, changes: bool = False, conditioned: bool = False) -> Pairs:
    yield from _both(f"{theirs}.norm1", f"{ours}.norm_in")
    yield from _both(f"{theirs}.conv1", f"{ours}.conv_in")
    yield from _both(f"{theirs}.norm2", f"{ours}.norm_out")
    yield from _both(f"{theirs}.conv2", f"{ours}.conv_out")
    if changes:
        yield from _both(f"{theirs}.res_conv", f"{ours}.shortcut")
    if conditioned:
        yield from _both(f"{theirs}.proj_emb", f"{ours}.noise")
    if attends:
        yield from _both(f"{theirs}.att.norm", f"{ours}.attention.norm")
        yield from ((f"{theirs}.att.mha.in_proj_{part}", f"{ours}.attention.qkv.{part}") for part in BOTH)
        yield from _both(f"{theirs}.att.mha.out_proj", f"{ours}.attention.out")


def _shaped(name: str, tensor: Tensor, config: Music2LatentConfig) -> Tensor:
    """With the axes that ours has: one of bins where theirs have none, none where theirs have size one."""
    if name == "encoder.gain.scale":
        return tensor.reshape(-1, 1)
    if name == "encoder.bottleneck_layers.0.weight" and tensor.ndim == 3:  # sums over channels and bins
        bins = config.token_grid[0]
        return tensor.unflatten(1, (-1, bins)) if tensor.shape[1] % bins == 0 else tensor
    return tensor.unsqueeze(2) if tensor.ndim == 3 else tensor
