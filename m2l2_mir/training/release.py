"""A checkpoint written anew: smaller, with its licence and its story inside and its model card beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from m2l2_mir.errors import InputError
from m2l2_mir.model.checkpoint import load_model, save_model
from m2l2_mir.training.card import with_sources, write_card
from m2l2_mir.training.recordings import read_collections
from m2l2_mir.training.stages import stages_of, story
from m2l2_mir.training.state import HISTORY, read_history

__all__ = ["release"]


def release(
    weights: Path,
    out: Path,
    *,
    half: bool = False,
    sources: Sequence[Path] = (),
    notes: Sequence[Path] = (),
) -> str:
    """Write a checkpoint anew, and the model card beside it if it lies in a run's folder.

    Parameters
    ----------
    weights
        A ``.safetensors`` checkpoint.
    out
        Where to, ``NAME.safetensors``; the card becomes ``NAME.md``, its curves ``NAME.png``.
    half
        Store float16.
    sources
        Folders of training data whose ``collections.json`` tells where its collections came from, for the card.
    notes
        Files of Markdown that end the card.

    Returns
    -------
    str
        SHA-256 of the file, as ``sha256sum`` gives it.

    Raises
    ------
    InputError
        A name does not end in ``.safetensors``, a note cannot be read, or there is no run to tell more about.
    CheckpointError, CorpusError
        Something cannot be read or written.
    """
    for path in (weights, out):
        if path.suffix != ".safetensors":
            raise InputError(f"{path}: only .safetensors checkpoints can be converted, to .safetensors")
    model = load_model(weights, device="cpu")
    run = weights.parent
    if not (run / HISTORY).is_file():
        if sources or notes:
            raise InputError(f"{run} is no run's folder (no {HISTORY}): there is no card to complete")
        save_model(model, out, half=half)
    else:
        texts = [_text(path) for path in notes]
        known = {name: asdict(facts) for folder in sources for name, facts in read_collections(folder).items()}
        told = story(with_sources(stages_of(read_history(run), weights), known))
        save_model(model, out, metadata={**told, "card": f"{out.stem}.md"}, half=half)
        write_card(run, weights=weights.name, out=out.with_suffix(".md"), sources=known, notes=texts)
    with open(out, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}; give Markdown in UTF-8") from error
