"""Encoder of the `codicodec` preset against the published package's encoder: same weights, same input, fp32, CPU.

Measured: the largest absolute difference of the values in the bottleneck (below 1e-4, or the exit code is 1), and the
time of one pass over batches of 1, 2, 4 and 8 chunks, ours and theirs in turn. Both are related to the fp32
matrix-product rate of the machine in the same run. The weights are random, none of them zero: the arithmetic and its
cost do not depend on training. Goal: at least 1.5 times as fast. Importing the package flips global flags of torch, so
nothing else should run in this process.

The package is a peer, not a dependency:  pip install codicodec==0.1.2 einops

    python benchmarks/encoder_vs_codicodec.py
    python benchmarks/encoder_vs_codicodec.py --quick
"""

from __future__ import annotations

import statistics
import sys
from functools import partial

import torch
from _common import (
    argument_parser,
    count_flop,
    interleaved,
    machine,
    matrix_rates,
    ratios,
    sines_and_noise,
    spread,
    table,
    verdict,
    write_results,
)
from torch import Tensor, nn

from m2l2_mir.model import spectrogram
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.networks import bound
from m2l2_mir.model.official import convert_codicodec

TOLERANCE = 1e-4
GOAL = 1.5


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="timed pairs for each batch size (default: 9)")
    options = parser.parse_args()
    repeats = 1 if options.quick else options.repeats
    facts = machine()

    theirs = published_network()
    ours = Music2Latent2(ModelConfig.preset("codicodec"))
    ours.load_state_dict(convert_codicodec(theirs.state_dict()), strict=True)
    inputs = chunks(ours.config, 8)
    flop = {
        "theirs": count_flop(partial(theirs.encoder_forward, inputs[:1], dont_quantize=True)),
        "ours": count_flop(partial(our_values, ours, inputs[:1])),
    }
    rates = matrix_rates(quick=options.quick)

    batches = []
    with torch.inference_mode():
        for size in (1, 2) if options.quick else (1, 2, 4, 8):
            batch = inputs[:size]
            parts = {
                "theirs": partial(theirs.encoder_forward, batch, dont_quantize=True),
                "ours": partial(our_values, ours, batch),
            }
            expected, found = parts["theirs"](), parts["ours"]()  # the warm-up too
            seconds = interleaved(parts, repeats=repeats, warmup=0)
            batches.append(
                {
                    "chunks": size,
                    "max_abs_difference": float((expected - found).abs().max()),
                    "value_std": float(expected.std()),
                    "value_max_abs": float(expected.abs().max()),
                    "seconds": seconds,
                    "speedup": ratios(seconds["theirs"], seconds["ours"]),
                    "gflops": {name: [size * flop[name] / 1e9 / s for s in times] for name, times in seconds.items()},
                }
            )
    difference = max(batch["max_abs_difference"] for batch in batches)
    results = {"flop_per_chunk": flop, "matrix_gflops": rates, "batches": batches, "max_abs_difference": difference}
    write_results(options, facts, results, summary(flop, rates, batches, difference))
    return 0 if difference < TOLERANCE else 1


def published_network() -> nn.Module:
    """Return the published network with seeded random weights, none of its branches zero."""
    # Importing the package flips global flags (cuDNN benchmark, TF32 on GPUs); none concerns fp32 on the CPU.
    try:
        from codicodec.models import UNet
    except ImportError as error:
        raise SystemExit(f"the published package is needed ({error}):  pip install codicodec==0.1.2 einops") from error
    torch.manual_seed(0)
    network = UNet().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:  # the rest are the constant filters of resampling
                fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
                parameter.add_(torch.randn_like(parameter) * 0.5 * fan_in**-0.5)
    return network


def chunks(config: ModelConfig, count: int) -> Tensor:
    """Return spectrograms of `count` chunks of a test signal."""
    samples = sines_and_noise(count * config.chunk_seconds, config.sample_rate, config.channels)
    return spectrogram.analyze(spectrogram.blocks(samples, config)[:count], config)


def our_values(model: Music2Latent2, spectrograms: Tensor) -> Tensor:
    """Spectrograms -> bounded, not rounded values of the bottleneck, as `encoder_forward(dont_quantize=True)`."""
    return bound(model.encoder(model.encoder_inputs(spectrograms)), model.config)


def summary(flop: dict[str, int], rates: dict[str, float], batches: list[dict], difference: float) -> str:
    """What NAME.md says."""
    rows = []
    for batch in batches:
        ours, theirs = (batch["gflops"][name] for name in ("ours", "theirs"))
        rows.append(
            [
                batch["chunks"],
                spread([1000 * s for s in batch["seconds"]["theirs"]], 0),
                spread([1000 * s for s in batch["seconds"]["ours"]], 0),
                spread(batch["speedup"]),
                f"{statistics.median(theirs):.0f}",
                f"{statistics.median(ours):.0f}",
                f"{statistics.median(ours) / rates['mm']:.0%} / {statistics.median(ours) / rates['conv']:.0%}",
                f"{batch['max_abs_difference']:.1e}",
            ]
        )
    slowest = min(statistics.median(batch["speedup"]) for batch in batches)
    return (
        "One pass of the encoder (spectrogram to bottleneck, fp32) with equal random weights, ours and the published "
        f"package's in turn, median (range). Goal: at least {GOAL} times as fast at every batch size: "
        f"{verdict(slowest >= GOAL)} ({slowest:.2f}). Values within {TOLERANCE:g}: {verdict(difference < TOLERANCE)} "
        f"({difference:.1e}).\n\n"
        + table(
            [
                "chunks",
                "package, ms",
                "m2l2_mir, ms",
                "speed-up",
                "package, GFLOP/s",
                "m2l2_mir, GFLOP/s",
                "of the mm / 1x1 convolution rate",
                "max difference",
            ],
            rows,
        )
        + f"\n\nOperations of one chunk, attention included: {flop['theirs'] / 1e9:.1f} GFLOP in the package, "
        f"{flop['ours'] / 1e9:.1f} GFLOP in m2l2_mir. The machine's best fp32 product in this run: "
        f"{rates['mm']:.0f} GFLOP/s as torch.mm, {rates['conv']:.0f} GFLOP/s as 1x1 convolution."
    )


if __name__ == "__main__":
    sys.exit(main())
