"""What a run was begun with: the stages before it, each with its recipe, its data and its hours.

A stage is a part of a run's history (:mod:`m2l2_mir.training.state`): ``recipe``, ``data``, ``stretches``, and the
``weights`` that it ended with. It travels in the metadata of the weights and in the history of the run that begins with
them, so that a model card can tell the whole story wherever it is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from m2l2_mir.errors import CheckpointError
from m2l2_mir.model.checkpoint import checkpoint_path, read_metadata
from m2l2_mir.training.licensing import weights_licence
from m2l2_mir.training.state import HISTORY, read_history

__all__ = ["STAGES", "collections_of", "device_hours", "earlier_stages", "heard_shares", "stages_of", "story"]

STAGES = "stages"  # key of the metadata
_KEPT = ("recipe", "data", "stretches")


def earlier_stages(weights: str) -> list[dict[str, Any]]:
    """Stages that led to weights, the last one ending with them.

    Read from the run's folder that they lie in, or from their metadata; a stage that neither knows has the note on
    their training, nothing else. Untrained weights have none.

    Raises
    ------
    CheckpointError
        The weights cannot be read.
    """
    if weights.startswith("random:"):
        return []
    path = checkpoint_path(weights)
    if (path.parent / HISTORY).is_file():
        return stages_of(read_history(path.parent), path)
    metadata = read_metadata(path)
    if STAGES not in metadata:
        return [{"weights": _short(path), "note": metadata.get("training", "")}]
    try:
        found: list[dict[str, Any]] = json.loads(metadata[STAGES])
    except ValueError as error:
        raise CheckpointError(f"{path} tells its stages in no readable form ({error}); convert it again") from error
    return found


def stages_of(history: Mapping[str, Any], weights: Path | None = None) -> list[dict[str, Any]]:
    """All stages of a run, itself last, ending with `weights` in its folder."""
    own = {key: history[key] for key in _KEPT} | ({} if weights is None else {"weights": _short(weights)})
    return [*history.get("earlier", []), own]


def story(stages: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What weights state about themselves in their metadata: licence, data, stages."""
    collections = collections_of(stages)
    hours = sum(facts.get("hours", 0.0) for facts in collections.values())
    return {
        "licence": weights_licence(collections).text,
        "data": f"{hours:.1f} h: {', '.join(collections)}",
        STAGES: json.dumps(stages),
    }


def collections_of(stages: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every collection that any of the stages heard; a stage that does not tell stands as one of unknown licence."""
    found: dict[str, dict[str, Any]] = {}
    for stage in stages:
        heard = stage.get("data", {}).get("collections")
        found |= heard if heard else {f"what {stage.get('weights', 'it')} heard": {"licences": ["unknown"]}}
    return found


def device_hours(stretches: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Hours by kind of device: those of each core on a CPU where the threads are known, of each GPU.

    >>> device_hours([{"device": "CPU", "threads": 2, "seconds": 1800}, {"device": "2 x H100", "seconds": 900}])
    {'CPU core': 1.0, 'H100': 0.5}
    """
    found: dict[str, float] = {}
    for stretch in stretches:
        many = re.fullmatch(r"(\d+) x (.*)", stretch["device"])
        count, kind = (int(many[1]), many[2]) if many else (1, stretch["device"])
        if "threads" in stretch:
            count, kind = count * stretch["threads"], f"{kind} core"
        found[kind] = found.get(kind, 0.0) + count * stretch["seconds"] / 3600
    return found


def heard_shares(collections: Mapping[str, Mapping[str, Any]], mix: Mapping[str, float]) -> dict[str, float]:
    """Share of each collection in what is heard: that of its group in the mix, divided by length.

    >>> heard_shares({"a": {"hours": 3.0}, "b": {"hours": 1.0}, "renders": {"hours": 9.0}}, {"renders": 1, "*": 3})
    {'renders': 0.25, 'a': 0.5625, 'b': 0.1875}
    """
    mix = mix or {"*": 1.0}
    left = list(collections)
    found: dict[str, float] = {}
    for pattern, share in mix.items():
        group = [name for name in left if fnmatchcase(name, pattern)]
        left = [name for name in left if name not in group]
        hours = sum(collections[name]["hours"] for name in group)
        found |= {name: share / sum(mix.values()) * collections[name]["hours"] / hours for name in group}
    return found


def _short(path: Path) -> str:
    """Folder and name, without the place where they lie."""
    return "/".join(path.absolute().parts[-2:])
