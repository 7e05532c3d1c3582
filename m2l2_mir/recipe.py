"""Recipes: frozen dataclasses read from TOML.

A recipe file holds the keyword arguments of one frozen dataclass. An unknown key is an error that
names the nearest known one, so that a typo never silently falls back to a default.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from m2l2_mir.errors import ConfigError

__all__ = ["close_match", "from_mapping", "from_toml", "recipe_files"]

T = TypeVar("T")


def close_match(name: str, known: list[str]) -> str:
    """Return a hint such as ``"; did you mean 'heads'?"``, or nothing when nothing is near.

    >>> close_match("layer", ["layers", "dim"])
    "; did you mean 'layers'?"
    """
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def from_mapping(cls: type[T], values: Mapping[str, Any], *, source: str = "the configuration") -> T:
    """Build the dataclass `cls` from `values`, lists becoming tuples.

    Raises
    ------
    ConfigError
        A key is unknown, a value has not the annotated type, or is refused by the dataclass.
    """
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ConfigError(
                f"unknown key {key!r} in {source}{close_match(key, known)}; known keys: {', '.join(known)}"
            )
    annotations = get_type_hints(cls)
    frozen = {key: _frozen(value) for key, value in values.items()}
    for key, value in frozen.items():
        if not _fits(value, annotations[key]):
            raise ConfigError(f"{key} in {source} must be {_name(annotations[key])}: {value!r}")
    try:
        return cls(**frozen)
    except TypeError as error:
        raise ConfigError(f"{source}: {error}") from error


def from_toml(cls: type[T], path: str | Path) -> T:
    """Build the dataclass `cls` from the TOML file at `path`.

    Raises
    ------
    ConfigError
        The file is missing or not TOML, or :func:`from_mapping` refuses its content.
    """
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the recipe {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    return from_mapping(cls, values, source=str(path))


def recipe_files(kind: Literal["datasets", "probes"]) -> dict[str, Path]:
    """Recipes of the package by name: those in the root of an editable checkout, or those in the wheel."""
    package = Path(__file__).parent
    folders = (package / "recipes" / kind, package.parent / kind)
    return {file.stem: file for folder in folders for file in sorted(folder.glob("*.toml"))}


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a value from TOML or JSON fits an annotation: plain types, literals, tuples, tables, unions of these."""
    if annotation is Any:
        return True
    kind, arguments = get_origin(annotation), get_args(annotation)
    if kind is Mapping:
        return isinstance(value, Mapping) and all(_fits(item, arguments[1]) for item in value.values())
    if kind in (Union, UnionType):
        return any(_fits(value, option) for option in arguments)
    if kind is Literal:
        return value in arguments
    if kind is tuple:
        if not isinstance(value, tuple):
            return False
        items = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return len(items) == len(value) and all(_fits(*pair) for pair in zip(value, items, strict=True))
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, annotation)


def _name(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(map(repr, get_args(annotation)))}"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _frozen(value: Any) -> Any:
    """Lists, at any depth, as tuples, so that a frozen dataclass stays hashable."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value
