"""A fitted probe: a read-out that can be kept, passed on and applied to other music.

embeddings --Space--> vectors --standardise, affine layers--> answer --Task--> key, tempo, pitch or genre

Conventions
-----------
* A linear read-out is one affine layer, the network two with a ReLU between; classes get a logit each, their softmax is
  the probability. So loading needs no class of the library that fitted it, and nothing is unpickled.
* On the disk it is a folder: ``probe.json`` says everything in words and names a ``.safetensors`` file with the
  numbers. The JSON is written last and replaced in one step, so that a crash leaves the old probe or the new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors
from scipy import linalg
from scipy.special import softmax

from m2l2_mir.durable import write_durably, write_json
from m2l2_mir.errors import CheckpointError, InputError, M2L2Error
from m2l2_mir.probe import tempo
from m2l2_mir.probe.confidence import Confidence
from m2l2_mir.probe.facts import Facts
from m2l2_mir.probe.space import Space
from m2l2_mir.recipe import from_mapping

__all__ = ["CARD", "FittedProbe"]

FORMAT = "m2l2-mir/fitted-probe/1"
CARD = "probe.json"

Floats = NDArray[np.float64]
Layers = Sequence[tuple[Floats, Floats]]  # weights [in, out] and offsets [out] of each

_NULL = 1e-9  # singular values below this part of the largest are rounding errors


@dataclass(frozen=True, kw_only=True)
class FittedProbe:
    """A read-out fitted on all tracks of a data set; made by :mod:`m2l2_mir.probe.final_fit`.

    Parameters
    ----------
    facts
        What it is.
    space
        The embeddings that it reads.
    confidence
        From its probabilities to the chance of being right.
    mean, scale : np.ndarray [width]
        Of the vectors that it was fitted on.
    layers
        Affine, of standardised vectors; a ReLU between two. Units of the target, or logits.

    Examples
    --------
    >>> probe = FittedProbe.load("probes/key/fitted/m2l2-small-linear")  # doctest: +SKIP
    >>> probe.predict(store.embeddings("mean"))  # doctest: +SKIP
    array(['A minor', 'C major'], dtype='<U8')
    """

    facts: Facts
    space: Space
    confidence: Confidence
    mean: Floats
    scale: Floats
    layers: Layers

    def __post_init__(self) -> None:
        task, classes = self.facts.task, self.facts.classes
        outputs = 1 if task.regression else len(classes)
        if len(set(classes)) != len(classes) or task.regression == bool(classes):
            raise InputError(f"a {self.facts.readout} read-out cannot have the classes {list(classes)[:5]}")
        if len(self.layers) not in (1, 2):
            raise InputError(f"a fitted probe has one or two layers, not {len(self.layers)}")
        widths = [self.space.width, *(len(offsets) for _, offsets in self.layers)]
        expected: dict[str, tuple[int, ...]] = {"mean": (widths[0],), "scale": (widths[0],)}
        for number in range(len(self.layers)):
            expected |= {f"weights {number}": (widths[number], widths[number + 1])}
        given = {"mean": self.mean, "scale": self.scale}
        given |= {f"weights {number}": weights for number, (weights, _) in enumerate(self.layers)}
        for name, shape in expected.items():
            if given[name].shape != shape:
                raise InputError(f"{name} of a probe of {self.space.width} numbers is {list(given[name].shape)}")
        if widths[-1] != outputs:
            raise InputError(f"there are {widths[-1]} answers for {outputs} classes")
        numbers = [self.mean, self.scale, *(array for layer in self.layers for array in layer)]
        if not all(np.isfinite(array).all() for array in numbers) or (self.scale <= 0).any():
            raise InputError("a number is not finite, or a standard deviation is not above 0")

    @property
    def labels(self) -> list[Any]:
        """Estimates that each class stands for, in the order of :meth:`predict_proba`: bpm of tempi; [] of numbers."""
        if self.facts.metrics == "tempo" and self.facts.classes:
            return tempo.from_bins(self._classes, bins_per_octave=self.facts.bins_per_octave).tolist()
        return list(self.facts.classes)

    def predict(self, embeddings: ArrayLike) -> NDArray[Any]:
        """Estimates [tracks]: keys, genres, MIDI numbers, or tempi in bpm.

        Parameters
        ----------
        embeddings : array-like [tracks, K, d]
            Of the probe's model and pooling (``space``); or vectors [tracks, width] of its view.

        Raises
        ------
        InputError
            Another shape, or NaN or infinity.
        """
        return self.facts.task.estimates(self._answer(embeddings), self._classes)

    def predict_proba(self, embeddings: ArrayLike) -> Floats:
        """Probabilities [tracks, classes] that the read-out gives ``labels``; not calibrated, see :meth:`sure`.

        Raises
        ------
        InputError
            It is a regression, or as in :meth:`predict`.
        """
        if self.facts.task.regression:
            raise InputError(f"the {self.facts.readout} read-out gives numbers, no probabilities; call predict")
        return self._answer(embeddings)

    def sure(self, embeddings: ArrayLike) -> Floats:
        """Chance [tracks] that the estimate is right, by ``facts.score["metric"]`` (:mod:`m2l2_mir.probe.confidence`).

        It holds for music like that of the data set that the probe was fitted on, and for no other.
        """
        answer = self._answer(embeddings)
        if self.facts.task.regression:
            answer = np.full((len(answer), 1), 0.5)
        return self.confidence(answer.max(axis=1))

    def directions(self) -> Floats:
        """Orthonormal basis of what the read-out reads, in the embedding's own coordinates.

        Moving an embedding across all of them changes no probability and no estimate; without its part along them the
        read-out tells nothing apart.

        Returns
        -------
        np.ndarray [r, K*d]
            Embeddings flattened ([r, K*2 d] where ``space.pooling`` is "mean+std"). From the direction that moves the
            logits most to the least; r is at most the number of classes less 1. Of a regression r is 1, and the
            estimate rises along it. r is 0 where the read-out says the same of all tracks.

        Raises
        ------
        InputError
            It is a network, which reads nearly all of the embedding.
        """
        if len(self.layers) > 1:
            raise InputError("a network has no few directions; fit the probe with --readout linear")
        functionals = self.space.back(self.layers[0][0].T / self.scale)
        if not self.facts.task.regression:
            functionals = functionals - functionals.mean(axis=0)  # softmax sees differences of logits only
        left, values, basis = linalg.svd(functionals, full_matrices=False)
        kept = values > _NULL * max(float(values[0]), np.finfo(np.float64).tiny)
        # The sign of a singular vector is free: let the class that it moves most, or the number, rise along it.
        strongest = left[np.abs(left).argmax(axis=0), np.arange(len(values))]
        return (basis * np.sign(strongest)[:, None])[kept]

    def save(self, folder: Path) -> Path:
        """Write the probe, in place of what is in that folder.

        Raises
        ------
        InputError
            The folder cannot be written.
        """
        tensors = {"mean": self.mean, "scale": self.scale}
        for number, (weights, offsets) in enumerate(self.layers):
            tensors |= {f"weights.{number}": weights, f"offsets.{number}": offsets}
        content = save_tensors({name: np.ascontiguousarray(array) for name, array in tensors.items()})
        sha256 = hashlib.sha256(content).hexdigest()
        numbers = f"readout-{sha256[:12]}.safetensors"
        card: dict[str, Any] = {"format": FORMAT, **asdict(self.facts)}
        card |= {"space": asdict(self.space), "confidence": asdict(self.confidence)}
        card |= {"numbers": {"file": numbers, "sha256": sha256}}
        card = json.loads(json.dumps(card))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_durably(folder / numbers, lambda file: file.write(content))
            write_json(folder / CARD, card | {"checksum": _checksum(card)})
            for old in folder.glob("readout-*.safetensors"):
                if old.name != numbers:
                    old.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"cannot write the fitted probe into {folder}: {error.strerror or error}") from error
        return folder

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read what :meth:`save` has written.

        Raises
        ------
        CheckpointError
            It is no fitted probe, damaged, of another version, or its numbers do not fit together.
        """
        place = Path(folder)
        try:
            card = json.loads((place / CARD).read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CheckpointError(
                f"{place} is no fitted probe (no {CARD}); 'm2l2 probe run NAME --out OUT' writes OUT/NAME/fitted/..."
            ) from error
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{place / CARD} cannot be read ({error}); run the probe again") from error
        if not isinstance(card, dict) or card.pop("format", None) != FORMAT:
            raise CheckpointError(f"{place} is no fitted probe that this version can read; run the probe again")
        if card.pop("checksum", None) != _checksum({"format": FORMAT, **card}):
            raise CheckpointError(f"{place / CARD} was changed since it was written; run the probe again")
        try:
            space = from_mapping(Space, card.pop("space"), source="space")
            confidence = from_mapping(Confidence, card.pop("confidence"), source="confidence")
            tensors = _read_numbers(place, card.pop("numbers"))
            layers = [(tensors[f"weights.{one}"], tensors[f"offsets.{one}"]) for one in range((len(tensors) - 2) // 2)]
            facts = from_mapping(Facts, card, source=CARD)
            return cls(
                facts=facts,
                space=space,
                confidence=confidence,
                mean=tensors["mean"],
                scale=tensors["scale"],
                layers=layers,
            )
        except (M2L2Error, KeyError, TypeError, OSError, SafetensorError) as error:
            raise CheckpointError(f"{place} holds no usable probe ({error}); run the probe again") from error

    @cached_property
    def _classes(self) -> NDArray[Any]:
        return np.array(self.facts.classes)

    def _answer(self, embeddings: ArrayLike) -> Floats:
        """Numbers [tracks], or probabilities [tracks, classes]."""
        vectors = self.space.vectors(np.asarray(embeddings))
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            raise InputError(
                f"{np.count_nonzero(~finite)} of {len(vectors)} tracks hold NaN or infinity, first track "
                f"{int(finite.argmin())}; leave them out"
            )
        values = (vectors - self.mean) / self.scale
        for number, (weights, offsets) in enumerate(self.layers):
            values = values @ weights + offsets
            if number < len(self.layers) - 1:
                values = np.maximum(values, 0)
        return values[:, 0] if self.facts.task.regression else softmax(values, axis=1)


def _read_numbers(folder: Path, stated: Mapping[str, str]) -> dict[str, Floats]:
    name = stated["file"]
    if Path(name).name != name:
        raise InputError(f"{name!r} lies outside the folder")
    content = (folder / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != stated["sha256"]:
        raise InputError(f"{name} is damaged: its checksum is not the one written")
    return {key: array.astype(np.float64) for key, array in load_tensors(content).items()}


def _checksum(card: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
