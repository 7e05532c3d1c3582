"""Why `m2l2_mir.model.layers.Linear` exists: matrix products by MKL and by oneDNN, on the CPU.

PyTorch sends `linear` to MKL and convolutions to oneDNN. MKL picks its kernels by the maker of the processor and leaves
the widest vectors of some unused; oneDNN asks what the processor can do, so that a 1x1 convolution can be the faster
product. But where one thread is set, PyTorch sends a plain 1x1 convolution over fewer than 16 images to MKL after all;
dilation, which changes nothing at this size, keeps it on oneDNN.

Measured in turn, for the products in the transformer blocks of the models, forward and forward + backward, with one
thread and with all: `linear`, the plain 1x1 convolution, and `layers.Linear`, which is the dilated one. A ratio above 1
says that this way is faster than `linear`. Goal: `layers.Linear` above 1 at most shapes of `m2l2-small`.

    python benchmarks/linear.py
    python benchmarks/linear.py --quick
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from _common import (
    argument_parser,
    interleaved,
    kernel_threads,
    machine,
    ratios,
    spread,
    table,
    verdict,
    write_results,
)
from torch.nn import functional as F

from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.layers import Linear

BATCHES = {"m2l2-small": 8, "codicodec": 2}  # chunks in one pass, of each preset whose shapes are measured
PASSES = ("forward", "forward + backward")
REPEAT_SECONDS = 0.1  # calls are repeated until one measurement lasts about as long


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=11, help="timed pairs of each product (default: 11)")
    options = parser.parse_args()
    repeats = 1 if options.quick else options.repeats
    facts = machine()
    rows = [
        measure(preset, shape, which, threads, repeats, 0 if options.quick else REPEAT_SECONDS)
        for preset, batch in BATCHES.items()
        for shape in shapes(ModelConfig.preset(preset), batch)
        for which in PASSES
        for threads in sorted({1, torch.get_num_threads()})
    ]
    write_results(options, facts, {"products": rows}, summary(rows))


def shapes(config: ModelConfig, batch: int) -> list[tuple[int, int, int]]:
    """Return (rows, in, out) of the four products of a transformer block: qkv, attention's output, MLP up, MLP down."""
    rows = batch * (config.audio_tokens + config.latent_tokens + config.registers)
    hidden = round(config.dim * config.mlp_ratio)
    pairs = [(config.dim, 3 * config.dim), (config.dim, config.dim), (config.dim, 2 * hidden), (hidden, config.dim)]
    return [(rows, *pair) for pair in pairs]


def measure(
    preset: str, shape: tuple[int, int, int], which: str, threads: int, repeats: int, repeat_seconds: float
) -> dict[str, Any]:
    """Time one product both ways."""
    generator = torch.Generator().manual_seed(0)
    rows, inputs, outputs = shape
    backward = which != "forward"
    x = torch.randn(rows, inputs, generator=generator, requires_grad=backward)
    gradient = torch.randn(rows, outputs, generator=generator)
    layer = Linear(inputs, outputs, bias=False)
    layer.weight.requires_grad_(backward)

    def run(product: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        def once() -> torch.Tensor:
            out = product()
            if backward:
                torch.autograd.grad(out, [x, layer.weight], gradient)
            return out

        return once

    parts = {
        "linear": run(lambda: F.linear(x, layer.weight)),
        "plain 1x1 convolution": run(lambda: convolution(x, layer.weight)),
        "layers.Linear": run(lambda: layer(x)),
    }
    with kernel_threads(threads):
        results = [part().detach() for part in parts.values()]
        difference = max(float((other - results[0]).abs().max()) for other in results[1:])
        begun = perf_counter()
        parts["linear"]()
        inner = 1 + int(repeat_seconds / (perf_counter() - begun))
        seconds = interleaved(parts, repeats=repeats, inner=inner, warmup=2)
    return {
        "preset": preset,
        "shape": shape,
        "pass": which,
        "threads": threads,
        "calls_in_a_repeat": inner,
        "max_abs_difference": difference,
        "seconds": seconds,
        "speedup": {name: ratios(seconds["linear"], times) for name, times in seconds.items() if name != "linear"},
        "gflops": {
            name: (6 if backward else 2) * rows * inputs * outputs / 1e9 / statistics.median(times)
            for name, times in seconds.items()
        },
    }


def convolution(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return `x` [rows, in] times `weight` [out, in], as a 1x1 convolution of an image of height 1."""
    image = x[None].transpose(1, 2).unsqueeze(2)  # (1, in, 1, rows), channels last without a copy
    return F.conv2d(image, weight[:, :, None, None])[0, :, 0].T


def summary(rows: list[dict[str, Any]]) -> str:
    """What NAME.md says."""
    small = [statistics.median(row["speedup"]["layers.Linear"]) for row in rows if row["preset"] == "m2l2-small"]
    faster = sum(ratio > 1 for ratio in small)
    ways = list(rows[0]["speedup"])
    cells = [
        [
            row["preset"],
            "{} x {} -> {}".format(*row["shape"]),
            row["pass"],
            row["threads"],
            f"{row['gflops']['linear']:.0f}",
            *(spread(row["speedup"][way]) for way in ways),
        ]
        for row in rows
    ]
    return (
        "The products of the transformer blocks as `torch.nn.functional.linear` and as 1x1 convolutions, in turn; a "
        "ratio is how many times as fast as `linear`, median (range). Goal: `m2l2_mir.model.layers.Linear` above 1 at "
        f"most shapes of `m2l2-small`: {verdict(faster > len(small) / 2)} ({faster} of {len(small)}).\n\n"
        + table(["preset", "rows x in -> out", "pass", "threads", "linear, GFLOP/s", *ways], cells)
    )


if __name__ == "__main__":
    main()
