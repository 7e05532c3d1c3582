"""Vectors of a run that may be interrupted: each is kept as soon as it is there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.durable import write_durably

__all__ = ["KeptVectors"]


class KeptVectors:
    """One vector for each audio file, by the file's content.

    Parameters
    ----------
    folder
        Made when the first vector is written.
    likeness
        What tells the maker of the vectors from others; with another one, nothing of before is found.
    excerpt
        Start and length in seconds that are heard of each file; None for everything.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     audio = Path(name) / "a.wav"
    ...     _ = audio.write_bytes(b"sound")
    ...     kept = KeptVectors(Path(name) / "kept", "an embedder", excerpt=None)
    ...     kept.write(audio, np.ones(2, np.float32))
    ...     kept.read(audio, width=2), KeptVectors(Path(name) / "kept", "another", excerpt=None).read(audio, width=2)
    (array([1., 1.], dtype=float32), None)
    """

    def __init__(self, folder: Path, likeness: str, *, excerpt: tuple[float, float] | None) -> None:
        self._folder = folder
        self._about = f"{likeness} {excerpt}"

    def read(self, path: str | os.PathLike[str], *, width: int) -> NDArray[np.float32] | None:
        """The vector [width] of a file; None if there is none, or it is damaged."""
        try:
            vector = np.load(self._entry(path), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return vector if vector.dtype == np.float32 and vector.shape == (width,) else None

    def write(self, path: str | os.PathLike[str], vector: NDArray[np.float32]) -> None:
        """Keep the vector of a file."""
        entry = self._entry(path)
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_durably(entry, lambda file: np.save(file, vector, allow_pickle=False))

    def _entry(self, path: str | os.PathLike[str]) -> Path:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        digest.update(self._about.encode())
        return self._folder / f"{digest.hexdigest()}.npy"
