"""What stands beside a model: its architecture untrained, time bases of ordered latents, an oracle, hand-made features.

Conventions
-----------
* Controls: the architecture with random weights; slots of the model turned inside themselves, which must not move slot
  scores; an oracle, whose slots hold one factor each of a stratum, one-hot; log-mel statistics of equal width (eight
  bands of 32 means and 32 standard deviations over frames), where K x d is 8 x 64.
* Time bases mix the K positions of ordered latents, the same way in every dimension: the discrete cosine transform, and
  the principal components over positions. Both are linear, so that they commute with the mean over time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.disentangle.bases import random_basis
from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.sources import Kind, Observe, Source, embed, store_source
from m2l2_mir.model.checkpoint import random_model
from m2l2_mir.probe.baseline_vectors import baseline_vectors
from m2l2_mir.probe.baselines import VERSION as BASELINES_VERSION
from m2l2_mir.probe.inputs import UNTRAINED_SEED, config_of

__all__ = ["LOG_MEL_SHAPE", "log_mel_source", "oracle_source", "rotated_inside", "time_bases", "untrained_source"]

LOG_MEL_SHAPE = (8, 64)


def untrained_source(
    beside: Source, dataset: Dataset, *, jobs: int | None = None, observe: Observe | None = None, seed: int = 0
) -> Source | None:
    """The architecture of a source with random weights; None if it is unknown."""
    config = None if beside.store is None else config_of(beside.store)
    if config is None:
        return None
    name = f"untrained {config.name}"
    store = embed(random_model(config, UNTRAINED_SEED + seed), name, dataset, jobs=jobs, observe=observe)
    made = store_source(store, name)
    return Source(
        name=name,
        kind="untrained",
        about=f"the architecture of {beside.name} with random weights",
        shape=made.shape,
        slots_of=made.slots_of,
        identity=made.identity,
        failed=made.failed,
    )


def time_bases(source: Source, blocks: Sequence[Block]) -> list[Source]:
    """A source in the bases of its K positions: "DCT", and "PCA", fitted on the clips of all blocks."""
    slots = source.slots_of([track for block in blocks for track in block.track_ids]).astype(np.float64)
    centred = slots - slots.mean(axis=0)
    _, axes = np.linalg.eigh(np.einsum("nkd,njd->kj", centred, centred))
    size = slots.shape[1]
    mixes = {"DCT": dct(np.eye(size), axis=0, norm="ortho"), "PCA": axes[:, ::-1].T}
    return [
        _derived(source, f"{source.name}, {name} over positions", "basis", f"its K positions mixed by the {name}", mix)
        for name, mix in mixes.items()
    ]


def rotated_inside(source: Source, *, seed: int = 0) -> Source:
    """A source whose slots are turned inside themselves, each by a random rotation of its own."""
    slots, width = source.shape
    rng = np.random.default_rng(seed)
    turns = np.stack([random_basis(width, width, rng) for _ in range(slots)])
    return Source(
        name=f"{source.name}, turned inside slots",
        kind="rotated",
        about="each slot in a random basis of its own: must not move slot scores",
        shape=source.shape,
        slots_of=lambda ids: np.einsum("nkd,kde->nke", source.slots_of(ids).astype(np.float64), turns),
        identity={**source.identity, "turned": seed},
        failed=source.failed,
    )


def oracle_source(blocks: Sequence[Block], shape: tuple[int, int]) -> Source:
    """Slots that hold the factors themselves: in each stratum the first factor in slot 1, and so on, in turns.

    Factors of different strata share slots.
    """
    number, width = shape
    codes: dict[str, NDArray[np.float64]] = {}
    columns: dict[str, tuple[int, int]] = {}  # slot and first dimension of each factor
    used: dict[str, int] = {}
    filled = [0] * number
    sizes = {
        factor.name: max(len(values), 1)
        for block in blocks
        for factor, values in zip(block.schema, block.values, strict=True)
    }
    for block in blocks:
        for factor, stratum in zip(block.schema, block.strata, strict=True):
            slot = used.get(stratum, 0) % number
            used[stratum] = used.get(stratum, 0) + 1
            columns[factor.name] = (slot, filled[slot])
            filled[slot] += sizes[factor.name]
    width = max(width, *filled)
    for block in blocks:
        for track, line in block.codes.iterrows():
            one = np.zeros((number, width))
            for name, value in line.items():
                slot, start = columns[str(name)]
                if sizes[str(name)] > 1:
                    one[slot, start + int(value)] = 1
                else:
                    one[slot, start] = value
            codes[str(track)] = one
    return Source(
        name="oracle",
        kind="oracle",
        about="slots that hold one factor each of a stratum: what a perfect code scores",
        shape=(number, width),
        slots_of=lambda ids: np.stack([codes[track] for track in ids]),
        identity={"oracle": [number, width]},
    )


def log_mel_source(
    dataset: Dataset, *, jobs: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Source:
    """Log-mel statistics in 8 bands of 64 numbers, computed once for each file and kept in the user's cache."""
    tracks = dataset.tracks
    computed = baseline_vectors(tracks["path"].astype(str).tolist(), ["log-mel"], jobs=jobs, progress=progress)
    bands, width = LOG_MEL_SHAPE
    halves = computed.vectors["log-mel"].reshape(len(tracks), 2, bands, width // 2)  # means, then deviations
    slots = halves.swapaxes(1, 2).reshape(len(tracks), bands, width)
    place = {track: row for row, track in enumerate(tracks["track_id"])}
    return Source(
        name="log-mel statistics",
        kind="hand-made",
        about="8 bands of mean and standard deviation over frames of 32 log-mel bins: as wide as 8 x 64",
        shape=LOG_MEL_SHAPE,
        slots_of=lambda ids: slots[[place[track] for track in ids]],
        identity={"hand-made": "log-mel", "version": BASELINES_VERSION},
        failed={str(track): why for track, why in zip(tracks["track_id"], computed.reasons, strict=True) if why},
    )


def _derived(source: Source, name: str, kind: Kind, about: str, mix: NDArray[np.float64]) -> Source:
    return Source(
        name=name,
        kind=kind,
        about=about,
        shape=source.shape,
        slots_of=lambda ids: np.einsum("jk,nkd->njd", mix, source.slots_of(ids).astype(np.float64)),
        identity={**source.identity, "mix": np.round(mix, 6).tolist()},
        failed=source.failed,
    )
