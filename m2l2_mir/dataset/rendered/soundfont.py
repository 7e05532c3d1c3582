"""Soundfonts and their roles: FluidR3 plays what probes are tested on, TimGM6mb what models are trained on.

Fonts are told apart by what is in the file, not by its name: ``default-GM.sf2`` may be either of the two. A soundfont
of sf3 kind (compressed samples) is not understood by the synthesizer.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib import util
from pathlib import Path

from m2l2_mir.errors import InputError, MissingExtraError

__all__ = ["VERIFIED", "Soundfont", "probe_soundfonts", "training_soundfont"]

ENVIRONMENT = "M2L2_SOUNDFONT"
INSTALL = "apt-get install fluid-soundfont-gm, or set M2L2_SOUNDFONT to a FluidR3_GM.sf2"
# fonts that the tuning of the instruments was proven for
VERIFIED = {
    "82475b91a76de15cb28a104707d3247ba932e228bada3f47bba63c6b31aaf7a1": "TimGM6mb",  # in pretty_midi 0.2
    "74594e8f4250680adf590507a306655a299935343583256f3b722c48a1bc1cb0": "FluidR3_GM",  # Debian
}
_LICENCES = {"TimGM6mb": "GPL-2, Tim Brechbill", "FluidR3_GM": "MIT, Frank Wen"}
_FLUID_PLACES = (
    "/usr/share/sounds/sf2/FluidR3_GM.sf2",  # Debian, Ubuntu
    "/usr/share/soundfonts/FluidR3_GM.sf2",  # Fedora, Arch
    "/usr/local/share/soundfonts/FluidR3_GM.sf2",
    "/opt/homebrew/share/soundfonts/FluidR3_GM.sf2",
)


@dataclass(frozen=True, kw_only=True)
class Soundfont:
    """A soundfont on this machine.

    Parameters
    ----------
    name
        ``"FluidR3_GM"``, ``"TimGM6mb"``, or the stem of the user's own file; with a part of the hash where that stem is
        one of these two.
    path
        Of the ``.sf2`` file.
    sha256
        Of its content.
    licence
        With the author.
    heard_in_training
        Whether the shipped models were trained on music rendered with it.
    """

    name: str
    path: Path
    sha256: str
    licence: str
    heard_in_training: bool

    @property
    def note(self) -> str:
        """What every table of results made with it has to say, or ""."""
        heard = "soundfont heard in training" if self.heard_in_training else ""
        proven = "" if self.sha256 in VERIFIED else "tuning not proven for this soundfont"
        said = ", ".join(filter(None, (heard, proven)))
        return f"rendered with {self.name}: {said}" if said else ""


def training_soundfont() -> Soundfont:
    """TimGM6mb; it lies inside the pretty_midi wheel of the ``[render]`` extra and is only read, never copied.

    Raises
    ------
    MissingExtraError
        If pretty_midi is not installed.
    """
    # find_spec, not import: pretty_midi itself is not needed
    spec = util.find_spec("pretty_midi")
    path = Path(spec.origin).parent / "TimGM6mb.sf2" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise MissingExtraError('no soundfont found: pip install "m2l2-mir[render]" brings TimGM6mb.sf2')
    return _soundfont(path, name="TimGM6mb", heard_in_training=True)


def probe_soundfonts() -> tuple[Soundfont, ...]:
    """Soundfonts for what is measured, the first for all clips, the second (if any) for held-out sounds.

    The first is the file that ``$M2L2_SOUNDFONT`` names, else FluidR3_GM where the system has it, else TimGM6mb (with
    a note, as it was heard in training).

    Raises
    ------
    InputError
        ``$M2L2_SOUNDFONT`` names no ``.sf2`` file.
    MissingExtraError
        Without the ``[render]`` extra.
    """
    fallback = training_soundfont()
    if own := os.environ.get(ENVIRONMENT):
        if os.path.isdir(own):
            raise InputError(f"{ENVIRONMENT} names a folder: {own}; set it to a .sf2 soundfont in it")
        if not os.path.isfile(own):
            raise InputError(f"{ENVIRONMENT} names no file: {own}; set it to a .sf2 soundfont or unset it")
        path = Path(own)
    else:
        path = next((Path(place) for place in _FLUID_PLACES if os.path.isfile(place)), fallback.path)
    chosen = _soundfont(path)
    return (fallback,) if chosen.sha256 == fallback.sha256 else (chosen, fallback)


def _soundfont(path: Path, *, name: str = "", heard_in_training: bool = False) -> Soundfont:
    if path.suffix.casefold() != ".sf2":
        raise InputError(f"{path}: only .sf2 soundfonts can be played; {INSTALL}")
    state = path.stat()
    sha256 = _hash(path, state.st_size, state.st_mtime_ns)
    own = f"{path.stem}-{sha256[:8]}" if path.stem in VERIFIED.values() else path.stem
    name = name or VERIFIED.get(sha256, own)
    return Soundfont(
        name=name,
        path=path,
        sha256=sha256,
        licence=_LICENCES.get(name, "the user's own"),
        heard_in_training=heard_in_training,
    )


@lru_cache
def _hash(path: Path, size: int, time: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
