"""Does a snippet of some seconds lead to its exact place? Random parts of tracks, asked of an index with segments.

A snippet begins at a random sample, so anywhere between two chunks, and is asked as it is and as an MP3 file of
64 kbit/s, which decodes without delay. One track in five is taken out of the index before: its snippets occur nowhere,
and none of their places should stand out. Music that repeats itself has the same snippet in several places: only the
one that it was cut from counts.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from _common import interval, table
from numpy.typing import NDArray

from m2l2_mir import audio
from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.embedding.extract import extract
from m2l2_mir.errors import AudioError
from m2l2_mir.index.similarity import SimilarityIndex
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.probe.comparison import ALPHA
from m2l2_mir.probe.statistics import cluster_bootstrap

__all__ = ["SECONDS", "located", "snippet_summary"]

SECONDS = 5.0
SNIPPETS = 40  # that occur; a fourth as many that do not
ABSENT = 5  # every so many-th track is taken out of the index
NEAR = 0.1  # seconds between start and start that count as found
SILENCE = 10 ** (-40 / 20)  # root mean square of snippets that are passed over
MP3_RATES = (32_000, 44_100, 48_000)
MP3 = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT", "compression_level": 256 / 288}
FORMATS = ("as it is", "MP3, 64 kbit/s")


def located(source: Path | Dataset, model: str, device: str, work: Path, *, quick: bool) -> dict[str, Any]:
    """What is found for each format: `found`, one line a snippet, and its means."""
    network = load_model(model, device=device)
    name = source.name if isinstance(source, Dataset) else str(source.resolve())
    digest = hashlib.sha256(f"{network.fingerprint}\n{name}\n{quick}".encode()).hexdigest()[:12]
    store = extract(source, out=work / "chunks" / digest, model=network, keep="chunks")
    index = SimilarityIndex.build(store, segments=True)
    order = np.random.default_rng(0).permutation(len(store.ok))
    tracks = store.ok.iloc[order].reset_index(drop=True)
    absent = np.arange(len(tracks)) % ABSENT == 0
    index.remove(tracks["track_id"][absent].tolist())
    wanted = 4 if quick else SNIPPETS
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for there, some, count in ((True, tracks[~absent], wanted), (False, tracks[absent], wanted // 4)):
            for track_id, begin, waveform, rate in drawn(some, count):
                for name, path in written(waveform, rate, Path(folder)).items():
                    best = index.find_segment(path, k=1, model=network).iloc[0]
                    right = there and best["track_id"] == track_id
                    off = abs(best["start"] - begin) if right else np.nan
                    lines.append([name, there, track_id, begin, right, off, best["p"]])
    found = pd.DataFrame(lines, columns=["format", "there", "track_id", "start", "track", "off", "p"])
    chunks = {"tracks": int((~absent).sum()), "chunks": len(index.segments or ())}
    return {**chunks, "found": found.to_dict("records"), "formats": {name: means(found, name) for name in FORMATS}}


def drawn(tracks: pd.DataFrame, count: int) -> Iterator[tuple[str, float, NDArray[np.float32], int]]:
    """So many snippets from random samples on, of one track after the other: name, start in seconds, waveform, rate."""
    rng = np.random.default_rng(1)
    long = tracks[tracks["duration"] > SECONDS + 1]
    left = count
    for turn in range(20 * count):
        if not left or not len(long):
            return
        track = long.iloc[turn % len(long)]
        rate = soundfile.info(track["path"]).samplerate
        begin = int(rng.integers(0, int((track["duration"] - SECONDS) * rate))) / rate
        try:
            waveform, rate = audio.load(track["path"], excerpt=(begin, SECONDS))
        except AudioError:
            continue
        if np.sqrt(np.mean(np.square(waveform))) > SILENCE:
            left -= 1
            yield track["track_id"], begin, waveform / max(1, np.abs(waveform).max()), rate  # decoders overshoot


def written(waveform: NDArray[np.float32], rate: int, folder: Path) -> dict[str, Path]:
    """Files of a snippet by format."""
    paths = dict(zip(FORMATS, (folder / "snippet.wav", folder / "snippet.mp3"), strict=True))
    audio.save(paths[FORMATS[0]], waveform, rate)
    if rate not in MP3_RATES:
        waveform, rate = audio.resample(waveform, rate, 44_100), 44_100
    with soundfile.SoundFile(paths[FORMATS[1]], "w", rate, len(waveform), **MP3) as file:
        file.write(waveform.T)
    return paths


def means(found: pd.DataFrame, name: str) -> dict[str, Any]:
    """Shares with intervals over tracks, and how far starts are off, in milliseconds."""
    mine = found[found["format"] == name]
    there, nowhere = mine[mine["there"]], mine[~mine["there"]]
    near = there["off"] < NEAR

    def share(values: pd.Series[bool], of: pd.DataFrame) -> dict[str, Any]:
        return asdict(cluster_bootstrap(values.to_numpy(np.float64), of["track_id"].to_numpy(), bounds=(0, 1)))

    off = 1000 * there["off"][near].to_numpy()
    return {
        "snippets": len(there),
        "track": share(there["track"], there),
        "place": share(near, there),
        "off_ms": {"median": np.median(off), "95 %": np.quantile(off, 0.95)} if len(off) else {},
        "stands out": share(there["p"] <= ALPHA, there),
        "nowhere": len(nowhere),
        "nowhere stands out": share(nowhere["p"] <= ALPHA, nowhere),
    }


def snippet_summary(results: dict[str, dict[str, Any]]) -> str:
    """A line for each library and format."""
    rows = [
        [
            library,
            f"{found['tracks']:,} ({found['chunks']:,})",
            name,
            one["snippets"],
            interval(one["track"]),
            interval(one["place"]),
            f"{one['off_ms']['median']:.1f} ({one['off_ms']['95 %']:.1f})" if one["off_ms"] else "",
            interval(one["stands out"]),
            f"{interval(one['nowhere stands out'])} of {one['nowhere']}",
        ]
        for library, found in results.items()
        for name, one in found["formats"].items()
    ]
    header = [
        *("library", "tracks (chunks)", "asked", "snippets", "its track is first"),
        *(f"its place, within {1000 * NEAR:.0f} ms", "start off by ms, median (95 %)"),
        *(f"p <= {ALPHA}", f"p <= {ALPHA}, of those that occur nowhere"),
    ]
    return table(header, rows)
