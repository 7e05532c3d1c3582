"""Attributes of an index's tracks: what a probe reads from their embeddings, and loading fitted ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError, StoreError
from m2l2_mir.index.sources import model_name
from m2l2_mir.probe.fitted import CARD, FittedProbe

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex

__all__ = ["LESS", "MORE", "Attribute", "Probe", "directions_of", "load_attributes", "predictions_of"]


# What may be wished of a number
MORE = ("more", "faster", "higher")
LESS = ("less", "slower", "lower")


class Probe(Protocol):
    """A saved read-out, such as :class:`m2l2_mir.probe.fitted.FittedProbe`."""

    def directions(self) -> NDArray[np.float64]:
        """Orthonormal basis [r, K*d] of what it reads, in the coordinates of the embedding."""

    def predict(self, embeddings: NDArray[np.float32]) -> NDArray[Any]:
        """Estimates [n], numbers or classes, for embeddings [n, K, d]."""


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """A probe under the name that a wish calls it by."""

    name: str
    probe: Probe


def load_attributes(index: SimilarityIndex, places: Sequence[str | os.PathLike[str]]) -> list[Attribute]:
    """Load fitted probes for steering.

    Parameters
    ----------
    index : SimilarityIndex
    places : sequence of path
        Folders of fitted probes, or of results of ``m2l2 probe run``, of which all linear read-outs of the index's
        model are taken, one for each probe.

    Raises
    ------
    InputError
        A folder holds no probe that fits.
    StoreError
        A probe that is named itself was fitted on another model's embeddings.
    CheckpointError
        A probe cannot be read.
    """
    found: dict[str, Attribute] = {}
    for place in places:
        folder = Path(place)
        if (folder / CARD).is_file():
            probe = FittedProbe.load(folder)
            if (why := _unfit(index, probe)) is not None:
                raise StoreError(f"{folder}: {why}")
            found[probe.facts.probe] = Attribute(name=probe.facts.probe, probe=probe)
            continue
        cards = sorted(folder.rglob(f"fitted/*/{CARD}"))
        reasons = []
        for card in cards:
            probe = FittedProbe.load(card.parent)
            why = _unfit(index, probe)
            if why is None:
                found.setdefault(probe.facts.probe, Attribute(name=probe.facts.probe, probe=probe))
            else:
                reasons.append(f"{card.parent.name}: {why}")
        if len(reasons) == len(cards):
            why = reasons[0] if reasons else "no fitted probes at all"
            raise InputError(
                f"{folder} holds no probe that fits the index ({why}): "
                "fit one with m2l2 probe run NAME --model the index's --readout linear"
            )
    return list(found.values())


def directions_of(index: SimilarityIndex, attribute: Attribute) -> NDArray[np.float64]:
    """Orthonormal basis [r, width] of what an attribute's probe reads.

    Raises
    ------
    InputError
        The probe reads embeddings of another width, or nothing.
    """
    basis = np.asarray(attribute.probe.directions(), np.float64)
    if basis.ndim != 2 or basis.shape[1] != index.width:
        raise InputError(
            f"the probe for {attribute.name} reads {basis.shape[-1]} numbers, the index holds {index.width}: take a "
            "probe of the same model and pooling"
        )
    if not len(basis):
        raise InputError(f"the probe for {attribute.name} says the same of all tracks: there is nothing to steer by")
    return basis


def predictions_of(index: SimilarityIndex, attribute: Attribute, vectors: NDArray[np.floating]) -> NDArray[Any]:
    """What an attribute's probe estimates for embeddings [n, width]."""
    shaped = np.zeros((max(len(vectors), 1), index.width), np.float32)  # of none the kind of estimate is known too
    shaped[: len(vectors)] = vectors
    return np.asarray(attribute.probe.predict(shaped.reshape(len(shaped), index.slots, -1)))[: len(vectors)]


def _unfit(index: SimilarityIndex, probe: FittedProbe) -> str | None:
    """Why a probe cannot steer in this index; None if it can."""
    settings = index.provenance.get("settings")
    space = probe.space
    if settings is None:
        return "the index was made from plain vectors, so nobody knows whether the probe reads them"
    if space.weights_sha256 != settings.get("weights_sha256"):
        return f"the probe reads {space.name}, the index holds {model_name(settings)}"
    if (space.features, space.pooling) != (settings.get("features"), index.about["pooling"]):
        return (
            f"the probe reads {space.features}, {space.pooling}; the index holds {settings.get('features')}, "
            f"{index.about['pooling']}"
        )
    return "a network has no few directions: fit it with --readout linear" if len(probe.layers) > 1 else None
