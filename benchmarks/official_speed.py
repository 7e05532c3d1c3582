"""Official models here and in the packages that publish them: speed and memory from file to latents to audio.

For CoDiCodec and Music2Latent, with equal random weights read from one file in the published format, full size, fp32:

* encoding and decoding one waveform, the package and this one in turn, each with its own framing (goals: 1.5 and 1.3
  times as fast);
* with the package's framing and noise, the largest difference of the bounded latents, and of the audio of two chunks
  as a share of its peak (goal of both: below 1e-4, or the exit code is 1);
* encoding many files: `m2l2_mir.extract` and a loop over the package, in turn (goal: 2 times as fast). The package of
  Music2Latent drops some of a file's end, this one pads it to a chunk, so that it encodes more of short files;
* peak memory of a process that decodes random latents: the package at two lengths, this one at the longer of them and
  at one longer still.

The packages are peers, not dependencies:  pip install codicodec==0.1.2 einops music2latent==0.1.8

    python benchmarks/official_speed.py
    python benchmarks/official_speed.py --model music2latent --quick
    python benchmarks/official_speed.py --device cuda --seconds 60 --decode-seconds 60 --files 200 --long-seconds 180

These are large networks: lengths and repeats are chosen for less than 20 minutes on two cores. On a GPU, TF32 is off
for both, and results go to a folder of their own, results/cuda/.
"""

from __future__ import annotations

import importlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
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
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    parser.add_argument("--seconds", type=float, default=10, help="length of the waveform to encode (default: 10)")
    parser.add_argument("--decode-seconds", type=float, default=2.8, help="length to decode (default: 2.8)")
    parser.add_argument("--repeats", type=int, default=3, help="timed pairs (default: 3)")
    parser.add_argument("--files", type=int, default=12, help="files of the bulk encoding (default: 12)")
    parser.add_argument("--file-seconds", type=float, default=3, help="length of each (default: 3)")
    parser.add_argument("--rounds", type=int, default=2, help="timed pairs of the bulk encoding (default: 2)")
    parser.add_argument(
        "--package-seconds",
        type=float,
        default=4,
        help="length for memory, the package also at half of it (default: 4)",
    )
    parser.add_argument("--long-seconds", type=float, default=12, help="the longer length, of this one (default: 12)")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.decode_seconds, options.repeats = 1.5, 1.4, 1
        options.files, options.file_seconds, options.rounds = 2, 1.5, 1
        options.package_seconds, options.long_seconds = 1.4, 1.4
    if options.device != "cpu":
        options.out = options.out / options.device

    facts = fresh(machine)
    results = {}
    with tempfile.TemporaryDirectory(prefix="m2l2-benchmark-") as temporary:
        os.environ["M2L2_CACHE"] = str(Path(temporary) / "cache")  # these weights are no file to remember
        for name in options.model or PEERS:
            folder = Path(temporary) / name
            folder.mkdir()
            results[name] = measure(name, folder, options)
    write_results(
        options, facts, results, "\n\n".join(summary(name, found, options) for name, found in results.items())
    )
    return 0 if all(max(found["differences"].values()) < TOLERANCE for found in results.values()) else 1


def measure(name: str, folder: Path, options: Any) -> dict[str, Any]:
    """All measurements of one model."""
    weights, device = folder / f"{name}.pt", options.device
    fresh(write_weights, name, weights)
    music = folder / "music"
    fresh(write_files, name, music, options.files, options.file_seconds)
    print(f"{name}: differences", file=sys.stderr)
    differences = fresh(compare, name, weights, device)
    print(f"{name}: one waveform", file=sys.stderr)
    speed = fresh(speeds, name, weights, device, options.seconds, options.decode_seconds, options.repeats)
    bulk: dict[str, list[dict[str, float]]] = {"theirs": [], "ours": []}
    for number in range(options.rounds):
        print(f"{name}: {options.files} files, round {number + 1}", file=sys.stderr)
        bulk["theirs"].append(fresh(bulk_theirs, name, weights, device, music))
        bulk["ours"].append(fresh(bulk_ours, weights, device, music, folder / f"store-{number}"))
    print(f"{name}: memory", file=sys.stderr)
    short, long = options.package_seconds, options.long_seconds
    memory = {
        "theirs": [fresh(long_theirs, name, weights, device, seconds) for seconds in (short / 2, short)],
        "ours": [fresh(long_ours, name, weights, device, seconds) for seconds in (short, long)],
    }
    return {**differences, "speed": speed, "bulk": bulk, "memory": memory}


