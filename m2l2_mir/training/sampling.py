"""Which crops a step of training hears: a pure function of the seed and the numbers of its samples.

Conventions
-----------
* Sample number ``i`` hears the same crop whatever batch, process, device or run it is in: its random numbers come from
  the counter-based generator Philox with the key (seed, i). Each use has a stream of its own, so that one more
  random number here changes nothing there.
* A collection group is drawn by the weights of the mix; within the group every position at which a crop fits has the
  same chance. Pieces shorter than a crop are never heard.
* A crop whose RMS is below :data:`QUIET_RMS` is drawn anew; of :data:`ATTEMPTS` such crops the loudest is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
import torch
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.training.corpus import BLOCK, Corpus, matching
from m2l2_mir.training.decoding import FULL_SCALE

__all__ = ["ATTEMPTS", "QUIET_RMS", "Sampler", "applicable", "gather", "uniforms"]

QUIET_RMS = 0.001
ATTEMPTS = 8
_UNIT = 2**36  # of energy: fine enough for the quietest block, and a thousand hours still fit into 64 bits


def uniforms(seed: int, sample_ids: Sequence[int] | NDArray[np.int64], stream: int, width: int) -> NDArray[np.float64]:
    """Draw numbers in [0, 1) for each sample.

    Parameters
    ----------
    seed
        Of the run, 0 or above.
    sample_ids
        Numbers of the samples, 0 or above.
    stream
        What they are for.
    width
        How many for each sample; the first ones do not depend on it.

    Returns
    -------
    np.ndarray [len(sample_ids), width]

    Examples
    --------
    >>> bool((uniforms(0, [5, 6], 0, 2)[1] == uniforms(0, [6], 0, 2)[0]).all())
    True
    """
    if seed < 0 or (len(sample_ids) and min(sample_ids) < 0):
        raise InputError(f"seed {seed} and sample numbers must be 0 or above")
    drawn = np.empty((len(sample_ids), width))
    for row, sample in zip(drawn, sample_ids, strict=True):
        # the counter's highest word tells the streams apart: none ever runs into another one
        bits = np.random.Philox(key=[seed, int(sample)], counter=[0, 0, 0, stream])
        np.random.Generator(bits).random(out=row)
    return drawn


class Sampler:
    """Draws the positions of crops in a corpus.

    Parameters
    ----------
    corpus
        What may be heard.
    samples
        Length of a crop in frames.
    seed
        Of the run.
    mix
        Share of each group of collections, by shell pattern: ``{"renders": 0.4, "*": 0.6}``; a collection belongs to
        the first pattern that matches. None: one group, so that each hour has the same weight.

    Raises
    ------
    InputError
        No piece of a group is as long as a crop, a collection is in no group, or a share is not above 0.
    """

    def __init__(self, corpus: Corpus, samples: int, seed: int, mix: Mapping[str, float] | None = None) -> None:
        self.corpus, self.samples, self.seed = corpus, samples, seed
        if samples < 1:
            raise InputError(f"samples is {samples}; a crop has at least 1")
        # in integers, so that sums are exact
        quantised = np.rint(np.asarray(corpus.levels, np.float64) * _UNIT).astype(np.int64)
        self._energy = np.concatenate([[0], np.cumsum(quantised)])
        self._first: list[NDArray[np.int64]] = []  # of each group: where its pieces begin
        self._reach: list[NDArray[np.int64]] = []  # and, summed up, at how many positions a crop fits
        shares = []
        for pattern, share, collections in _groups(corpus, mix or {"*": 1.0}):
            pieces = corpus.pieces[corpus.pieces["collection"].isin(collections)]
            pieces = pieces[pieces["samples"] >= samples]
            if not len(pieces):
                raise InputError(f"no piece of {pattern!r} is as long as a crop of {samples} samples; add longer ones")
            self._first.append(pieces["start"].to_numpy(np.int64))
            self._reach.append(np.concatenate([[0], np.cumsum(pieces["samples"].to_numpy(np.int64) - samples + 1)]))
            shares.append(share)
        self._shares = np.cumsum(shares) / np.sum(shares)

    def starts(self, sample_ids: Sequence[int], *, stream: int = 0) -> NDArray[np.int64]:
        """Draw where the crop of each sample begins.

        Parameters
        ----------
        sample_ids
            Numbers of the samples.
        stream
            Another stream gives other, independent crops for the same samples.

        Returns
        -------
        np.ndarray [len(sample_ids)]
            Frames from the beginning of the corpus' audio.
        """
        drawn = uniforms(self.seed, sample_ids, stream, 1 + ATTEMPTS)
        groups = np.searchsorted(self._shares, drawn[:, 0], side="right").clip(max=len(self._shares) - 1)
        found = np.empty((len(drawn), ATTEMPTS), np.int64)
        for group, (first, reach) in enumerate(zip(self._first, self._reach, strict=True)):
            members = groups == group
            position = np.minimum((drawn[members, 1:] * reach[-1]).astype(np.int64), reach[-1] - 1)
            piece = np.searchsorted(reach, position, side="right") - 1
            found[members] = first[piece] + position - reach[piece]
        # blocks inside the crop, or, if it is too short to be sure of any, all that it touches
        inner = BLOCK - 1 if self.samples >= 2 * BLOCK else 0
        last = (found + self.samples + BLOCK - 1 - inner) // BLOCK
        energy = self._energy[last] - self._energy[(found + inner) // BLOCK]
        loud = energy * BLOCK >= QUIET_RMS**2 * _UNIT * self.samples
        # the first attempt that is loud enough; argmax gives the first of several maxima
        chosen = np.where(loud.any(axis=1), loud.argmax(axis=1), energy.argmax(axis=1))
        return found[np.arange(len(found)), chosen]


def applicable(mix: Mapping[str, float], corpus: Corpus) -> dict[str, float]:
    """The groups of a mix that the corpus has collections of; theirs is the share of the others too.

    A mix of which nothing is left is given back as it is, for :class:`Sampler` to refuse.
    """
    left = corpus.pieces["collection"].unique().tolist()
    found = {}
    for pattern, share in mix.items():
        rest = [name for name in left if not fnmatchcase(name, pattern)]
        if len(rest) < len(left):
            found[pattern] = share
        left = rest
    return found or dict(mix)


def gather(
    audio: NDArray[np.int16] | torch.Tensor, starts: NDArray[np.int64], samples: int, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Read crops from the audio of a corpus.

    Parameters
    ----------
    audio : array or tensor [frames, channels]
        int16: the mapped file, or a tensor that lies on a device, where it is then read.
    starts : np.ndarray [count]
        First frame of each crop.
    samples
        Length of a crop in frames.
    device
        Where the crops are wanted.

    Returns
    -------
    torch.Tensor [count, channels, samples]
        float32, full scale at -1 and 1.
    """
    if isinstance(audio, torch.Tensor) and audio.device.type != "cpu":
        positions = torch.from_numpy(starts).to(audio.device)[:, None] + torch.arange(samples, device=audio.device)
        crops = audio[positions]
    else:
        # plain copies: on a CPU ten times as fast as an array of indices
        crops = torch.empty((len(starts), samples, audio.shape[1]), dtype=torch.int16)
        for crop, start in zip(crops, starts.tolist(), strict=True):
            crop.copy_(torch.as_tensor(np.array(audio[start : start + samples])))
    return crops.to(device).transpose(1, 2).float().div_(FULL_SCALE)


def _groups(corpus: Corpus, mix: Mapping[str, float]) -> list[tuple[str, float, list[str]]]:
    left = corpus.pieces["collection"].unique().tolist()
    groups = []
    for pattern, share in mix.items():
        if not share > 0:
            raise InputError(f"the share of {pattern!r} is {share}; it must be above 0, or leave it out")
        found = matching(pattern, left)
        left = [name for name in left if name not in found]
        groups.append((pattern, share, found))
    if left:
        raise InputError(f"the mix says nothing of {', '.join(left)}; add '*' for the rest, or hold them out")
    return groups
