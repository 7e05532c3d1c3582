"""Official models here and in the packages that publish them: speed and memory from file to latents to audio.

For CoDiCodec and Music2Latent, with equal random weights read from one file in the published format, fp32, on the CPU:

* encoding and decoding one waveform, the package and this one in turn, each with its own framing (goals: 1.5 and 1.3
  times as fast), and the largest difference of the bounded latents with the package's framing (below 1e-4, or the exit
  code is 1);
* encoding many files: `m2l2_mir.extract` against a loop over the package (goal: 2 times as fast);
* peak memory of a process that decodes a long file, here of 180 s. The packages are given a shorter one: one of them
  needed more than 22 GB for 180 s. Random latents, one step.

The packages are peers, not dependencies:  pip install codicodec==0.1.2 einops music2latent==0.1.8

    python benchmarks/official_speed.py
    python benchmarks/official_speed.py --model music2latent --quick

At full length this takes some hours on two cores; --model takes one of the two at a time, into its own results file.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _common import (
    argument_parser,
    interleaved,
    machine,
    ratios,
    sines_and_noise,
    spread,
    table,
    verdict,
    write_results,
)
from embed_throughput import fresh, peak_rss

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# The package and torch are imported where they are used: each measurement has a process of its own.

TOLERANCE = 1e-4
ENCODE_GOAL, DECODE_GOAL, BULK_GOAL = 1.5, 1.3, 2.0


@dataclass(frozen=True)
class Peer:
    """A published package, and what it and this one are asked for."""

    name: str  # of the package and of the preset
    channels: int
    steps: int  # of decoding, as the package does by default
    install: str

    def decoder(self, codec: Any, latents: Tensor, steps: int) -> Tensor:
        """The package's decoding of latents [chunks, K, d]."""
        if self.name == "codicodec":
            return codec.decode(latents, mode="parallel", denoising_steps=steps)
        return codec.decode(latents.flatten(0, 1).T, denoising_steps=steps)


PEERS = {
    "codicodec": Peer("codicodec", 2, 5, "pip install codicodec==0.1.2 einops"),
    "music2latent": Peer("music2latent", 1, 1, "pip install music2latent==0.1.8"),
}


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", choices=sorted(PEERS), action="append", help="only this one; repeatable")
    parser.add_argument("--seconds", type=float, default=20, help="length of the one waveform (default: 20)")
    parser.add_argument("--repeats", type=int, default=5, help="timed pairs (default: 5)")
    parser.add_argument("--files", type=int, default=200, help="files of the bulk encoding (default: 200)")
    parser.add_argument("--file-seconds", type=float, default=4, help="length of each (default: 4)")
    parser.add_argument("--long-seconds", type=float, default=180, help="length of the long file (default: 180)")
    parser.add_argument(
        "--package-seconds", type=float, default=20, help="length of the long file for the packages (default: 20)"
    )
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.repeats, options.files, options.file_seconds = 1.5, 1, 3, 1.5
        options.long_seconds, options.package_seconds = 3, 1.5

    facts = fresh(machine)
    results = {}
    with tempfile.TemporaryDirectory(prefix="m2l2-benchmark-") as temporary:
        for name in options.model or PEERS:
            folder = Path(temporary) / name
            folder.mkdir()
            results[name] = measure(name, folder, options)
    write_results(
        options, facts, results, "\n\n".join(summary(name, found, options) for name, found in results.items())
    )
    return 0 if all(found["speed"]["max_abs_difference"] < TOLERANCE for found in results.values()) else 1


def measure(name: str, folder: Path, options: Any) -> dict[str, Any]:
    """All measurements of one model."""
    weights = folder / f"{name}.pt"
    fresh(write_weights, name, weights)
    music = folder / "music"
    fresh(write_files, name, music, options.files, options.file_seconds)
    print(f"{name}: one waveform", file=sys.stderr)
    speed = fresh(speeds, name, weights, options.seconds, options.repeats)
    print(f"{name}: {options.files} files", file=sys.stderr)
    bulk = {
        "theirs": fresh(bulk_theirs, name, weights, music),
        "ours": fresh(bulk_ours, weights, music, folder / "store"),
    }
    print(f"{name}: a long file", file=sys.stderr)
    memory = {
        "theirs": fresh(long_theirs, name, weights, options.package_seconds),
        "ours, as long": fresh(long_ours, weights, options.package_seconds),
        "ours": fresh(long_ours, weights, options.long_seconds),
    }
    return {"speed": speed, "bulk": bulk, "memory": memory}


