"""How close the extraction comes to the time that its encoder and its decoders need anyway.

From real music, 200 files of 60 s are made, half mp3, half ogg. Measured, each in a fresh process with a warm page
cache: (a) the wall time of `m2l2_mir.extract` with default settings, in a
process that keeps freed memory as `m2l2 embed` does; (b) the encoder alone on as many chunks, held in
memory: wall time of all threads on one stream of batches and of single-threaded workers, the better of which counts,
and its CPU time with one thread; (c) the user CPU time of decoding and resampling alone, in one thread.
Goal: (a) at most 1.15 times the larger of (b)'s wall time and (b)'s plus (c)'s CPU time divided by the cores.
Process start, imports and loading of the model are left out and reported apart.

Also measured: the peak memory of the process that extracts the 200 files, and of one that extracts a file of 3 hours.
Goal: below 1.5 GB.

    python benchmarks/embed_throughput.py --data ~/Music
    python benchmarks/embed_throughput.py --data ~/Music --quick

The files made take about 350 MB in the folder for temporary files (TMPDIR).
"""

from __future__ import annotations

import itertools
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import soundfile
from _common import argument_parser, cores, machine, spread, table, verdict, write_results

if TYPE_CHECKING:
    import torch

    from m2l2_mir.dataset.folder import AudioFile

# The package and torch are imported where they are used, so that a fresh process can time that.

GOAL = 1.15
MEMORY_GOAL = 1.5e9  # bytes
HELD_CHUNKS = 512  # distinct chunks held for the encoder alone, taken round and round: 70 MB, more than caches hold
STREAM_BATCH = 32  # chunks in one pass where all threads share it
Result = TypeVar("Result")


def main() -> None:
    parser = argument_parser(__doc__, data=True)
    parser.add_argument("--files", type=int, default=200, help="files made of the music (default: 200)")
    parser.add_argument("--seconds", type=int, default=60, help="length of each (default: 60)")
    parser.add_argument("--long-seconds", type=int, default=3 * 3600, help="length of the long file (default: 10800)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all measurements (default: 3)")
    options = parser.parse_args()
    if options.quick:
        options.files, options.seconds, options.long_seconds, options.rounds = 10, 5, 120, 1

    facts = fresh(machine)
    with tempfile.TemporaryDirectory(prefix="m2l2-benchmark-") as temporary:
        folder = Path(temporary)
        made = fresh(make_files, options.data, folder / "music", options.files, options.seconds)
        long_file = fresh(make_long_file, folder / "music", folder / "long.ogg", options.long_seconds)
        rounds = []
        for number in range(options.rounds):
            rounds.append(measure(folder / "music", folder / f"store-{number}"))
            print(f"round {number + 1} of {options.rounds}: {rounds[-1]['ratio']:.2f}", file=sys.stderr)
        long = fresh(extraction, long_file, folder / "store-long")
    results = {"files": made, "rounds": rounds, "long_file": long}
    write_results(options, facts, results, summary(options.files, options.seconds, options.long_seconds, results))


