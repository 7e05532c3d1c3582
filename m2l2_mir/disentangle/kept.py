"""Lines of results kept as files under the digest of all that they come from, so that a later run takes them up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import m2l2_mir
from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.experiment import FORMAT
from m2l2_mir.disentangle.sources import Source
from m2l2_mir.durable import write_json
from m2l2_mir.errors import InputError
from m2l2_mir.probe.results import plain

__all__ = ["kept_lines"]


def kept_lines(
    parts: Path,
    source: Source,
    block: Block,
    what: Sequence[object],
    make: Callable[[], Iterable[Mapping[str, Any]]],
) -> list[dict[str, Any]]:
    """Lines that were made of a source on a block before, or that `make` makes now; nan is None.

    Parameters
    ----------
    parts
        Folder; there already.
    source, block
        Whose slots, labels and groups go into the digest.
    what
        Name of the measurement, and its settings.
    make
        Called if the lines are not there.

    Raises
    ------
    InputError
        The file is damaged.
    """
    of = [
        FORMAT,
        m2l2_mir.__version__,
        what,
        source.name,
        source.identity,
        source.digest(block.track_ids),
        block.track_ids,
        block.factors.tolist(),
        block.groups,
        [repr(factor) for factor in block.schema],
    ]
    digest = hashlib.sha256(json.dumps(of, default=str).encode()).hexdigest()[:20]
    path = parts / f"{digest}.json"
    if not path.is_file():
        write_json(path, {"lines": plain(list(make()))})
    try:
        lines: list[dict[str, Any]] = json.loads(path.read_bytes())["lines"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it and run the command again") from error
    return lines
