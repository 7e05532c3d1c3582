"""Which models or stores make up the arms of an analysis, checked before anything is rendered or measured.

A difference of two arms is put down to their latents where nothing else differs: configuration, recipe of training and
data, as checkpoints state them. What differs is said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from m2l2_mir.errors import InputError
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.probe.inputs import model_name

__all__ = ["arms_of", "check_models", "check_shapes", "names_of"]

OWN = ("name", "model", "latents", "seed")  # what two arms may differ in
STAGES = "stages of training"
SHOWN = 3  # differences
LONGEST = 20  # characters of a value


def arms_of(models: Sequence[str], against: Sequence[str]) -> tuple[list[str], list[str]]:
    """First and second arm, which is empty for one model alone; `against` is the second, paired by place."""
    if not models:
        raise InputError("no model is given; name one, or two to compare them")
    if against:
        if len(against) != len(models):
            raise InputError(f"{len(models)} models against {len(against)}; give as many of each, paired by place")
        return list(models), list(against)
    if len(models) > 2:
        raise InputError(
            f"{len(models)} models; two are compared, and for pairs of seeds give the second arm by --against"
        )
    return list(models[:1]), list(models[1:])


def check_models(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """All are there, have names of their own and slots of equal shape.

    Returns
    -------
    list of str
        What paired models differ in beside their latents.
    """
    models = [*first, *second]
    names = [model_name(model) for model in models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{', '.join(twice)} is the name of two models; give each once, in folders of different names")
    facts = []
    for model in models:
        loaded = load_model(model, device="cpu")
        facts.append((loaded.config, loaded.metadata, loaded.trained))
    check_shapes([(name, (one[0].num_embeddings, one[0].latent_dim)) for name, one in zip(names, facts, strict=True)])
    told = [_stated(*one) for one in facts]
    pairs = zip(names, names[len(first) :], told, told[len(first) :], strict=False)
    return [note for one, other, ours, theirs in pairs for note in _unequal(one, other, ours, theirs)]


def _stated(config: Any, metadata: Mapping[str, str], trained: bool) -> dict[str, Any]:
    """Configuration, recipe and data of a model, by name; the kind of its latents and its seed left out."""
    stated = {name: value for name, value in asdict(config).items() if name not in OWN}
    stages = json.loads(metadata.get("stages", "[]"))
    stated[STAGES] = len(stages) if stages else "not stated" if trained else "none"
    for number, stage in enumerate(stages, start=1):
        recipe = {name: value for name, value in stage.get("recipe", {}).items() if name not in OWN}
        stated |= {f"{name} of stage {number}": value for name, value in recipe.items()}
        stated[f"data of stage {number}"] = stage.get("data", {}).get("corpus")
    return stated


def _unequal(one: str, other: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    names = [name for name in ours if name in theirs and ours[name] != theirs[name]]
    names.sort(key=lambda name: name != STAGES)
    if not names:
        return []
    shown = "; ".join(f"{name}: {_short(ours[name])} and {_short(theirs[name])}" for name in names[:SHOWN])
    more = f", and in {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{one} and {other} differ in more than their latents ({shown}{more}): a difference may come from that"]


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def check_shapes(shapes: Sequence[tuple[str, tuple[int, int]]]) -> None:
    """Slots of models or stores, by name, must be as many and as wide."""
    first, shape = shapes[0]
    for name, other in shapes:
        if other != shape:
            raise InputError(f"{name} has slots of {other}, {first} of {shape}; compare equal ones")


def names_of(stores: Sequence[Path]) -> list[str]:
    """Names of stores: of their folders, and where these are the same, of the folders that they are in too."""
    paths = [Path(store).resolve() for store in stores]
    if len(set(paths)) < len(paths):
        raise InputError(f"{stores[0]} is given twice; give two stores to compare them, or one to describe it")
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else ["/".join(path.parts[-2:]) for path in paths]
