"""Merging the small parts of a store, and dropping rows that later ones have replaced.

A merged part covers the numbers of the parts it is made of, so its rename supersedes them all at once
(see :mod:`m2l2_mir.embedding.parts`); the sweep after that only frees their space. Only neighbours are
merged, because the order of parts decides which row of a track counts, and only up to a size, so that
adding to a large store does not rewrite it. Rows that take a track out of the store are dropped as well; the oldest
parts go first, so that what such a row has replaced is gone before it, whenever a merge is cut short.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from m2l2_mir.embedding.parts import Kind, Part, Parts

__all__ = ["merge_parts"]

# From this size on a part is left alone, so a merged one has less than twice as much. It is sorted in
# memory, which takes several times its size.
_LARGE_BYTES = 48 << 20


def merge_parts(parts: Parts) -> None:
    """Merge neighbouring small parts, and rewrite those that hold replaced or removed rows.

    Only for the holder of the lock, who sweeps afterwards.

    Parameters
    ----------
    parts : Parts
        Of the store.

    Raises
    ------
    StoreError
        If a part that has to be rewritten is damaged; what was merged before stays merged.
    """
    live = parts.live()
    winners = parts.winners(live)
    counting_ids = {
        part: pa.array(winners["track_id"][winners["part"] == number], pa.string()) for number, part in enumerate(live)
    }
    for group in _neighbours(live, [parts.size_bytes(part) for part in live]):  # oldest first: see above
        # A part rewritten alone keeps its name. Its chunks are replaced a moment before its tracks,
        # which is safe: the rows that vanish are those nobody looks up.
        replaced_rows = any(parts.num_rows(part) > len(counting_ids[part]) for part in group)
        if len(group) > 1 or replaced_rows:
            tables: dict[Kind, pa.Table] = {
                kind: pa.concat_tables([_only(parts.read(kind, part), counting_ids[part]) for part in group])
                for kind in parts.kinds
            }
            parts.write(Part(group[0].first, group[-1].last), tables)


def _only(table: pa.Table, track_ids: pa.Array) -> pa.Table:
    return table.filter(pc.is_in(table["track_id"], value_set=track_ids))


def _neighbours(live: Sequence[Part], sizes: Sequence[int]) -> Iterator[list[Part]]:
    """Runs of parts that are to become one, and large parts by themselves."""
    group: list[Part] = []
    total = 0
    for part, size in zip(live, sizes, strict=True):
        if group and max(total, size) >= _LARGE_BYTES:
            yield group
            group, total = [], 0
        group.append(part)
        total += size
    if group:
        yield group
