"""How fast `m2l2-small` encodes and decodes, in times real time.

Measured on a seeded test signal with random weights (the time does not depend on either): `model.encode` in one call
with all threads; the same chunks spread over single-threaded workers, one a core, as the extraction pipeline does it;
`model.decode` with each method, single-threaded and with all threads. Operations are counted and related to the fp32
matrix-product rate of the machine in the same run. Goal: encoding at 50 times real time or more, on the CPU. On a GPU,
`model.encode` and `model.decode` in one call; results go to a folder of their own, results/cuda/.

    python benchmarks/encode_speed.py
    python benchmarks/encode_speed.py --quick
    python benchmarks/encode_speed.py --device cuda
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, get_args

import torch
from _common import (
    argument_parser,
    cores,
    count_flop,
    interleaved,
    kernel_threads,
    machine,
    matrix_rates,
    sines_and_noise,
    spread,
    table,
    verdict,
    write_results,
)
from torch import Tensor

from m2l2_mir.embedding.extract import BATCH_SIZE
from m2l2_mir.model import spectrogram
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.model.decoding import Method

GOAL = 50
ALL, WORKERS = "one call, all threads", "single-threaded workers"


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="audio to encode (default: 120)")
    parser.add_argument("--decode-seconds", type=float, default=15, help="audio to decode (default: 15)")
    parser.add_argument("--repeats", type=int, default=7, help="timed repeats (default: 7)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.decode_seconds, options.repeats = 3, 1.5, 1
    if options.device != "cpu":
        options.out = options.out / options.device
    facts = machine()

    model = load_model("random:m2l2-small", device=options.device)
    waveform = sines_and_noise(options.seconds, model.config.sample_rate)
    silence = torch.zeros(1, *model.config.spectrogram_shape, device=model.device)
    flop = count_flop(lambda: model.encode_spectrograms(silence))
    on_cpu = model.device.type == "cpu"
    rates = matrix_rates(quick=options.quick) if on_cpu else None
    encode = encode_times(model, waveform, options.repeats)
    decode = decode_times(model, options.decode_seconds, options.repeats)

    total = flop * spectrogram.num_chunks(waveform.shape[-1], model.config)
    results: dict[str, Any] = {
        "flop_per_chunk": flop,
        "device": "CPU" if on_cpu else torch.cuda.get_device_name(model.device),
        "matrix_gflops": rates,
        "encode": {
            name: {
                "seconds": times,
                "x_real_time": [options.seconds / s for s in times],
                "gflops": [total / 1e9 / s for s in times],
            }
            for name, times in encode.items()
        },
        "decode": {
            name: {"seconds": times, "x_real_time": [options.decode_seconds / s for s in times]}
            for name, times in decode.items()
        },
    }
    write_results(options, facts, results, summary(results, options.seconds))


def encode_times(model: Music2Latent2, waveform: Tensor, repeats: int) -> dict[str, list[float]]:
    """Encode in one call with all threads and, on the CPU, with single-threaded workers, in turn."""
    threads = torch.get_num_threads()

    def in_one_call() -> None:
        with kernel_threads(threads):
            model.encode(waveform, model.config.sample_rate)

    if model.device.type != "cpu":
        return interleaved({ALL: in_one_call}, repeats=repeats)
    # OpenMP keeps the number of threads for each thread that calls it.
    with ThreadPoolExecutor(cores(), initializer=partial(torch.set_num_threads, 1)) as pool:

        def by_workers() -> None:
            with kernel_threads(1):
                blocks = spectrogram.blocks(waveform, model.config)
                list(pool.map(model.encode_blocks, blocks.split(BATCH_SIZE["cpu"])))

        return interleaved({ALL: in_one_call, WORKERS: by_workers}, repeats=repeats)


def decode_times(model: Music2Latent2, seconds: float, repeats: int) -> dict[str, list[float]]:
    """Decode with each method, with all threads and, on the CPU, with one, in turn."""
    embeddings = model.encode(sines_and_noise(seconds, model.config.sample_rate), model.config.sample_rate)
    samples = round(seconds * model.config.sample_rate)

    def decoding(method: Method, threads: int) -> Callable[[], None]:
        def decode() -> None:
            with kernel_threads(threads):
                model.decode(embeddings, num_samples=samples, method=method)

        return decode

    parts = {
        f"{method}, {threads} thread{'s'[: threads > 1]}": decoding(method, threads)
        for method in get_args(Method)
        for threads in sorted({1, torch.get_num_threads()} if model.device.type == "cpu" else {torch.get_num_threads()})
    }
    return interleaved(parts, repeats=max(repeats // 2, 1))


def summary(results: dict[str, Any], seconds: float) -> str:
    """What NAME.md says."""
    rates, encode, decode = results["matrix_gflops"], results["encode"], results["decode"]
    best = max(statistics.median(found["x_real_time"]) for found in encode.values())
    rows = []
    for name, found in encode.items():
        rate = statistics.median(found["gflops"])
        share = f"{rate / rates['mm']:.0%} / {rate / rates['conv']:.0%}" if rates else ""
        rows.append([f"encode, {name}", spread(found["x_real_time"], 1), f"{rate:.0f}", share])
    rows += [[f"decode, {name}", spread(found["x_real_time"], 1), "", ""] for name, found in decode.items()]
    goal = f" Goal: encoding at {GOAL} times real time or more: {verdict(best >= GOAL)} ({best:.1f})." if rates else ""
    machine_rates = (
        f" The machine's best fp32 product in this run, all threads: {rates['mm']:.0f} GFLOP/s as torch.mm, "
        f"{rates['conv']:.0f} GFLOP/s as 1x1 convolution."
        if rates
        else ""
    )
    return (
        f"`m2l2-small` on {seconds:g} s of audio, {results['device']}, spectrogram included, times real time as median "
        f"(range).{goal}\n\n"
        + table(["what", "x real time", "GFLOP/s", "of the mm / 1x1 convolution rate"], rows)
        + f"\n\nThe encoder takes {results['flop_per_chunk'] / 1e9:.2f} GFLOP a chunk, attention included."
        + machine_rates
    )


if __name__ == "__main__":
    main()
