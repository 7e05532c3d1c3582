"""Slot identity of the sources of an analysis, from what :mod:`m2l2_mir.disentangle.identity` computes of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.identity import EXCHANGES, match_slots, slot_health, slot_identity, slot_stability
from m2l2_mir.disentangle.sources import Source
from m2l2_mir.errors import StoreError
from m2l2_mir.probe.inputs import config_of

__all__ = ["identity_of", "matching_of", "seeds_of"]

STABILITY_CLIPS = 200
MATCHED_CLIPS = 600
SEED_EXCHANGES = 3  # of slots, for each pair of seeds: their mean is all that is told


def identity_of(source: Source, blocks: Sequence[Block]) -> dict[str, Any]:
    """Slot index, collapse and saturation of a source, and stability over chunks where its store kept them."""
    block = blocks[0].without(set(source.failed))  # the shortest clips: of one chunk, so that no mean hides anything
    slots = source.slots_of(block.track_ids)
    config = None if source.store is None else config_of(source.store)
    bounded = config.bottleneck == "tanh" if config else bool(np.abs(slots).max() <= 1)
    return {
        **slot_identity(slots, block.groups),
        "health": slot_health(slots, bounded=bounded),
        "stability": _stability(source, blocks[-1].without(set(source.failed))),
    }


def _stability(source: Source, block: Block) -> dict[str, Any] | None:
    """Of clips with chunks enough; None where the store kept none."""
    if source.store is None:
        return None
    step = max(1, len(block.track_ids) // STABILITY_CLIPS)
    chosen = list(zip(block.track_ids, block.groups, strict=True))[::step]
    chunks = []
    try:
        for track, group in chosen:
            chunks.append((source.store.chunks(track), group))
    except StoreError:
        return None
    least = min((len(one) for one, _ in chunks), default=0)
    if least < 2:
        chunks = [(one, group) for one, group in chunks if len(one) > 1]
        least = min((len(one) for one, _ in chunks), default=0)
    if least < 2:
        return None
    return slot_stability(np.stack([one[:least] for one, _ in chunks]), [group for _, group in chunks])


def matching_of(first: Source, second: Source, block: Block, *, exchanges: int = EXCHANGES) -> dict[str, Any]:
    """Slots of the second source that hold what those of the first do, on at most :data:`MATCHED_CLIPS` clips."""
    whole = block.without(set(first.failed) | set(second.failed))
    step = -(-len(whole.track_ids) // MATCHED_CLIPS)
    tracks = whole.track_ids[::step]
    return match_slots(first.slots_of(tracks), second.slots_of(tracks), whole.groups[::step], exchanges=exchanges)


def seeds_of(arm: Sequence[Source], block: Block) -> dict[str, Any] | None:
    """Whether slots of a recipe come again with another seed: the first model of an arm matched with each other one.

    Returns
    -------
    dict or None
        ``first`` and ``others`` (names), ``matched`` (of each of them), ``chance`` (mean, of exchanged slots); None for
        a single model.
    """
    if len(arm) < 2:
        return None
    found = [matching_of(arm[0], other, block, exchanges=SEED_EXCHANGES) for other in arm[1:]]
    return {
        "first": arm[0].name,
        "others": [other.name for other in arm[1:]],
        "matched": [float(one["matched"]) for one in found],
        "chance": float(np.mean([one["chance"] for one in found])),
    }
