"""Corpus, sampler and augmentation together: the windows that a training loop asks for by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from m2l2_mir.training.augmentation import Augmentation, augment
from m2l2_mir.training.corpus import Corpus
from m2l2_mir.training.sampling import Sampler, applicable, gather

__all__ = ["CorpusBatches"]

_CROPS, _PARTNERS = 0, 1  # streams of random numbers


class CorpusBatches:
    """Windows of a corpus; sample number i is the same whatever batch, process or kind of device asks for it.

    Parameters
    ----------
    corpus
        What is heard.
    seed
        Of the run.
    augmentation
        What is done to the crops.
    mix
        Shares of groups of collections, see :class:`~m2l2_mir.training.sampling.Sampler`; those of groups that are not
        in the corpus fall to the others.
    resident
        Keep the audio on the device that windows are first asked for on, if that is not the CPU: 2 bytes a frame and
        channel, 320 MB an hour of mono at 44.1 kHz. Otherwise it is read from the mapped file.
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        seed: int,
        augmentation: Augmentation,
        mix: Mapping[str, float] | None = None,
        resident: bool = True,
    ) -> None:
        self.corpus, self.seed, self.augmentation, self.resident = corpus, seed, augmentation, resident
        self.mix = applicable(mix or {}, corpus)
        self._sampler: Sampler | None = None
        self._audio: NDArray[np.int16] | torch.Tensor = corpus.audio

    def batch(self, sample_ids: Sequence[int], samples: int, device: torch.device) -> torch.Tensor:
        """Windows by number.

        Parameters
        ----------
        sample_ids
            Numbers of the samples, 0 or above.
        samples
            Length of a window.
        device
            Where they are made and wanted.

        Returns
        -------
        torch.Tensor [len(sample_ids), channels, samples]
            float32, full scale at -1 and 1, never beyond it.

        Raises
        ------
        InputError
            See :class:`~m2l2_mir.training.sampling.Sampler`.
        """
        length = self.augmentation.crop_samples(samples)
        if self._sampler is None or self._sampler.samples != length:
            self._sampler = Sampler(self.corpus, length, self.seed, self.mix)
        if self.resident and device.type != "cpu" and not isinstance(self._audio, torch.Tensor):
            self._audio = torch.from_numpy(np.array(self.corpus.audio)).to(device)
        parameters = self.augmentation.draw(self.seed, sample_ids)
        crops = gather(self._audio, self._sampler.starts(sample_ids, stream=_CROPS), length, device)
        partners = None
        if mixed := [sample for sample, gain in zip(sample_ids, parameters.mix_gain, strict=True) if gain]:
            starts = self._sampler.starts(mixed, stream=_PARTNERS)
            partners = gather(self._audio, starts, length, device)
        return augment(crops, partners, parameters, samples=samples, sample_rate=self.corpus.sample_rate)

    def describe(self) -> dict[str, Any]:
        """What is heard, with licences, a hash, the mix and the augmentation."""
        pieces = self.corpus.pieces
        collections = {
            str(name): {
                "hours": round(float(rows["samples"].sum()) / self.corpus.sample_rate / 3600, 3),
                "pieces": len(rows),
                "licences": sorted(rows["licence"].unique()),
            }
            for name, rows in pieces.groupby("collection")
        }
        return {
            "corpus": self.corpus.key,
            "collections": collections,
            "mix": self.mix,
            "augmentation": asdict(self.augmentation),
        }
