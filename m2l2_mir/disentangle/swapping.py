"""Decoder swaps of a model on rendered clips: who is host and donor, what estimators are worth there, what follows.

clips --draw--> pairs whose attributes differ --intervene--> T[slot, attribute] --beside slot scores--> controllable?

Conventions
-----------
* A clip of n chunks is its first n; what is left over, an overlap, is not decoded.
* Clips of eight chunks take eight times as long to decode; of them there are fewer pairs, seeds and null swaps.
* Controllable: of each attribute the one slot counts that tells most of its factor by slot scores (P1), so that no slot
  is chosen by what its swap does. T of these, averaged over attributes, is above 0 with its 95 % interval over groups
  of hosts. Attributes whose estimator follows the factor on plain reconstructions by less than :data:`AGREEMENT` are
  left out; with none left the question stays open.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray

import m2l2_mir
from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.disentangle.attributes import ESTIMATORS, Estimator, calibrate
from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.intervention import LEAST_PAIRS, Context, Decode, Swaps, intervene
from m2l2_mir.disentangle.sources import Source
from m2l2_mir.durable import write_json
from m2l2_mir.errors import InputError
from m2l2_mir.probe.results import plain
from m2l2_mir.probe.statistics import cluster_bootstrap

__all__ = ["AGREEMENT", "PLANS", "SwapPlan", "controllable", "swap_slots", "swaps_of"]

AGREEMENT = 0.5  # of an estimator with its factor, on plain reconstructions
REFERENCE = 1000  # clips that the null is whitened on, at most

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SwapPlan:
    """Swaps of one length of clips, behind one context."""

    chunks: int
    pairs: int
    seeds: int
    null_swaps: int
    context: Context = "none"


_FEW = (SwapPlan(chunks=1, pairs=8, seeds=2, null_swaps=4),)

PLANS = {
    "tour": _FEW,
    "quick": _FEW,
    "default": (
        SwapPlan(chunks=1, pairs=24, seeds=5, null_swaps=8),
        SwapPlan(chunks=8, pairs=8, seeds=2, null_swaps=4),
    ),
    "full": (
        SwapPlan(chunks=1, pairs=48, seeds=5, null_swaps=8),
        SwapPlan(chunks=1, pairs=24, seeds=2, null_swaps=4, context="host"),
        SwapPlan(chunks=1, pairs=24, seeds=2, null_swaps=4, context="donor"),
        SwapPlan(chunks=8, pairs=16, seeds=2, null_swaps=4),
    ),
}


def swap_slots(
    decode: Decode,
    sample_rate: int,
    source: Source,
    dataset: Dataset,
    blocks: Sequence[Block],
    parts: Path,
    *,
    plans: Sequence[SwapPlan],
    estimators: Mapping[str, Estimator] = ESTIMATORS,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Swap slots between rendered clips; of each plan what :func:`~m2l2_mir.disentangle.intervention.intervene` finds.

    Parameters
    ----------
    decode, sample_rate
        Of the model that embedded `source`; Hz.
    source
        With a store that kept chunks.
    dataset, blocks
        Rendered clips, and their factors; a block of clips of as many chunks as a plan says.
    parts
        Folder of finished plans; made if need be.
    plans
        What is swapped; a plan without an estimator for any factor of its clips is left out.
    estimators
        By name of the attribute.
    progress
        Called with the number of pairs done and of all.

    Returns
    -------
    list of dict
        For each plan besides ``block``, ``chunks``, ``context``, ``seeds``, ``null_swaps``, ``pairs`` (a line each:
        ``host``, ``donor``, ``group``) and ``calibration`` (a line for each attribute: ``factor``, ``renders`` and
        ``reconstructions``, agreement of the estimator with the truth, and ``found``, share of reconstructions with a
        value). Lists in place of arrays, None in place of nan.
    """
    if source.store is None:
        raise InputError(f"{source.name} has no chunks to decode")
    lengths = dataset.tracks.set_index("track_id")["chunks"]
    of_length = {int(lengths[block.track_ids[0]]): block.without(set(source.failed)) for block in blocks}
    parts.mkdir(parents=True, exist_ok=True)
    found, before, total = [], 0, sum(plan.pairs for plan in plans)
    for plan in plans:
        block = of_length[plan.chunks]
        chosen = {name: one for name, one in estimators.items() if one.factor in block.names}
        if chosen:
            done = before

            def count(pair: int, _: int, done: int = done) -> None:
                if progress is not None:
                    progress(done + pair, total)

            found.append(_planned(decode, sample_rate, source, dataset, block, parts, plan, chosen, count))
        before += plan.pairs
    return found