def fresh(work: Callable[..., Result], *arguments: object) -> Result:
    """Call a function in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


# The files


def make_files(data: Path, folder: Path, count: int, seconds: int) -> dict[str, Any]:
    """Cut `count` pieces, from as many files as possible, and write half of them as mp3 and half as ogg."""
    from m2l2_mir import audio

    warnings.simplefilter("ignore")  # of clipping, on writing decoded music
    folder.mkdir()
    pieces = list(itertools.islice(itertools.cycle(cuts(data, seconds)), count))

    def write(number: int) -> None:
        source, start = pieces[number]
        waveform, rate = audio.load(source.path, excerpt=(start, seconds))
        waveform = audio.map_channels(waveform, min(len(waveform), 2))
        if rate not in (32_000, 44_100, 48_000):
            waveform, rate = audio.resample(waveform, rate, 44_100), 44_100
        audio.save(folder / f"{number:04}.{'mp3' if number % 2 else 'ogg'}", waveform, rate)

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(write, range(count)))
    sizes = [path.stat().st_size for path in folder.iterdir()]
    return {
        "count": count,
        "seconds_each": seconds,
        "from_files": len({source.path for source, _ in pieces}),
        "distinct_pieces": len(set(pieces)),
        "bytes": sum(sizes),
    }


def cuts(data: Path, seconds: int) -> list[tuple[AudioFile, int]]:
    """Return (file, start in seconds) of all pieces that do not overlap: the first of each file, the second, ..."""
    from m2l2_mir import audio
    from m2l2_mir.dataset.folder import find_audio
    from m2l2_mir.errors import AudioError

    found = []
    for file in find_audio([data]).files:
        try:
            duration = audio.read_info(file.path).duration
        except AudioError:
            continue
        whole = int(duration // seconds) if duration > 0 else 0  # nan where the header does not tell
        found += [(place, file, place * seconds) for place in range(whole)]
    if not found:
        raise SystemExit(f"no music of at least {seconds} s under {data}")
    found.sort(key=lambda cut: cut[0])
    return [(file, start) for _, file, start in found]


def make_long_file(folder: Path, path: Path, seconds: int) -> Path:
    """Repeat one of the files until it is `seconds` long, as ogg."""
    from m2l2_mir import audio

    waveform, rate = audio.load(folder / "0000.ogg")
    wanted = seconds * rate
    with soundfile.SoundFile(path, "w", rate, len(waveform), format="OGG", subtype="VORBIS") as file:
        while file.frames < wanted:
            for start in range(0, min(waveform.shape[1], wanted - file.frames), 1 << 16):
                file.write(waveform[:, start : min(start + (1 << 16), wanted - file.frames + start)].T)
    return path


# The measurements


def measure(music: Path, store: Path) -> dict[str, Any]:
    """Take all measurements once."""
    warm_page_cache(music)
    whole = fresh(extraction, music, store)
    alone = fresh(encoder_alone, music, whole["chunks"])
    decoding = fresh(decoding_alone, music)
    cpu_bound = (alone["cpu_seconds"] + decoding["user_seconds"]) / cores()
    bound = max(min(alone["wall_seconds"].values()), cpu_bound)
    return {
        "extraction": whole,
        "encoder_alone": alone,
        "decoding_alone": decoding,
        "cpu_bound_seconds": cpu_bound,
        "bound_seconds": bound,
        "ratio": whole["wall_seconds"] / bound,
    }


def warm_page_cache(folder: Path) -> None:
    """Read all files once."""
    for path in folder.iterdir():
        path.read_bytes()


def extraction(music: Path, store: Path) -> dict[str, Any]:
    """Extract into a new store: times, speed and peak memory of this process."""
    begun = time.perf_counter()
    from m2l2_mir.embedding.extract import extract
    from m2l2_mir.embedding.pipeline import keep_freed_memory
    from m2l2_mir.model.checkpoint import load_model

    imported = time.perf_counter()
    model = load_model("random:m2l2-small", device="cpu")
    loaded = time.perf_counter()
    keep_freed_memory()  # as the command line does
    warnings.simplefilter("ignore")  # the weights are untrained
    cpu = cpu_times()
    result = extract(music, out=store, model=model)
    wall = time.perf_counter() - loaded
    user, system = (after - before for after, before in zip(cpu_times(), cpu, strict=True))
    tracks = result.tracks
    if (tracks["status"] != "ok").any():
        raise RuntimeError(f"not all files were embedded: {tracks.loc[tracks['status'] != 'ok', 'reason'].tolist()}")
    return {
        "import_seconds": imported - begun,
        "load_seconds": loaded - imported,
        "wall_seconds": wall,
        "user_seconds": user,
        "system_seconds": system,
        "chunks": int(tracks["chunks"].sum()),
        "audio_seconds": float(tracks["duration"].sum()),
        "x_real_time": float(tracks["duration"].sum()) / wall,
        "peak_rss_bytes": peak_rss(),
    }


def encoder_alone(music: Path, chunks: int) -> dict[str, Any]:
    """Encode `chunks` chunks that are in memory: all threads together, single-threaded workers, one thread."""
    import torch

    from m2l2_mir.embedding.extract import BATCH_SIZE
    from m2l2_mir.model.checkpoint import load_model

    model = load_model("random:m2l2-small", device="cpu")
    held = held_chunks(music, min(HELD_CHUNKS, chunks))
    small = BATCH_SIZE["cpu"]
    wall = {}

    model.encode_blocks(held[:STREAM_BATCH])
    begun = time.perf_counter()
    for batch in batches(held, chunks, STREAM_BATCH):
        model.encode_blocks(batch)
    wall[f"all threads, batches of {STREAM_BATCH}"] = time.perf_counter() - begun

    torch.set_num_threads(1)
    # OpenMP keeps the number of threads for each thread that calls it.
    with ThreadPoolExecutor(cores(), initializer=partial(torch.set_num_threads, 1)) as pool:
        list(pool.map(model.encode_blocks, [held[:small]] * cores()))
        begun = time.perf_counter()
        list(pool.map(model.encode_blocks, batches(held, chunks, small)))
        wall[f"single-threaded workers, batches of {small}"] = time.perf_counter() - begun

    begun, cpu = time.perf_counter(), cpu_times()
    for batch in batches(held, chunks, small):
        model.encode_blocks(batch)
    user, system = (after - before for after, before in zip(cpu_times(), cpu, strict=True))
    return {
        "chunks": chunks,
        "wall_seconds": wall,
        "one_thread_wall_seconds": time.perf_counter() - begun,
        "cpu_seconds": user + system,
        "user_seconds": user,
        "system_seconds": system,
    }


def held_chunks(music: Path, count: int) -> torch.Tensor:
    """Return `count` blocks of waveform, cut as the extraction cuts them."""
    import numpy as np
    import torch

    from m2l2_mir.dataset.folder import find_audio
    from m2l2_mir.embedding.reading import Settings, Track, read_chunks
    from m2l2_mir.model.config import ModelConfig

    config = ModelConfig.preset("m2l2-small")
    chunks = (
        chunk.block
        for file in find_audio([music]).files
        for chunk in read_chunks(Track(file, False), config, Settings(), None)
    )
    return torch.from_numpy(np.stack(list(itertools.islice(chunks, count))))


def batches(held: torch.Tensor, chunks: int, size: int) -> Iterator[torch.Tensor]:
    """Yield batches of `size`, `chunks` chunks in all, going round the held ones."""
    whole = max(len(held) // size, 1)
    for number, start in enumerate(range(0, chunks, size)):
        first = number % whole * size
        yield held[first : first + min(size, chunks - start)]


def decoding_alone(music: Path) -> dict[str, float]:
    """Decode, mix down and resample all files in one thread."""
    from m2l2_mir import audio
    from m2l2_mir.model.config import ModelConfig

    config = ModelConfig.preset("m2l2-small")
    begun, cpu = time.perf_counter(), cpu_times()
    for path in sorted(music.iterdir()):
        for _ in audio.stream(path, sample_rate=config.sample_rate, channels=config.channels):
            pass
    user, system = (after - before for after, before in zip(cpu_times(), cpu, strict=True))
    return {"wall_seconds": time.perf_counter() - begun, "user_seconds": user, "system_seconds": system}


def cpu_times() -> tuple[float, float]:
    """Return user and system CPU time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime, usage.ru_stime


