"""The files of a folder of music, one by one: whose licence, which bytes, and whether training will hear them.

Conventions
-----------
* ``manifest.csv`` has one row a file, sorted by name: ``name`` (``COLLECTION/PATH``), ``licence``, ``source``,
  ``split``, ``min_bandwidth`` (Hz), ``sha256`` (of the file), ``samples_sha256`` and ``seconds`` (of what training
  decodes from it, in mono), ``kept`` ("yes" or "no") and ``reason``. Nothing is deleted: what is not kept is passed
  over by :func:`~m2l2_mir.training.building.build_corpus` and ``m2l2 pack``, by the same rules.
* The licence is that of the collection, or what the package's ``copyright`` says of that very file where it is in
  Debian's machine-readable form (copyright-format 1.0).
* A file that stands in the manifest already, with the same bytes, is not decoded again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import joblib
import pandas as pd

from m2l2_mir.durable import write_durably
from m2l2_mir.training.building import decode_all
from m2l2_mir.training.decoding import Decoded, decode
from m2l2_mir.training.recordings import Recording, recordings_of

__all__ = ["MANIFEST", "licence_of_file", "write_manifest"]

MANIFEST = "manifest.csv"
RATE = 44_100  # Hz, that of the models
_COLUMNS = (
    "name", "licence", "source", "split", "min_bandwidth", "sha256", "samples_sha256", "seconds", "kept", "reason"
)  # fmt: skip
_KEY = ["name", "min_bandwidth", "sha256"]
_FOUND = ["samples_sha256", "seconds", "reason"]


def write_manifest(
    folder: Path, *, jobs: int | None = None, progress: Callable[[int, int], None] | None = None
) -> pd.DataFrame:
    """Look at every file of a folder of music, and write down what it is.

    Parameters
    ----------
    folder
        With collections as sub-folders.
    jobs
        Threads that decode; default: the cores this process may use.
    progress
        Called as ``progress(done, total)``, counting files that had to be decoded.

    Returns
    -------
    pandas.DataFrame
        The manifest, all columns strings.
    """
    recordings = recordings_of([folder])
    with ThreadPoolExecutor(jobs or joblib.cpu_count()) as threads:
        identities = list(threads.map(lambda recording: recording.identity(), recordings.found))
    rows = [
        {
            "name": recording.name,
            "licence": _licence(recording, folder),
            "source": recording.facts.source,
            "split": recording.facts.split,
            "min_bandwidth": f"{recording.facts.min_bandwidth:g}",
            "sha256": identity,
        }
        for recording, identity in zip(recordings.found, identities, strict=True)
    ]
    known = _read(folder / MANIFEST)
    new = [index for index, row in enumerate(rows) if tuple(row[key] for key in _KEY) not in known]
    for row in rows:
        row |= known.get(tuple(row[key] for key in _KEY), {})

    def work(recording: Recording) -> Decoded:
        decoded = decode(recording, sample_rate=RATE, channels=1, scratch=folder)
        decoded.file.close()
        return decoded

    results = decode_all([recordings.found[index] for index in new], work, jobs=jobs, progress=progress)
    for index, (_, result) in zip(new, results, strict=True):
        if isinstance(result, Decoded):
            found = (result.sha256, f"{result.samples / RATE:.3f}", "")
        else:
            found = ("", "", str(result).replace(f"{folder}{os.sep}", ""))
        rows[index] |= dict(zip(_FOUND, found, strict=True))
    rows += [{"name": name, "reason": reason} for name, reason in recordings.failures]
    first: dict[str, str] = {}
    for row in rows:
        digest = row.get("samples_sha256")
        if digest and (same := first.setdefault(digest, row["name"])) != row["name"]:
            row["reason"] = f"the same samples as {same}"
        row["kept"] = "no" if row["reason"] else "yes"
    table = pd.DataFrame(rows, columns=list(_COLUMNS)).fillna("")
    write_durably(folder / MANIFEST, lambda file: file.write(table.to_csv(index=False).encode()))
    return table


def licence_of_file(path: str, text: str) -> str:
    """What a Debian ``copyright`` states of one file by its name; "" where it does not.

    Parameters
    ----------
    path
        Of the file, from any folder of the package's source down.
    text
        The content of ``copyright``.

    Examples
    --------
    >>> text = "Format: 1.0\\n\\nFiles: *\\nLicense: GPL-2+\\n\\nFiles: music/a.ogg\\nLicense: CC-BY-3.0\\n"
    >>> licence_of_file("a.ogg", text), licence_of_file("b.ogg", text)
    ('CC-BY-3.0', '')
    """
    depth = path.count("/") + 1
    stated = ""
    for patterns, licence in _stanzas(text):
        ends = ["/".join(pattern.split("/")[-depth:]) for pattern in patterns]
        # of a whole folder the collection's own licence tells more: it is that of the music
        if any(fnmatchcase(path, end) for end in ends if not end.endswith("*")):
            stated = licence  # the last one that names it counts
    return stated


@cache
def _stanzas(text: str) -> list[tuple[list[str], str]]:
    """Patterns of files, and the short name of their licence."""
    found = []
    for stanza in re.split(r"\n\s*\n", text) if text.startswith("Format:") else ():
        fields = dict(re.findall(r"^(\S+):((?:.*)(?:\n[ \t].*)*)", stanza, re.MULTILINE))
        if "Files" in fields and fields.get("License", "").strip():
            found.append((fields["Files"].split(), fields["License"].strip().splitlines()[0].strip()))
    return found


def _licence(recording: Recording, folder: Path) -> str:
    notice = folder / recording.collection / "copyright"
    text = notice.read_text(encoding="utf-8", errors="replace") if notice.is_file() else ""
    return licence_of_file(recording.name.removeprefix(f"{recording.collection}/"), text) or recording.facts.licence


def _read(path: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """What was found out of each file before; nothing if there is no such manifest."""
    if not path.is_file():
        return {}
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(table.columns) != _COLUMNS:
        return {}
    table.loc[table["samples_sha256"] != "", "reason"] = ""  # which one is a repetition is settled anew
    rows = table.to_dict("records")
    return {tuple(row[key] for key in _KEY): {name: row[name] for name in _FOUND} for row in rows}