def controllable(
    swaps: Sequence[Mapping[str, Any]], cells: Sequence[Mapping[str, Any]], row: str
) -> dict[str, Any] | None:
    """Whether swapping the slot that tells most of an attribute moves it more than null swaps do.

    Parameters
    ----------
    swaps
        Of :func:`swap_slots`; those behind a context are not counted.
    cells
        Of :func:`~m2l2_mir.disentangle.experiment.run_analysis`.
    row
        The model's name in them.

    Returns
    -------
    dict
        ``controllable``, ``estimate`` (mean T), ``low``, ``high``, ``pairs``, and ``slots``, of each attribute the slot
        that was asked, from 1. None where no attribute can be measured.
    """
    told = pd.DataFrame([line for line in cells if line["row"] == row])
    told = told.pivot(index="slot", columns="factor", values="information")
    means, groups, slots = [], [], {}
    for one in swaps:
        if one["context"] != "none":
            continue
        places = []
        for place, (name, line, counted) in enumerate(
            zip(one["attributes"], one["calibration"], one["counted"], strict=True)
        ):
            if counted >= LEAST_PAIRS and (line["reconstructions"] or 0) >= AGREEMENT:
                slots[name] = int(told[line["factor"]].idxmax())
                places.append((slots[name] - 1, place))
        difference = np.array(one["difference"], dtype=np.float64)
        for pair, line in zip(difference, one["pairs"], strict=True):
            values = [pair[at] for at in places if np.isfinite(pair[at])]
            if values:
                means.append(float(np.mean(values)))
                groups.append(line["group"])
    if len(set(groups)) < 2:
        return None
    interval = cluster_bootstrap(means, groups, draws=2000)
    return {
        "controllable": bool(interval.low > 0),
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "pairs": len(means),
        "slots": slots,
    }


def _planned(
    decode: Decode,
    sample_rate: int,
    source: Source,
    dataset: Dataset,
    block: Block,
    parts: Path,
    plan: SwapPlan,
    estimators: Mapping[str, Estimator],
    count: Callable[[int, int], None],
) -> dict[str, Any]:
    """One plan, taken from the folder if it is there."""
    of = [m2l2_mir.__version__, source.identity, block.track_ids, repr(plan), sorted(estimators)]
    digest = hashlib.sha256(json.dumps(of, default=str).encode()).hexdigest()[:20]
    path = parts / f"{digest}.json"
    if not path.is_file():
        pairs = _drawn_pairs(block, [one.factor for one in estimators.values()], plan.pairs)
        swaps = swaps_of(source, block, pairs, plan.chunks)
        found = intervene(
            decode,
            swaps,
            sample_rate,
            context=plan.context,
            seeds=range(plan.seeds),
            null_swaps=plan.null_swaps,
            estimators=estimators,
            progress=count,
        )
        calibration = _calibration(dataset, block, pairs, found.pop("plain"), estimators)
        lists = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}
        beside = {
            "block": block.name,
            "chunks": plan.chunks,
            "context": plan.context,
            "seeds": plan.seeds,
            "null_swaps": plan.null_swaps,
            "pairs": pairs.to_dict("records"),
            "calibration": calibration,
        }
        write_json(path, plain({**beside, **lists}))
    kept: dict[str, Any] = json.loads(path.read_bytes())
    return kept


def _drawn_pairs(block: Block, factors: Sequence[str], number: int) -> pd.DataFrame:
    """Hosts, and donors of other groups that differ from them in as many of the factors as any clip does."""
    rng = np.random.default_rng(0)
    values = block.codes.loc[block.track_ids, list(factors)].to_numpy()
    groups = np.array(block.groups)
    hosts = rng.permutation(len(values))[:number]
    donors = []
    for host in hosts:
        differ = (values != values[host]).sum(axis=1) * (groups != groups[host])
        donors.append(rng.choice(np.flatnonzero(differ == differ.max())))
    ids = np.array(block.track_ids)
    return pd.DataFrame({"host": ids[hosts], "donor": ids[donors], "group": groups[hosts]})


def swaps_of(source: Source, block: Block, pairs: pd.DataFrame, chunks: int) -> Swaps:
    """Chunks of hosts and donors, and of clips that the null is whitened on."""
    store = source.store
    if store is None:  # swap_slots has looked
        raise InputError(f"{source.name} has no chunks to decode")

    def embeddings(tracks: Sequence[str]) -> Floats:
        return np.stack([store.chunks(track)[:chunks] for track in tracks]).astype(np.float64)

    step = max(1, len(block.track_ids) // REFERENCE)
    reference = embeddings(block.track_ids[::step])
    return Swaps(
        hosts=embeddings(pairs["host"].tolist()),
        donors=embeddings(pairs["donor"].tolist()),
        reference=reference.reshape(-1, *reference.shape[2:]),
        groups=pairs["group"].tolist(),
    )


def _calibration(
    dataset: Dataset, block: Block, pairs: pd.DataFrame, heard: Floats, estimators: Mapping[str, Estimator]
) -> list[dict[str, Any]]:
    """How estimators follow the truth on renders, and on plain reconstructions [2, pairs, F]."""
    tracks = [*pairs["host"], *pairs["donor"]]
    paths = dataset.tracks.set_index("track_id")["path"]
    renders = []
    for track in tracks:
        samples, sample_rate = soundfile.read(str(paths[track]), always_2d=True)
        renders.append([one.measure(samples.mean(axis=1), sample_rate) for one in estimators.values()])
    lines = []
    for place, (name, one) in enumerate(estimators.items()):
        truth = block.codes.loc[tracks, one.factor].to_numpy(dtype=np.float64)
        decoded = calibrate(heard[:, :, place].ravel(), truth, one)
        lines.append(
            {
                "attribute": name,
                "factor": one.factor,
                "renders": calibrate(np.array(renders)[:, place], truth, one)["agreement"],
                "reconstructions": decoded["agreement"],
                "found": decoded["found"],
            }
        )
    return lines
