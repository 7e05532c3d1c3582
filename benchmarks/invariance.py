"""Does a track keep its embedding when it is shifted, made louder or softer, or compressed?

Excerpts of 30 s are taken from real files, from as many as possible, without overlap. The vector of an excerpt is the
mean of its embeddings over time, K x d numbers in a row. Each excerpt is compared with versions of itself: started
later by 1 to 743 ms (half and one chunk of the default model among them), +12 and -12 dB in float, without clipping,
and 64 and 32 kbit/s MP3, whose delay is taken out again. Measured for each version: the cosine to the original, raw and
with the mean of all originals taken off, and how often the original is the nearest of all originals to the version
(rank 1, centred cosine), with a Wilson 95 % interval. Beside the model stands a trivial statistic: the mean over time
of 64 log-mel bands. A model earns its keep where it is more robust than that.

    python benchmarks/invariance.py --data ~/Music
    python benchmarks/invariance.py --data ~/Music --model model.safetensors
    python benchmarks/invariance.py --data ~/Music --quick
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import soundfile
from _common import argument_parser, machine, table, verdict, write_results
from numpy.typing import NDArray

from m2l2_mir import audio
from m2l2_mir.dataset.folder import find_audio
from m2l2_mir.embedding.summary import embed
from m2l2_mir.errors import AudioError
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model

Array = NDArray[np.floating]

SECONDS = 30
SHIFTS = (1, 10, 50, 100, 200, 371, 743)  # ms
GAINS = (12, -12)  # dB
BITRATES = (64, 32)  # kbit/s
MOST_PER_FILE = 3
SILENCE = 1e-3  # RMS below which an excerpt is passed over
MEL_BANDS = 64
MEL = f"log-mel mean ({MEL_BANDS} numbers)"


def main() -> None:
    parser = argument_parser(__doc__, data=True)
    parser.add_argument(
        "--model", default="m2l2-small", metavar="M", help="see m2l2_mir.load_model (default: %(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, auto (default: cpu)")
    parser.add_argument("--excerpts", type=int, default=100, help="at most so many (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of excerpts (default: 0)")
    options = parser.parse_args()
    wanted, seconds = (8, 5) if options.quick else (options.excerpts, SECONDS)
    facts = machine()
    model = load_model(options.model, device=options.device)

    names, vectors, measured = [], {}, {}
    for name, waveform, rate in itertools.islice(excerpts(options.data, seconds, options.seed), wanted):
        names.append(name)
        for version, changed, fact in versions(waveform, rate, seconds):
            measured.setdefault(version, []).append(fact)
            for kind, vector in (
                (kind_of(model), embed(changed, rate, model, pooling="flatten")),
                (MEL, log_mel_mean(changed, rate)),
            ):
                vectors.setdefault(kind, {}).setdefault(version, []).append(vector)
    if len(names) < 2:
        raise SystemExit(f"{len(names)} excerpts of {seconds} s found under {options.data}; at least 2 are needed")

    scores = {
        kind: {
            version: compare(np.stack(found["original"]), np.stack(changed))
            for version, changed in found.items()
            if version != "original"
        }
        for kind, found in vectors.items()
    }
    results = {
        "weights_id": model.weights_id,
        "trained": model.trained,
        "preset": model.config.name,
        "excerpt_seconds": seconds,
        "excerpts": [{"file": file, "start": start} for file, start in names],
        "files": len({file for file, _ in names}),
        "mp3": {version: facts for version, facts in measured.items() if "MP3" in version},
        "scores": scores,
    }
    write_results(options, facts, results, summary(results))


def kind_of(model: Music2Latent2) -> str:
    """Name the model and its vectors for the table."""
    state = "trained" if model.trained else "untrained"
    return f"{model.config.name}, {state} ({model.config.num_embeddings * model.config.latent_dim} numbers)"


# Excerpts and their versions


def excerpts(data: Path, seconds: float, seed: int) -> Iterator[tuple[tuple[str, float], Array, int]]:
    """Yield ((file, start), waveform, rate), longer by a shift: one excerpt of each file, then a second, and so on."""
    length = seconds + max(SHIFTS) / 1000 + 0.1
    rng = np.random.default_rng(seed)
    places = []
    for file in find_audio([data]).files:
        try:
            duration = audio.read_info(file.path).duration
        except AudioError:
            continue
        slots = rng.permutation(int(duration // length) if duration > 0 else 0)  # nan where the header does not tell
        places += [(turn, rng.random(), file, slot * length) for turn, slot in enumerate(slots[:MOST_PER_FILE])]
    for *_, file, start in sorted(places, key=lambda place: place[:2]):
        try:
            waveform, rate = audio.load(file.path, excerpt=(start, length))
        except AudioError:
            continue
        waveform = audio.map_channels(waveform, min(len(waveform), 2))
        if rate not in (32_000, 44_100, 48_000):  # of the rates of MP3, those with bit rates from 32 to 320 kbit/s
            waveform, rate = audio.resample(waveform, rate, 44_100), 44_100
        whole = waveform.shape[1] >= round((seconds + max(SHIFTS) / 1000) * rate)
        if whole and np.sqrt(np.mean(waveform**2)) > SILENCE:
            yield (file.track_id, float(start)), waveform, rate


def versions(waveform: Array, rate: int, seconds: float) -> Iterator[tuple[str, Array, dict[str, float]]]:
    """Yield (name, waveform, what was measured on the way) of the original and each version, equally long."""
    samples = round(seconds * rate)
    original = waveform[:, :samples]
    yield "original", original, {}
    for shift in SHIFTS:
        start = round(shift * rate / 1000)
        yield f"{shift} ms later", waveform[:, start : start + samples], {}
    for gain in GAINS:
        yield f"{gain:+} dB", original * np.float32(10 ** (gain / 20)), {}
    for bitrate in BITRATES:
        decoded, fact = through_mp3(waveform, rate, bitrate)
        yield f"MP3, {bitrate} kbit/s", decoded[:, :samples], fact


def through_mp3(waveform: Array, rate: int, bitrate: int) -> tuple[Array, dict[str, float]]:
    """Encode, decode and align; the measured bit rate, and the delay that was taken out, beside the result."""
    # libsndfile maps the compression levels 0 to 1 (1 itself excluded) to 320 to 32 kbit/s.
    level = min((320 - bitrate) / (320 - 32), 0.9999)
    buffer = io.BytesIO()
    mp3 = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT", "compression_level": level}
    with soundfile.SoundFile(buffer, "w", rate, len(waveform), **mp3) as file:
        file.write(waveform.T)
    size = len(buffer.getvalue())
    buffer.seek(0)
    decoded = soundfile.read(buffer, dtype="float32", always_2d=True)[0].T
    # The shortest frames have no room for the tag that tells a decoder how many samples to skip.
    late = max(delay(waveform, decoded), 0)
    measured = 8 * size * rate / waveform.shape[1] / 1000
    return decoded[:, late:], {"kbit_per_second": measured, "delay_samples": late}


def delay(original: Array, changed: Array) -> int:
    """Return by how many samples `changed` lags behind."""
    correlation = scipy.signal.correlate(changed.mean(0), original.mean(0), method="fft")
    return int(correlation.argmax()) - (original.shape[1] - 1)


# Vectors


def log_mel_mean(waveform: Array, rate: int) -> Array:
    """Return the mean over time of the log power in mel bands [MEL_BANDS], down to 80 dB below a full-scale sine."""
    window = scipy.signal.windows.hann(2048, sym=False)
    transform = scipy.signal.ShortTimeFFT(window, hop=1024, fs=rate)
    power = transform.spectrogram(waveform.mean(0)) / (window.sum() / 2) ** 2  # (bins, frames)
    return np.log10(mel_filters(transform.f) @ power + 1e-8).mean(1)


def mel_filters(hertz: Array) -> Array:
    """Return triangles of equal width on the mel scale (HTK's), 30 Hz to 16 kHz [MEL_BANDS, bins]."""
    mel = 2595 * np.log10(1 + hertz / 700)
    low, high = 2595 * np.log10(1 + np.array([30, 16_000]) / 700)
    centres = np.linspace(low, high, MEL_BANDS + 2)
    width = centres[1] - centres[0]
    return np.maximum(1 - np.abs(mel - centres[1:-1, None]) / width, 0)


# Scores


def compare(originals: Array, changed: Array) -> dict[str, Any]:
    """Compare versions [n, numbers] with their originals [n, numbers], row by row and by retrieval."""
    mean = originals.mean(0)
    raw = (unit(originals) * unit(changed)).sum(1)
    similarities = unit(changed - mean) @ unit(originals - mean).T  # (version, original)
    found = similarities.argmax(1)
    hits = int((found == np.arange(len(found))).sum())
    return {
        "raw_cosine": raw.tolist(),
        "centred_cosine": similarities.diagonal().tolist(),
        "nearest_original": found.tolist(),
        "rank_1": hits / len(found),
        "rank_1_interval": wilson(hits, len(found)),
        "chance": 1 / len(found),
    }


def is_better(model: dict[str, Any], statistic: dict[str, Any]) -> bool:
    """Whether a version is nearer to its original by the model than by the statistic, and found again no less often."""
    near, near_too = (np.median(scores["centred_cosine"]) for scores in (model, statistic))
    return bool(near > near_too and model["rank_1"] >= statistic["rank_1"])


def unit(vectors: Array) -> Array:
    """Scale each row to length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def wilson(hits: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson 95 % interval of a share.

    >>> [round(bound, 3) for bound in wilson(100, 100)]
    [0.963, 1.0]
    """
    share, square = hits / count, z * z / count
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return middle - half, middle + half


def summary(results: dict[str, Any]) -> str:
    """What NAME.md says."""
    count = len(results["excerpts"])
    rows = []
    for version in next(iter(results["scores"].values())):
        for kind, scores in results["scores"].items():
            score = scores[version]
            low, high = score["rank_1_interval"]
            cosines = [
                f"{np.percentile(score[cosine], percentile):.4f}"
                for cosine in ("raw_cosine", "centred_cosine")
                for percentile in (50, 5)
            ]
            rows.append([version, kind, *cosines, f"{score['rank_1']:.1%} ({low:.1%}-{high:.1%})"])
    model, statistic = results["scores"].values()
    better = [version for version in model if is_better(model[version], statistic[version])]
    mp3 = "; ".join(
        f"{version}: {np.median([fact['kbit_per_second'] for fact in facts]):.1f} kbit/s measured, "
        f"{np.median([fact['delay_samples'] for fact in facts]):.0f} samples late before alignment (medians)"
        for version, facts in results["mp3"].items()
    )
    return (
        f"Mean embeddings of {count} excerpts of {results['excerpt_seconds']} s from {results['files']} files against "
        f"those of changed versions. Weights: `{results['weights_id']}`, "
        f"{'trained' if results['trained'] else 'untrained'}. "
        "Goal: every version nearer to its original (centred cosine, median) than by the log-mel mean, and found again "
        f"no less often: {verdict(len(better) == len(model))} ({len(better)} of {len(model)}).\n\n"
        + table(
            [
                "version",
                "vector",
                "cosine, median",
                "cosine, 5th percentile",
                "centred, median",
                "centred, 5th percentile",
                "rank 1 (Wilson 95 %)",
            ],
            rows,
        )
        + f"\n\nRank 1 by chance: {1 / count:.1%}. Centred: the mean of all originals taken off. {mp3}."
    )


if __name__ == "__main__":
    main()