def package(name: str) -> Any:
    """Return the module of a published package that encodes and decodes, in fp32."""
    try:
        inference = importlib.import_module(f"{name}.inference")
    except ImportError as error:
        raise SystemExit(f"the published package is needed ({error}):  {PEERS[name].install}") from error
    for module in [module for key, module in sys.modules.items() if key.startswith(f"{name}.")]:
        if hasattr(module, "mixed_precision"):
            module.mixed_precision = False
        if hasattr(module, "download_model"):
            module.download_model = lambda: None
    return inference


def codec(name: str, weights: Path) -> Any:
    """Return the published package's model with the weights of a file."""
    import torch

    return package(name).EncoderDecoder(str(weights), device=torch.device("cpu"))


def write_weights(name: str, path: Path) -> None:
    """Write seeded random weights, none of the network's branches zero, as they are published."""
    import torch

    package(name)
    torch.manual_seed(0)
    network = importlib.import_module(f"{name}.models").UNet()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:  # the rest are the constant filters of resampling
                fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
                parameter.add_(torch.randn_like(parameter) * 0.5 * fan_in**-0.5)
    torch.save({"gen_state_dict": network.state_dict()}, path)


def write_files(name: str, folder: Path, count: int, seconds: float) -> None:
    """Write `count` files at the model's rate, so that the package, which does not resample, does the same work."""
    from m2l2_mir import audio
    from m2l2_mir.model.architectures import config_named

    config = config_named(name)
    folder.mkdir()
    waveform = sines_and_noise(seconds, config.sample_rate, config.channels).numpy()
    for number in range(count):
        # Not equal: files of the same content would be embedded once
        audio.save(folder / f"{number:04}.wav", waveform * (1 - number / (2 * count)), config.sample_rate)


def speeds(name: str, weights: Path, seconds: float, repeats: int) -> dict[str, Any]:
    """Encode and decode one waveform, the package and this one in turn."""
    import torch

    from m2l2_mir.model.checkpoint import load_model

    peer, theirs, ours = PEERS[name], codec(name, weights), load_model(weights, device="cpu")
    rate = ours.config.sample_rate
    waveform = sines_and_noise(seconds, rate, ours.config.channels)
    given = waveform if peer.channels == 2 else waveform[0]
    expected = published_order(theirs.encode(given))
    found = ours.encode(waveform, rate, framing="official")
    values, own = (ours.values_from_embeddings(latents) for latents in (expected, found[: len(expected)]))
    latents = ours.encode(waveform, rate)
    whole = len(expected) * ours.config.chunk_samples
    timed = {
        "encode": {"theirs": lambda: theirs.encode(given), "ours": lambda: ours.encode(waveform, rate)},
        "decode": {
            "theirs": lambda: peer.decoder(theirs, expected, peer.steps),
            "ours": lambda: ours.decode(
                expected, method="parallel", steps=peer.steps, num_samples=whole - ours.config.overlap
            ),
        },
    }
    taken: dict[str, Any] = {}
    for what, parts in timed.items():
        taken[what] = interleaved(parts, repeats=repeats, warmup=0 if repeats == 1 else 1)
    return {
        "max_abs_difference": float((values - own).abs().max()),
        "value_std": float(values.std()),
        "chunks": {"theirs": len(expected), "ours": len(latents)},
        "audio_seconds": seconds,
        "threads": torch.get_num_threads(),
        **{
            what: {"seconds": times, "speedup": ratios(times["theirs"], times["ours"])} for what, times in taken.items()
        },
    }


