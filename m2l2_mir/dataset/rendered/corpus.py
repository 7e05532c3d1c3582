"""Scores of the music21 corpus, each parsed once and kept as JSON.

Conventions
-----------
* Scores are called ``"bach/bwv358"``, ``"ryansMammoth/LanigansBallJig"``, ``"oneills1850/0001-0050/12"``: collection,
  file and, in O'Neill's files of many tunes, reference number.
* Nothing is parsed before it is asked for; listing names and headings does not even import music21.
* The cache lies in ``cache_home()/scores``, under the version of music21 and of the parser. Entries are written aside
  and renamed, so processes may share it; an entry that cannot be read is parsed again.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path

import joblib

from m2l2_mir.dataset.rendered.parsing import PARSER_VERSION, Heading, Score, parse_abc, parse_chorale, read_heading
from m2l2_mir.dataset.rendered.synthesizer import require_extra
from m2l2_mir.durable import cache_home, write_json
from m2l2_mir.errors import InputError
from m2l2_mir.recipe import close_match

__all__ = ["COLLECTIONS", "heading", "load", "load_many", "names"]

COLLECTIONS = ("bach", "ryansMammoth", "oneills1850")
_TUNE = re.compile(r"^X:[ \t]*(\w*).*?(?=^X:|\Z)", re.MULTILINE | re.DOTALL)
_BATCH = 100  # scores a worker process parses: its start costs about as much as ten of them


def names(collection: str) -> tuple[str, ...]:
    """Names of the scores of a collection, sorted.

    Raises
    ------
    InputError
        There is no such collection.
    MissingExtraError
        Without the [render] extra.
    """
    if collection not in COLLECTIONS:
        raise InputError(f"no collection {collection!r}{close_match(collection, list(COLLECTIONS))}")
    return tuple(_catalogue(collection))


def heading(name: str) -> Heading:
    """Title and dance of an ABC tune, without parsing its notes; errors as in :func:`load`."""
    return read_heading(name, _find(name))


def load(name: str) -> Score:
    """Read a score from the cache, or parse it and put it there.

    Raises
    ------
    InputError
        There is no such score, or music21 cannot read it.
    MissingExtraError
        Without the [render] extra.
    """
    entry = _entry(name)
    if (kept := _kept(entry)) is not None:
        return kept
    found = _find(name)
    score = parse_chorale(name, Path(found)) if name.startswith("bach/") else parse_abc(name, found)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_json(entry, asdict(score))
    except OSError as error:  # a cache that cannot be written costs time, nothing else
        warnings.warn(f"scores are parsed anew each time: cannot write {entry.parent}: {error.strerror}", stacklevel=2)
    return score


def load_many(
    wanted: Iterable[str], *, jobs: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Iterator[Score]:
    """Load scores in the order of their names; where many are not parsed yet, several processes do it.

    Parameters
    ----------
    wanted : iterable of str
    jobs : int, optional
        Processes at most; default: the cores this process may use.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Yields
    ------
    Score
        One that music21 cannot read is left out with a warning.
    """
    wanted = list(wanted)
    missing = [name for name in wanted if not _entry(name).is_file()]
    jobs = jobs or joblib.cpu_count()
    if jobs > 1 and len(missing) > _BATCH:
        batches = [missing[start : start + _BATCH] for start in range(0, len(missing), _BATCH)]
        calls = (joblib.delayed(_fill_cache)(batch, str(cache_home())) for batch in batches)
        results = joblib.Parallel(n_jobs=min(jobs, len(batches)), return_as="generator_unordered")(calls)
        for done, _ in enumerate(results, start=1):
            if progress:
                progress(min(done * _BATCH, len(missing)), len(wanted))
    for done, name in enumerate(wanted, start=1):
        try:
            yield load(name)
        except InputError as error:
            warnings.warn(f"{error}; left out", RuntimeWarning, stacklevel=2)
        if progress:
            progress(done, len(wanted))


def _fill_cache(batch: list[str], cache: str) -> None:
    """Parse in another process; what cannot be read is told by the caller, who tries again."""
    os.environ["M2L2_CACHE"] = cache  # the process may be an earlier call's, with the settings of that time
    with warnings.catch_warnings(action="ignore"):
        for _ in load_many(batch, jobs=1):
            pass


def _entry(name: str) -> Path:
    version = f"music21-{metadata.version('music21')}-parser-{PARSER_VERSION}"
    return cache_home() / "scores" / version / f"{name.replace('/', '_')}.json"


def _kept(entry: Path) -> Score | None:
    """The score of a cache entry; None if there is none or it is damaged."""
    try:
        values = json.loads(entry.read_text(encoding="utf-8"))
        values["part_names"] = tuple(values["part_names"])
        values["bars"] = tuple((start, length) for start, length in values["bars"])
        values["parts"] = tuple(tuple((on, length, pitch) for on, length, pitch in part) for part in values["parts"])
        return Score(**values)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _find(name: str) -> str:
    """Path of a chorale, ABC text of a tune."""
    collection = name.partition("/")[0]
    catalogue = _catalogue(collection) if collection in COLLECTIONS else {}
    if name not in catalogue:
        raise InputError(f"no score {name!r} in the music21 corpus{close_match(name, list(catalogue))}")
    return catalogue[name]


@lru_cache(maxsize=len(COLLECTIONS))
def _catalogue(collection: str) -> dict[str, str]:
    """What :func:`_find` finds, by name and sorted; a file of many tunes is cut where a reference number stands."""
    found = {}
    for path in _folder(collection).iterdir():
        name = f"{collection}/{path.stem}"
        if collection == "bach" and path.suffix in (".mxl", ".xml"):
            found[name] = str(path)
        elif collection != "bach" and path.suffix == ".abc":
            text = path.read_text(encoding="utf-8", errors="replace")
            tunes = {match[1]: match[0] for match in _TUNE.finditer(text)}
            found |= {f"{name}/{number}" if len(tunes) > 1 else name: abc for number, abc in tunes.items()}
    return dict(sorted(found.items()))


def _folder(collection: str) -> Path:
    spec = util.find_spec("music21")
    if spec is None or spec.origin is None:
        require_extra("music21")  # says what to install
        raise InputError("music21 lies in no folder; install it unpacked")
    folder = Path(spec.origin).parent / "corpus" / collection
    if not folder.is_dir():
        raise InputError(f"no folder {folder}: this music21 lacks its corpus; pip install --force-reinstall music21")
    return folder