def package(name: str) -> Any:
    """Return the module of a published package that encodes and decodes, in fp32."""
    try:
        inference = importlib.import_module(f"{name}.inference")
    except ImportError as error:
        raise SystemExit(f"the published package is needed ({error}):  {PEERS[name].install}") from error
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = False
    for module in [module for key, module in sys.modules.items() if key.startswith(f"{name}.")]:
        if hasattr(module, "mixed_precision"):
            module.mixed_precision = False
        if hasattr(module, "download_model"):
            module.download_model = lambda: None
    return inference


def codec(name: str, weights: Path, device: str) -> Any:
    """Return the published package's model with the weights of a file."""
    import torch

    return package(name).EncoderDecoder(str(weights), device=torch.device(device))


def done(result: Any) -> Any:
    """Return a result when the GPU, if there is one at work, has made it."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return result


def peaks() -> dict[str, int]:
    """Return the peak memory of this process, and of the GPU if it used one."""
    import torch

    gpu = {"peak_gpu_bytes": torch.cuda.max_memory_allocated()} if torch.cuda.is_initialized() else {}
    return {"peak_rss_bytes": peak_rss(), **gpu}


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


def compare(name: str, weights: Path, device: str) -> dict[str, Any]:
    """Latents and audio of two chunks and a bit, by both, with the package's framing and the noise that it drew."""
    import torch

    from m2l2_mir.model.checkpoint import load_model

    peer, theirs, ours = PEERS[name], codec(name, weights, device), load_model(weights, device=device)
    config, steps = ours.config, PEERS[name].steps
    waveform = sines_and_noise(2.1 * config.chunk_seconds, config.sample_rate, config.channels)
    given = waveform if peer.channels == 2 else waveform[0]
    expected = published_order(theirs.encode(given))
    found = ours.encode(waveform, config.sample_rate, framing="official")
    values, own = (ours.values_from_embeddings(latents) for latents in (expected, found[: len(expected)]))
    audio, draws = drawn(lambda: peer.decoder(theirs, expected[:2], steps))
    noise = {}
    for draw, whole in enumerate(draws):
        filled = torch.nn.functional.pad(whole[0], (0, -whole.shape[-1] % config.chunk_frames))
        noise |= {(chunk, draw): part for chunk, part in enumerate(filled.split(config.chunk_frames, dim=-1))}
    pieces = ours.decode_stream(
        expected[:2], noise=lambda chunk, draw: noise[chunk, draw], method="parallel", steps=steps, framing="official"
    )
    audio, again = audio.cpu(), torch.cat(list(pieces), dim=-1).clamp(-1, 1)  # the package clips
    peak = float(audio.abs().max())
    return {
        "differences": {
            "latents": float((values - own).abs().max()),
            "audio": float((audio - again[:, : audio.shape[-1]]).abs().max()) / peak,
        },
        "std": {"latents": float(values.std()), "audio": float(audio.std())},
        "clipped": float((audio.abs() == 1).float().mean()),
    }