def published_order(latents: Tensor) -> Tensor:
    """A package's latents as [chunks, K, d]: [chunks, K, d] already, or [1, d, time steps] cut to whole chunks."""
    if latents.shape[-1] == 64 and latents.ndim == 3 and latents.shape[1] == 8:
        return latents
    steps = latents[0].T
    return steps[: len(steps) // 8 * 8].unflatten(0, (-1, 8))


def bulk_theirs(name: str, weights: Path, music: Path) -> dict[str, float]:
    """Encode files one after the other with the package, which reads them itself."""
    theirs = codec(name, weights)
    paths = sorted(music.iterdir())
    begun = time.perf_counter()
    for path in paths:
        theirs.encode(str(path))
    return {"seconds": time.perf_counter() - begun, "peak_rss_bytes": peak_rss()}


def bulk_ours(weights: Path, music: Path, store: Path) -> dict[str, float]:
    """Extract the files into a store."""
    from m2l2_mir.embedding.extract import extract
    from m2l2_mir.embedding.pipeline import keep_freed_memory
    from m2l2_mir.model.checkpoint import load_model

    model = load_model(weights, device="cpu")
    keep_freed_memory()  # as the command line does
    begun = time.perf_counter()
    tracks = extract(music, out=store, model=model, keep="chunks").tracks
    seconds = time.perf_counter() - begun
    if (tracks["status"] != "ok").any():
        raise RuntimeError(f"not all files were embedded: {tracks.loc[tracks['status'] != 'ok', 'reason'].tolist()}")
    return {"seconds": seconds, "peak_rss_bytes": peak_rss()}


def long_theirs(name: str, weights: Path, seconds: float) -> dict[str, float]:
    """Decode random latents with the package."""
    import torch

    from m2l2_mir.model.architectures import config_named

    theirs, latents = codec(name, weights), random_latents(config_named(name), seconds)
    begun = time.perf_counter()
    with torch.no_grad():
        PEERS[name].decoder(theirs, latents, 1)
    return {"audio_seconds": seconds, "seconds": time.perf_counter() - begun, "peak_rss_bytes": peak_rss()}


def long_ours(weights: Path, seconds: float) -> dict[str, float]:
    """Decode random latents with this package."""
    from m2l2_mir.model.checkpoint import load_model

    model = load_model(weights, device="cpu")
    latents = random_latents(model.config, seconds)
    begun = time.perf_counter()
    model.decode(latents, method="parallel", steps=1)
    return {"audio_seconds": seconds, "seconds": time.perf_counter() - begun, "peak_rss_bytes": peak_rss()}


def random_latents(config: Any, seconds: float) -> torch.Tensor:
    """Latents of about the spread that trained ones have."""
    import torch

    chunks = max(2, round(seconds / config.chunk_seconds))
    generator = torch.Generator().manual_seed(0)
    return torch.randn(chunks, config.num_embeddings, config.latent_dim, generator=generator)


def summary(name: str, found: dict[str, Any], options: Any) -> str:
    """What NAME.md says of one model."""
    speed, bulk, memory = found["speed"], found["bulk"], found["memory"]
    encode, decode = (statistics.median(speed[what]["speedup"]) for what in ("encode", "decode"))
    times = bulk["theirs"]["seconds"] / bulk["ours"]["seconds"]
    rows = [
        [
            f"{what}, {options.seconds:g} s",
            *(spread([1000 * s for s in speed[what]["seconds"][whose]], 0) for whose in ("theirs", "ours")),
            spread(speed[what]["speedup"]),
        ]
        for what in ("encode", "decode")
    ]
    rows.append(
        [
            f"encode {options.files} files of {options.file_seconds:g} s",
            *(f"{1000 * bulk[whose]['seconds']:.0f}" for whose in ("theirs", "ours")),
            f"{times:.2f}",
        ]
    )
    peaks = [
        [f"{whose.replace('theirs', 'package')}, {one['audio_seconds']:g} s", f"{one['peak_rss_bytes'] / 1e9:.2f}"]
        for whose, one in memory.items()
    ]
    return (
        f"## {name}\n\nTime in ms, median (range); decoding in {PEERS[name].steps} step(s). Goals: encoding "
        f"{ENCODE_GOAL} times as fast as the package: {verdict(encode >= ENCODE_GOAL)} ({encode:.2f}); decoding "
        f"{DECODE_GOAL}: {verdict(decode >= DECODE_GOAL)} ({decode:.2f}); many files {BULK_GOAL:g}: "
        f"{verdict(times >= BULK_GOAL)} ({times:.2f}). Bounded latents within {TOLERANCE:g}: "
        f"{verdict(speed['max_abs_difference'] < TOLERANCE)} ({speed['max_abs_difference']:.1e}).\n\n"
        + table(["what", "package", "m2l2_mir", "speed-up"], rows)
        + "\n\n"
        + table(["peak memory of a process that decodes", "GB"], peaks)
    )


if __name__ == "__main__":
    sys.exit(main())