def peak_rss() -> int:
    """Return the peak resident memory of this process in bytes."""
    try:  # ru_maxrss of Linux may be the starting process's, which a child inherits
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def summary(files: int, seconds: int, long_seconds: int, results: dict[str, Any]) -> str:
    """What NAME.md says."""
    rounds = results["rounds"]

    def over_rounds(find: Callable[[dict[str, Any]], float]) -> str:
        return spread([find(one) for one in rounds], 1)

    ratio = statistics.median(one["ratio"] for one in rounds)
    memory = max(one["extraction"]["peak_rss_bytes"] for one in rounds)
    long = results["long_file"]
    alone = [
        [f"encoder alone, {way}, wall, s", over_rounds(lambda one, way=way: one["encoder_alone"]["wall_seconds"][way])]
        for way in rounds[0]["encoder_alone"]["wall_seconds"]
    ]
    rows = [
        ["extraction, wall, s", over_rounds(lambda one: one["extraction"]["wall_seconds"])],
        ["extraction, x real time", over_rounds(lambda one: one["extraction"]["x_real_time"])],
        *alone,
        ["encoder alone, one thread, CPU, s", over_rounds(lambda one: one["encoder_alone"]["cpu_seconds"])],
        ["decoding and resampling alone, user CPU, s", over_rounds(lambda one: one["decoding_alone"]["user_seconds"])],
        [f"(encoder CPU + decoding CPU) / {cores()} cores, s", over_rounds(lambda one: one["cpu_bound_seconds"])],
        ["**extraction / the larger bound**", spread([one["ratio"] for one in rounds])],
        ["peak memory, MB", spread([one["extraction"]["peak_rss_bytes"] / 1e6 for one in rounds], 0)],
        [f"peak memory, one file of {long_seconds / 3600:.2g} h, MB", f"{long['peak_rss_bytes'] / 1e6:.0f}"],
        [f"one file of {long_seconds / 3600:.2g} h, x real time", f"{long['x_real_time']:.1f}"],
        ["left out above: imports, s", over_rounds(lambda one: one["extraction"]["import_seconds"])],
        ["left out above: loading the model, s", over_rounds(lambda one: one["extraction"]["load_seconds"])],
    ]
    return (
        f"`m2l2_mir.extract` with default settings, freed memory kept as `m2l2 embed` does, and `m2l2-small` "
        f"(random weights) on {files} files of {seconds} s, "
        "half mp3, half ogg, against its parts alone: median (range) over the rounds. Goal: at most "
        f"{GOAL} times the larger of the encoder's wall time and the CPU time of both parts over the cores: "
        f"{verdict(ratio <= GOAL)} ({ratio:.2f}). Peak memory below {MEMORY_GOAL / 1e9:g} GB: "
        f"{verdict(max(memory, long['peak_rss_bytes']) < MEMORY_GOAL)}.\n\n" + table(["", "measured"], rows)
    )


if __name__ == "__main__":
    main()
