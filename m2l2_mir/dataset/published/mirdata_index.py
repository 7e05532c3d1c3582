"""A set as mirdata knows it: its loader, and the index of its files.

Conventions
-----------
* An index in the set's own folder, under mirdata's name for it or as index.json, goes before the one that mirdata
  keeps inside its package.
* mirdata is imported inside functions only: it brings librosa and several cloud SDKs, which takes seconds.
"""

from __future__ import annotations

import copy
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2l2_mir.dataset.recipe import DatasetRecipe, dataset_names, find_recipe
from m2l2_mir.errors import ConfigError, InputError
from m2l2_mir.recipe import close_match

__all__ = ["MirdataSet", "initialise", "name_of", "open_set", "quiet"]


@dataclass(frozen=True, kw_only=True)
class MirdataSet:
    """A set whose index is there.

    Parameters
    ----------
    dataset
        mirdata's Dataset.
    home
        Folder of the set, absolute.
    files
        Track id -> name of a file in the index ("audio", "tempo", ...) -> (path below `home`, MD5), without those
        that the set does not have.
    metadata
        The same for files that belong to no single track.
    """

    dataset: Any
    home: Path
    files: dict[str, dict[str, tuple[str, str]]]
    metadata: dict[str, tuple[str, str]]


def open_set(recipe: DatasetRecipe, home: Path | None) -> MirdataSet:
    """Initialise mirdata's loader and read the index.

    Raises
    ------
    InputError
        There is no index, or it cannot be read; the message says what to do.
    ConfigError
        mirdata has no such loader or version.
    """
    dataset = initialise(recipe, home)
    try:
        index = json.loads(Path(dataset.index_path).read_text(encoding="utf-8"))
        files = {str(track_id): _present(entries) for track_id, entries in index["tracks"].items()}
        metadata = _present(index.get("metadata") or {})
    except FileNotFoundError:
        own = Path(dataset.index_path).name
        url = dataset._index_data.remote.url if dataset._index_data.remote else "mirdata's documentation"
        raise InputError(
            f"{recipe.title}: mirdata's index is not there; run 'm2l2 datasets fetch {name_of(recipe)}', "
            f"or put {own} from {url} into {dataset.data_home}"
        ) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{recipe.title}: {dataset.index_path} is not an index of mirdata ({type(error).__name__}: {error}); "
            f"delete it and run 'm2l2 datasets fetch {name_of(recipe)}'"
        ) from error
    return MirdataSet(dataset=dataset, home=Path(dataset.data_home), files=files, metadata=metadata)


def initialise(recipe: DatasetRecipe, home: Path | None) -> Any:
    """mirdata's Dataset, its ``data_home`` absolute and its ``index_path`` the index to be used.

    Raises
    ------
    ConfigError
        mirdata has no such loader or version.
    """
    with quiet():
        import mirdata

        known = mirdata.list_datasets()
        if recipe.loader not in known:
            hint = close_match(recipe.loader, known)
            raise ConfigError(
                f"mirdata {mirdata.__version__} has no loader {recipe.loader!r}{hint}; correct the recipe"
            )
        place = None if home is None else os.path.abspath(home.expanduser())
        try:
            dataset = mirdata.initialize(recipe.loader, data_home=place, version=recipe.version)
        except ValueError as error:
            raise ConfigError(f"mirdata's {recipe.loader}: {error}; correct the recipe's version") from error
    # mirdata adds the index to a table that all its sets of this kind share, and then downloads it with everything
    dataset.remotes = {name: remote for name, remote in (dataset.remotes or {}).items() if name != "index"}
    dataset._index_data = copy.copy(dataset._index_data)
    for name in (Path(dataset.index_path).name, "index.json"):
        if (own := Path(dataset.data_home, name)).is_file():
            dataset.index_path = str(own)
            break
    return dataset


def name_of(recipe: DatasetRecipe) -> str:
    """Name under which a recipe comes with the package; the loader's for a user's own."""
    return next((name for name in dataset_names() if find_recipe(name)[1] == recipe), recipe.loader)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep mirdata from writing to the log, and from setting up the log of whoever imports it."""
    root = logging.getLogger()
    level, handlers, disabled = root.level, list(root.handlers), logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers


def _present(entries: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {key: (str(entry[0]), str(entry[1])) for key, entry in entries.items() if entry[0] is not None}
