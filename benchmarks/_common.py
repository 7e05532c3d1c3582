"""What the benchmark scripts share: options, machine facts, interleaved timing, results files.

Times are in seconds, rates in GFLOP/s (a multiplication and an addition are two operations).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# torch is imported where it is used: embed_throughput.py times that import and keeps its parent process small.


# Options and results files


def argument_parser(doc: str | None, *, data: bool = False) -> argparse.ArgumentParser:
    """Return a parser whose --help is the docstring of the script, with the options that all scripts have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if data:
        parser.add_argument(
            "--data", type=Path, required=True, metavar="DIR", help="folder of music, searched to the bottom"
        )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: does the script run? its numbers mean nothing"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).with_name("results"),
        metavar="DIR",
        help="folder of the results (default: results/ beside the script); those of --quick end in .quick.*",
    )
    return parser


def write_results(
    options: argparse.Namespace, facts: Mapping[str, Any], results: Mapping[str, Any], summary: str
) -> None:
    """Write NAME.json (everything) and NAME.md (what to read) into the folder of the results, and print the latter."""
    from m2l2_mir.probe.results import plain  # imports much, which must not be in memory while a script measures

    name = Path(sys.argv[0]).stem + (".quick" if options.quick else "")
    command = command_line(options)
    note = "**Quick run: the numbers mean nothing.**\n\n" if options.quick else ""
    machine = (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['capability']}, PyTorch {facts['torch']} with "
        f"{facts['threads']} threads, load {facts['load_before']} before the run."
    )
    text = f"# {name}\n\n{note}{summary}\n\nMachine: {machine} Command: `{command}`\n"
    record = {"name": name, "command": command, "quick": options.quick, "machine": facts, "results": results}
    options.out.mkdir(parents=True, exist_ok=True)
    _write(options.out / f"{name}.json", json.dumps(plain(record), indent=1, allow_nan=False) + "\n")
    _write(options.out / f"{name}.md", text)
    print(text)


def command_line(options: argparse.Namespace) -> str:
    """Return the command that was given, without the folders of this machine."""
    folders = {str(value) for value in vars(options).values() if isinstance(value, Path)}
    words = ["DIR" if (os.sep in word and "hub:" not in word) or word in folders else word for word in sys.argv[1:]]
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return median and range of `values`.

    >>> spread([1.0, 3.0, 2.0])
    '2.00 (1.00-3.00)'
    """
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def interval(found: Mapping[str, float], scale: float = 1, digits: int = 2) -> str:
    """Return an estimate with its interval.

    >>> interval({"estimate": 0.5, "low": 0.4, "high": 0.6})
    '0.50 [0.40, 0.60]'
    """
    estimate, low, high = (f"{scale * found[name]:.{digits}f}" for name in ("estimate", "low", "high"))
    return estimate if math.isnan(found["low"]) else f"{estimate} [{low}, {high}]"


def verdict(reached: bool) -> str:
    """Return how a goal came out."""
    return "reached" if reached else "missed"


# The machine


def machine() -> dict[str, Any]:
    """Return what a reader must know to compare the numbers with those of another machine."""
    import torch

    return {
        "cpu": _cpu_model(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "cores": cores(),
        "threads_per_core": _threads_per_core(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "mkl": torch.backends.mkl.is_available(),
        "mkldnn": torch.backends.mkldnn.is_available(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown CPU"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown CPU"


def _threads_per_core() -> int | None:
    try:
        siblings = Path("/sys/devices/system/cpu/cpu0/topology/thread_siblings").read_text()
    except OSError:
        return None
    return int(siblings.strip().replace(",", ""), 16).bit_count()


@contextmanager
def kernel_threads(count: int) -> Iterator[None]:
    """Let the kernels that this thread calls use `count` threads; the former number afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# Timing


def interleaved(
    parts: Mapping[str, Callable[[], object]], *, repeats: int, inner: int = 1, warmup: int = 1
) -> dict[str, list[float]]:
    """Time each part `repeats` times in the order A B A B ..., so that what slows the machine down hits all alike.

    One repeat is `inner` calls; the time of one call is returned.
    """
    for _ in range(warmup):
        for part in parts.values():
            part()
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            begun = perf_counter()
            for _ in range(inner):
                part()
            seconds[name].append((perf_counter() - begun) / inner)
    return seconds


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratio of each pair that was measured side by side."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def matrix_rates(*, quick: bool) -> dict[str, float]:
    """Return this machine's fp32 matrix-product rates in GFLOP/s with the threads set now, the best of several.

    "mm" is `torch.mm` (MKL where PyTorch has it), "conv" the same product as a 1x1 convolution (oneDNN).
    """
    import torch

    size = 1024 if quick else 2048
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, size, generator=generator) for _ in range(2))
    image = a[None].transpose(1, 2).unsqueeze(2)  # (1, channels, 1, rows), channels last
    kernel = b.T.contiguous()[:, :, None, None]
    with torch.inference_mode():
        seconds = interleaved(
            {
                "mm": lambda: torch.mm(a, b),
                # Dilation changes nothing at this size but PyTorch's choice of library: see linear.py.
                "conv": lambda: torch.nn.functional.conv2d(image, kernel, dilation=2),
            },
            repeats=3 if quick else 15,
            warmup=2,
        )
    return {name: 2 * size**3 / min(times) / 1e9 for name, times in seconds.items()}


def count_flop(work: Callable[[], object]) -> int:
    """Return the floating-point operations of a call: convolutions, matrix products and attention."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # The counter knows the two products of attention only in the "math" form.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def sines_and_noise(seconds: float, sample_rate: int, channels: int = 1) -> torch.Tensor:
    """Return a seeded test signal [channels, samples]; what is in the audio does not change the time it takes."""
    import torch

    generator = torch.Generator().manual_seed(0)
    samples = round(seconds * sample_rate)
    time = torch.arange(samples) / sample_rate
    sines = sum(torch.sin(2 * torch.pi * hertz * time) for hertz in (110, 440, 1760))
    return 0.1 * sines + 0.05 * torch.randn(channels, samples, generator=generator)
