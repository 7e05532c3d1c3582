"""The experiment: sources x blocks measured, cut into strata, scored with intervals and nulls, compared, put in words.

sources + blocks --measure, kept in OUT/parts--> items and nulls --strata--> scores --compare, decide--> a sentence

Conventions
-----------
* A clip that failed in any source is left out of all, with its pairs, and is counted.
* A stratum takes its factors from all blocks: one matrix, the slots being the same.
* All sources are measured with all nulls, native tokens with fewer draws: there are many of them. What is turned inside
  its slots needs no rotations.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import m2l2_mir
from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.cautions import dead_slot_notes, dependence_notes, moved_notes
from m2l2_mir.disentangle.compare import Arm
from m2l2_mir.disentangle.decision import describe
from m2l2_mir.disentangle.lines import (
    LEAST_FACTORS,
    Stratum,
    arm_of,
    cell_lines,
    factor_lines,
    score_lines,
    strata_of_blocks,
)
from m2l2_mir.disentangle.measure import Measured, measure
from m2l2_mir.disentangle.nulls import NULLS, Nulls
from m2l2_mir.disentangle.sources import Source
from m2l2_mir.disentangle.strata_comparison import compare_strata
from m2l2_mir.errors import InputError

__all__ = ["FORMAT", "Analysis", "run_analysis"]

FORMAT = 4
FOLDS = 5
NATIVE_NULLS = Nulls(rotations=20, permutations=50)  # at most, of sources of a hundred slots and more


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What is analysed.

    Parameters
    ----------
    blocks
        Clips and factors.
    first, second
        Models of the two arms, paired by seed; one arm alone is described, not compared.
    bases
        Time bases of the models of the second arm, by name of the basis, in the order of `second`.
    controls
        Shown beside the first model.
    inside
        The first model turned inside its slots; None: not made.
    nulls
        Draws of each null.
    controllable
        From cells to whether decoder swaps of the first model move what they should; None: not tried.
    notes
        What has to be said with the results.
    """

    blocks: Sequence[Block]
    first: Sequence[Source]
    second: Sequence[Source] = ()
    bases: Mapping[str, Sequence[Source]]
    controls: Sequence[Source] = ()
    inside: Source | None = None
    nulls: Nulls = NULLS
    controllable: Callable[[Sequence[Mapping[str, Any]]], bool | None] = lambda _: None
    notes: tuple[str, ...] = ()

    @property
    def sources(self) -> list[Source]:
        return [*self.first, *self.second, *(one for many in self.bases.values() for one in many), *self.controls]


