"""Held-out music for benchmarks: recordings of a folder such as `m2l2 corpus fetch free-music` makes, and excerpts.

What training would leave out (silent, low bandwidth, the same samples as another) is left out here too.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.model.config import ModelConfig
from m2l2_mir.training.building import decode_all
from m2l2_mir.training.corpus import matching
from m2l2_mir.training.decoding import FULL_SCALE, Decoded, decode
from m2l2_mir.training.recordings import Recording, recordings_of

SILENCE = 1e-3  # RMS below which an excerpt is passed over

Waveform = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """An excerpt of a piece, [channels, samples] as the model hears it."""

    piece: str
    start: float  # seconds
    waveform: Waveform


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hold-out",
        nargs="+",
        default=["test"],
        metavar="NAME",
        help="collections to take, by name, pattern or recommended split (default: test)",
    )
    parser.add_argument("--clips", type=int, default=100, help="at most so many (default: 100)")
    parser.add_argument("--per-piece", type=int, default=3, help="clips of one piece, at most (default: 3)")
    parser.add_argument("--seconds", type=float, default=10, help="length of a clip (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of clips (default: 0)")


def listen(
    options: argparse.Namespace, config: ModelConfig, each_piece: Callable[[str, Waveform], None]
) -> tuple[list[Clip], list[tuple[str, str]]]:
    """Go through the held-out pieces once.

    `each_piece` gets the name of a piece and all its excerpts [n, channels, samples]; returned are the clips that were
    drawn, from as many pieces as possible, and (recording, reason) of what was left out.
    """
    samples = round(options.seconds * config.sample_rate)
    rng = np.random.default_rng(options.seed)
    found: list[tuple[int, float, Clip]] = []
    left_out: list[tuple[str, str]] = []
    recordings = held_out(options.data, options.hold_out)
    for name, heard in waveforms(recordings[: options.clips] if options.quick else recordings, config):
        if isinstance(heard, str):
            left_out.append((name, heard))
            continue
        excerpts = heard[:, : heard.shape[1] // samples * samples].reshape(len(heard), -1, samples).swapaxes(0, 1)
        loud = np.flatnonzero(np.sqrt(np.mean(excerpts**2, axis=(1, 2))) > SILENCE)
        if not len(loud):
            left_out.append((name, f"no excerpt of {options.seconds:g} s above {SILENCE:g} RMS"))
            continue
        each_piece(name, excerpts[loud])
        for turn, place in enumerate(rng.permutation(loud)[: options.per_piece].tolist()):
            clip = Clip(piece=name, start=place * options.seconds, waveform=excerpts[place].copy())
            found.append((turn, rng.random(), clip))
    chosen = sorted(found, key=lambda entry: entry[:2])[: options.clips]
    return [clip for *_, clip in chosen], left_out


def held_out(data: Path, hold_out: Sequence[str]) -> list[Recording]:
    """Return the recordings of the named collections or recommended splits."""
    found = recordings_of([data]).found
    names = sorted({recording.collection for recording in found})
    taken: set[str] = set()
    for pattern in hold_out:
        recommended = {recording.collection for recording in found if recording.facts.split == pattern}
        taken |= recommended or set(matching(pattern, names))
    return [recording for recording in found if recording.collection in taken]


def waveforms(recordings: Sequence[Recording], config: ModelConfig) -> Iterator[tuple[str, Waveform | str]]:
    """Yield name and waveform [channels, samples] of each recording, or the reason why it is left out."""
    seen: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)

        def work(recording: Recording) -> Decoded:
            return decode(recording, sample_rate=config.sample_rate, channels=config.channels, scratch=scratch)

        for recording, result in decode_all(recordings, work, jobs=None, progress=None):
            if not isinstance(result, Decoded):
                yield recording.name, str(result)
                continue
            with result.file:
                first = seen.setdefault(result.sha256, recording.name)
                frames = np.frombuffer(result.file.read(), "<i2").reshape(-1, config.channels)
            if first != recording.name:
                yield recording.name, f"the same samples as {first}"
            else:
                yield recording.name, np.ascontiguousarray(frames.T, np.float32) / np.float32(FULL_SCALE)
