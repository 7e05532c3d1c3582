"""Swaps to listen to: hosts, donors, and what the decoder makes of one slot of the donor in the host.

The slot and attribute with the highest T are played: examples of what works best, not of what is typical.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray

from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.intervention import Decode, null_projections
from m2l2_mir.disentangle.sources import Source
from m2l2_mir.disentangle.swapping import swaps_of
from m2l2_mir.durable import write_durably

__all__ = ["write_examples"]

EXAMPLES = 2  # pairs

Floats = NDArray[np.float64]


def write_examples(
    decode: Decode,
    sample_rate: int,
    source: Source,
    blocks: Sequence[Block],
    swaps: Mapping[str, Any],
    folder: Path,
    name: str,
) -> list[dict[str, Any]]:
    """Decode a few swaps and write them as WAV files.

    Parameters
    ----------
    decode, sample_rate, source, blocks
        As in :func:`~m2l2_mir.disentangle.swapping.swap_slots`.
    swaps
        One of its results.
    folder
        Of the files; made if need be.
    name
        Their names begin with it.

    Returns
    -------
    list of dict
        For each clip ``file`` (in the folder), ``pair`` (from 1) and ``title``. Empty where no T is defined.
    """
    transfer = np.array(swaps["transfer"], dtype=np.float64)
    if not np.isfinite(transfer).any():
        return []
    slot, place = map(int, np.unravel_index(np.nanargmax(transfer), transfer.shape))
    attribute = swaps["attributes"][place]
    moved = np.array(swaps["difference"], dtype=np.float64)[:, slot, place]
    chosen = np.argsort(np.where(np.isfinite(moved), -moved, np.inf), kind="stable")[:EXAMPLES]
    pairs = pd.DataFrame(swaps["pairs"]).iloc[chosen]
    block = next(one for one in blocks if one.name == swaps["block"]).without(set(source.failed))
    given = swaps_of(source, block, pairs, swaps["chunks"])
    [projection] = null_projections(given.reference, 1)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for pair, (host, donor) in enumerate(zip(given.hosts, given.donors, strict=True), start=1):
        swapped = host.copy()
        swapped[:, slot] = donor[:, slot]
        turned = host + ((donor - host).reshape(len(host), -1) @ projection).reshape(host.shape)
        for kind, title, embeddings in (
            ("host", "host", host),
            ("donor", "donor", donor),
            ("swap", f"host with slot {slot + 1} of the donor, which moves its {attribute} most", swapped),
            ("null", "host with as wide a random subspace of the donor", turned),
        ):
            file = f"{name}-{pair}-{kind}.wav"
            _write(folder / file, decode(embeddings, 0), sample_rate)
            written.append({"file": file, "pair": pair, "title": title})
    return written


def _write(path: Path, samples: NDArray[np.floating], sample_rate: int) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), sample_rate, format="WAV", subtype="PCM_16")
    write_durably(path, lambda file: file.write(buffer.getbuffer()))