def run_analysis(
    analysis: Analysis, parts: Path, *, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Measure what is not there yet, score, compare, and say what was found.

    Parameters
    ----------
    analysis
        Names of sources are unique.
    parts
        Folder of finished measurements; made if need be.
    progress
        Called with the number of measurements done and of all.

    Returns
    -------
    dict
        ``rows``, ``factors``, ``scores`` (a line for each row, stratum and score), ``cells`` (a line for each row, slot
        and factor), ``comparison`` (or None), ``sentence``, ``decision``, ``settings``, ``notes``, ``counts``.

    Raises
    ------
    InputError
        Names repeat, widths of arms differ, or no clips are left.
    """
    failed = _failures(analysis.sources)
    blocks = [block.without(set(failed)) for block in analysis.blocks]
    held = _measure_all(analysis, blocks, parts, progress)
    strata = strata_of_blocks(blocks)
    if not strata:
        raise InputError("fewer than two factors: which slot tells of which is a question of several; give more labels")
    arms = {
        (name, stratum): arm_of(measured, chosen)
        for name, measured in held.items()
        for stratum, chosen in strata.items()
    }
    sources = analysis.sources
    scores = [
        line
        for source in sources
        for stratum in strata
        for line in score_lines(source.name, stratum, arms[source.name, stratum])
    ]
    found: dict[str, Any] = {
        "format": FORMAT,
        "model": analysis.first[0].name,
        "rows": [
            {"name": one.name, "kind": one.kind, "about": one.about, "shape": list(one.shape), "trained": one.trained}
            for one in sources
        ],
        "factors": _listed_factors(blocks),
        "scores": scores,
        "cells": [line for source in sources for line in cell_lines(source.name, held[source.name], blocks)],
        "told": [line for source in sources for line in factor_lines(source.name, held[source.name])],
        "counts": _counts(analysis.blocks, blocks),
        "failed": [{"track_id": track, "reason": reason} for track, reason in sorted(failed.items())],
        "notes": _notes(analysis, blocks, held),
        "settings": _settings(analysis, blocks),
        "inside": None if analysis.inside is None else _moved(analysis, arms, strata),
        "comparison": None,
    }
    primary = "global" if "global" in strata else next(iter(strata))
    if analysis.second:
        found |= compare_strata(
            [source.name for source in analysis.first],
            [source.name for source in analysis.second],
            {name: [source.name for source in many] for name, many in analysis.bases.items()},
            arms,
            list(strata),
            primary,
            scores,
            analysis.controllable(found["cells"]),
        )
    else:
        found |= {"decision": None, "sentence": describe(found, primary)}
    return found


# Measuring


def _failures(sources: Sequence[Source]) -> dict[str, str]:
    """Clips that failed in any source, with the reason; an InputError where two sources have one name."""
    names = [source.name for source in sources]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"models have the same name: {', '.join(twice)}; name files or folders differently")
    failed: dict[str, str] = {}
    for source in sources:
        failed |= source.failed
    return failed


def _measure_all(
    analysis: Analysis, blocks: Sequence[Block], parts: Path, progress: Callable[[int, int], None] | None
) -> dict[str, list[Measured]]:
    """Every source on every block, by name of the source."""
    wanted = [
        (source, block, analysis.nulls.at_most(NATIVE_NULLS) if source.kind == "native" else analysis.nulls)
        for source in analysis.sources
        for block in blocks
    ]
    if analysis.inside is not None:
        few = Nulls(rotations=0, permutations=analysis.nulls.permutations, seed=analysis.nulls.seed)
        wanted += [(analysis.inside, block, few) for block in blocks]
    parts.mkdir(parents=True, exist_ok=True)
    held: dict[str, list[Measured]] = {}
    for done, (source, block, nulls) in enumerate(wanted):
        if progress is not None:
            progress(done, len(wanted))
        held.setdefault(source.name, []).append(_part(source, block, nulls, parts))
    if progress is not None:
        progress(len(wanted), len(wanted))
    return held


def _part(source: Source, block: Block, nulls: Nulls, parts: Path) -> Measured:
    """One measurement, taken from the folder if it is there."""
    of = {
        "format": FORMAT,
        "source": source.identity,
        "slots": source.digest([*block.track_ids, *block.pairs["before"], *block.pairs["after"]]),
        "name": source.name,
        "clips": block.track_ids,
        "factors": block.factors.tolist(),
        "groups": block.groups,
        "schema": [repr(factor) for factor in block.schema],
        "pairs": block.pairs.to_dict("list"),
        "nulls": [nulls.rotations, nulls.permutations, nulls.seed],
        "folds": FOLDS,
        "version": m2l2_mir.__version__,
    }
    digest = hashlib.sha256(json.dumps(of, sort_keys=True, default=str).encode()).hexdigest()[:20]
    path = parts / f"{digest}.npz"
    if not path.is_file():
        measure(block, source.slots_of, nulls=nulls, folds=FOLDS).save(path)
    return Measured.load(path)


def _moved(analysis: Analysis, arms: Mapping[tuple[str, str], Arm], strata: Mapping[str, Stratum]) -> dict[str, float]:
    """How far D moves when slots are turned inside themselves: nothing but rounding is right."""
    inside = analysis.inside
    if inside is None:
        return {}
    moved = {}
    for what in ("P1 D", "P2 D"):
        differences = []
        for stratum in strata:
            one, other = (arms[name, stratum].evidence(what) for name in (analysis.first[0].name, inside.name))
            if len(one.names) >= LEAST_FACTORS:
                differences.append(abs(float(one.scores()["D"] - other.scores()["D"])))
        if differences:
            moved[what] = max(differences)
    return moved


# What is told of it


def _listed_factors(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    return [
        {
            "name": factor.name,
            "stratum": stratum,
            "block": block.name,
            "kind": factor.kind,
            "values": list(values),
            "pairs": int((block.pairs["changed"] == factor.name).sum()),
        }
        for block in blocks
        for factor, stratum, values in zip(block.schema, block.strata, block.values, strict=True)
    ]


def _counts(given: Sequence[Block], kept: Sequence[Block]) -> dict[str, dict[str, int]]:
    """Clips and pairs that were scored, of how many."""
    return {
        block.name: {
            "clips": len(block.track_ids),
            "expected": len(whole.track_ids),
            "pairs": len(block.pairs),
            "expected_pairs": len(whole.pairs),
            "groups": len(set(block.groups)),
        }
        for whole, block in zip(given, kept, strict=True)
    }


def _notes(analysis: Analysis, blocks: Sequence[Block], held: Mapping[str, Sequence[Measured]]) -> list[str]:
    dead = (
        note
        for source in (*analysis.first, *analysis.second)
        for note in dead_slot_notes(source.name, held[source.name])
    )
    return [
        *analysis.notes,
        *moved_notes(held[analysis.first[0].name], blocks),
        *dependence_notes(blocks),
        *dead,
    ]


def _settings(analysis: Analysis, blocks: Sequence[Block]) -> dict[str, Any]:
    packages = ("m2l2-mir", "numpy", "scipy", "scikit-learn")
    return {
        "sources": {source.name: source.identity for source in analysis.sources},
        "blocks": {block.name: hashlib.sha256("\n".join(block.all_ids).encode()).hexdigest()[:12] for block in blocks},
        "rotations": analysis.nulls.rotations,
        "permutations": analysis.nulls.permutations,
        "folds": FOLDS,
        "versions": {name: version(name) for name in packages},
    }