def drawn(work: Callable[[], Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return what the package's work returns, and the noise that it drew, on the CPU, in order."""
    from unittest.mock import patch

    import torch

    draws, draw_anew, generator = [], torch.randn, torch.Generator().manual_seed(11)

    def draw(shape: Any, device: Any = "cpu", **_: Any) -> Tensor:
        draws.append(draw_anew(tuple(shape), generator=generator))
        return draws[-1].to(device)

    with patch("torch.randn", draw), patch("torch.randn_like", lambda like: draw(like.shape, like.device)):
        return work(), draws


def speeds(
    name: str, weights: Path, device: str, seconds: float, decode_seconds: float, repeats: int
) -> dict[str, Any]:
    """Encode and decode one waveform, the package and this one in turn."""
    import torch

    from m2l2_mir.model.checkpoint import load_model

    peer, theirs, ours = PEERS[name], codec(name, weights, device), load_model(weights, device=device)
    config = ours.config
    waveform = sines_and_noise(seconds, config.sample_rate, config.channels)
    given = waveform if peer.channels == 2 else waveform[0]
    latents = random_latents(config, decode_seconds)
    samples = len(latents) * config.chunk_samples - config.overlap
    timed = {
        "encode": {
            "theirs": lambda: done(theirs.encode(given)),
            "ours": lambda: done(ours.encode(waveform, config.sample_rate)),
        },
        "decode": {
            "theirs": lambda: done(peer.decoder(theirs, latents, peer.steps)),
            "ours": lambda: done(ours.decode(latents, method="parallel", steps=peer.steps, num_samples=samples)),
        },
    }
    taken = {what: interleaved(parts, repeats=repeats, warmup=int(repeats > 1)) for what, parts in timed.items()}
    return {
        "audio_seconds": {"encode": seconds, "decode": len(latents) * config.chunk_seconds},
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        **{
            what: {"seconds": times, "speedup": ratios(times["theirs"], times["ours"])} for what, times in taken.items()
        },
    }


def published_order(latents: Tensor) -> Tensor:
    """A package's latents as [chunks, K, d]: [chunks, K, d] already, or [1, d, time steps] cut to whole chunks."""
    latents = latents.cpu()
    if latents.shape[-1] == 64 and latents.ndim == 3 and latents.shape[1] == 8:
        return latents
    steps = latents[0].T
    return steps[: len(steps) // 8 * 8].unflatten(0, (-1, 8))


def bulk_theirs(name: str, weights: Path, device: str, music: Path) -> dict[str, float]:
    """Encode files one after the other with the package, which reads them itself."""
    from m2l2_mir.model.architectures import config_named

    theirs, config = codec(name, weights, device), config_named(name)
    paths = sorted(music.iterdir())
    numbers = 0
    begun = time.perf_counter()
    for path in paths:
        numbers += done(theirs.encode(str(path))).numel()
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "chunks": numbers / (config.num_embeddings * config.latent_dim), **peaks()}


def bulk_ours(weights: Path, device: str, music: Path, store: Path) -> dict[str, float]:
    """Extract the files into a store."""
    from m2l2_mir.embedding.extract import extract
    from m2l2_mir.embedding.pipeline import keep_freed_memory
    from m2l2_mir.model.checkpoint import load_model

    model = load_model(weights, device=device)
    keep_freed_memory()  # as the command line does
    begun = time.perf_counter()
    tracks = extract(music, out=store, model=model, keep="chunks").tracks
    seconds = time.perf_counter() - begun
    if (tracks["status"] != "ok").any():
        raise RuntimeError(f"not all files were embedded: {tracks.loc[tracks['status'] != 'ok', 'reason'].tolist()}")
    return {"seconds": seconds, "chunks": float(tracks["chunks"].sum()), **peaks()}


def long_theirs(name: str, weights: Path, device: str, seconds: float) -> dict[str, float]:
    """Decode random latents with the package."""
    import torch

    from m2l2_mir.model.architectures import config_named

    theirs, latents = codec(name, weights, device), random_latents(config_named(name), seconds)
    begun = time.perf_counter()
    with torch.no_grad():
        done(PEERS[name].decoder(theirs, latents, PEERS[name].steps))
    return {"audio_seconds": seconds, "seconds": time.perf_counter() - begun, **peaks()}


def long_ours(name: str, weights: Path, device: str, seconds: float) -> dict[str, float]:
    """Decode random latents with this package."""
    from m2l2_mir.model.checkpoint import load_model

    model = load_model(weights, device=device)
    latents = random_latents(model.config, seconds)
    begun = time.perf_counter()
    done(model.decode(latents, method="parallel", steps=PEERS[name].steps))
    return {"audio_seconds": seconds, "seconds": time.perf_counter() - begun, **peaks()}


def random_latents(config: Any, seconds: float) -> torch.Tensor:
    """Latents of about the spread that trained ones have."""
    import torch

    chunks = max(2, round(seconds / config.chunk_seconds))
    generator = torch.Generator().manual_seed(0)
    return torch.randn(chunks, config.num_embeddings, config.latent_dim, generator=generator)


def summary(name: str, found: dict[str, Any], options: Any) -> str:
    """What NAME.md says of one model."""
    speed, bulk, memory, differences = (found[part] for part in ("speed", "bulk", "memory", "differences"))
    encode, decode = (statistics.median(speed[what]["speedup"]) for what in ("encode", "decode"))
    times = {whose: [one["seconds"] for one in rounds] for whose, rounds in bulk.items()}
    files = ratios(times["theirs"], times["ours"])
    chunks = {whose: rounds[0]["chunks"] for whose, rounds in bulk.items()}
    rows = [
        [
            f"{what}, {speed['audio_seconds'][what]:.1f} s",
            *(spread([1000 * s for s in speed[what]["seconds"][whose]], 0) for whose in ("theirs", "ours")),
            spread(speed[what]["speedup"]),
        ]
        for what in ("encode", "decode")
    ]
    rows.append(
        [
            f"encode {options.files} files of {options.file_seconds:g} s (chunks: {chunks['theirs']:,.0f}, "
            f"{chunks['ours']:,.0f})",
            *(spread([1000 * s for s in times[whose]], 0) for whose in ("theirs", "ours")),
            spread(files),
        ]
    )
    peak = "peak_gpu_bytes" if options.device == "cuda" else "peak_rss_bytes"
    peaks = [
        [f"{'package' if whose == 'theirs' else 'm2l2_mir'}, {one['audio_seconds']:g} s", f"{one[peak] / 1e9:.2f}"]
        for whose, several in memory.items()
        for one in several
    ]
    goals = [
        (f"encoding {ENCODE_GOAL} times as fast as the package", encode >= ENCODE_GOAL, f"{encode:.2f}"),
        (f"decoding {DECODE_GOAL} times", decode >= DECODE_GOAL, f"{decode:.2f}"),
        (f"many files {BULK_GOAL:g} times", statistics.median(files) >= BULK_GOAL, f"{statistics.median(files):.2f}"),
        (f"bounded latents within {TOLERANCE:g}", differences["latents"] < TOLERANCE, f"{differences['latents']:.1e}"),
        (
            f"audio of two chunks within {TOLERANCE:g} of its peak",
            differences["audio"] < TOLERANCE,
            f"{differences['audio']:.1e}; the package clips {found['clipped']:.1%} of it",
        ),
    ]
    told = "; ".join(f"{goal}: {verdict(reached)} ({value})" for goal, reached, value in goals)
    return (
        f"## {name}\n\nOn {speed['device']}. Time in ms, median (range); decoding in {PEERS[name].steps} step(s). "
        f"Latents and audio are compared with the package's framing and noise. Goals: {told}.\n\n"
        + table(["what", "package", "m2l2_mir", "speed-up"], rows)
        + "\n\n"
        + table([f"peak memory of {'the GPU' if options.device == 'cuda' else 'a process that decodes'}", "GB"], peaks)
    )


if __name__ == "__main__":
    sys.exit(main())
