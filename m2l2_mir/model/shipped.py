"""The trained weights that come with the package: ``weights/NAME.safetensors``, each with a card ``NAME.md``.

``weights/SHA256SUMS`` names them with the SHA-256 of the whole file, as ``sha256sum`` writes it: what is not in it is
not shipped, what is in it must be there and unchanged.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from m2l2_mir.errors import CheckpointError

__all__ = ["card_beside", "default_model", "shipped_names", "shipped_path", "verified_path"]

WEIGHTS = Path(__file__).parent.parent / "weights"
SUMS = "SHA256SUMS"
FIRST_CHOICE = "m2l2-small"


def default_model() -> str:
    """Name of the model that is used where none is named: the small trained one, or its random self without weights."""
    return FIRST_CHOICE if FIRST_CHOICE in shipped_names() else f"random:{FIRST_CHOICE}"


def shipped_names() -> list[str]:
    """Names of the models whose weights are shipped, sorted."""
    return sorted(Path(name).stem for name in _sums())


def shipped_path(name: str) -> Path:
    """Where the weights of a shipped model lie."""
    return WEIGHTS / f"{name}.safetensors"


def verified_path(name: str) -> Path:
    """Where the weights of a shipped model lie, after a look at every byte.

    Raises
    ------
    CheckpointError
        The file is not there, or it is not the one that was shipped.
    """
    path = shipped_path(name)
    again = "install the package again, or load a file of your own by its path"
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"the shipped weights {path} cannot be read ({error.strerror}); {again}") from error
    if found != _sums()[path.name]:
        raise CheckpointError(
            f"{path} is not the file that was shipped: its SHA-256 is {found[:12]}..., not "
            f"{_sums()[path.name][:12]}... as in {SUMS}; {again}"
        )
    return path


def card_beside(weights: Path) -> Path | None:
    """Model card of a checkpoint: ``NAME.md`` beside it, or ``card.md`` in a run's folder; None where there is none."""
    cards = (weights.with_suffix(".md"), weights.with_name("card.md"))
    return next((card for card in cards if card.is_file()), None)


def _sums() -> dict[str, str]:
    """File name -> SHA-256."""
    path = WEIGHTS / SUMS
    if not path.is_file():
        return {}
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return {name.removeprefix("*"): digest for digest, name in lines}
