"""The licence of weights: the strictest of the audio's, and none where one is unknown."""

from __future__ import annotations

import pytest

from m2l2_mir.training.free_music import free_music
from m2l2_mir.training.licensing import NOTHING, weights_licence


def chosen(*licences: str) -> tuple[str, str]:
    collections = {f"c{number}": {"licences": [licence]} for number, licence in enumerate(licences)}
    text, reason = weights_licence(collections)
    return text, reason


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (["MIT", "CC0 1.0", "CC BY 3.0"], "CC-BY-4.0"),
        (["MIT", "CC BY-SA 3.0+"], "CC-BY-SA-4.0"),
        (["GPL-2+"], "GPL-2.0-or-later, attribution required"),
        (["GPL-2+", "GPL-3+"], "GPL-3.0-or-later, attribution required"),
        (["GPL-3+", "GPL-3"], "GPL-3.0-only, attribution required"),
        (
            ["GPL-3+", "CC-BY-SA 4.0", "CC BY-SA 3.0"],
            "GPL-3.0-or-later AND CC-BY-SA-4.0, by collection, attribution required",
        ),
        (["GPL-2", "GPL-2+"], "GPL-2.0-only, attribution required"),
        (["GPL-2", "GPL-3+"], "GPL-2.0-only AND GPL-3.0-or-later, by collection, attribution required"),
        (
            ["GPL-2+, CC BY 3.0 or CC BY-SA 3.0, by file"],
            "GPL-2.0-or-later AND CC-BY-SA-3.0, by collection, attribution required",
        ),
        (["CC BY-NC 4.0", "MIT"], NOTHING),
        (["CC BY-NC-SA 4.0"], NOTHING),
        (["CC BY-ND 4.0"], NOTHING),
        (["MIT", "unknown"], NOTHING),
        (["LGPL-2.1"], NOTHING),
        ([], NOTHING),
    ],
)
def test_the_strictest_licence_counts(licences: list[str], expected: str) -> None:
    assert chosen(*licences)[0] == expected


def test_who_stands_in_the_way_is_named() -> None:
    assert "licence of c1 is not known" in chosen("MIT", "unknown")[1]
    assert "licence of c0 forbids" in chosen("CC BY-NC 4.0", "unknown")[1]
    assert "GPL-2.0-only (c1) cannot be joined" in chosen("GPL-3+", "GPL-2", "MIT")[1]
    assert "cannot be joined" not in chosen("GPL-2+", "GPL-3+")[1]


def test_every_licence_of_free_music_is_understood() -> None:
    for package in free_music():
        assert chosen(package.licence)[0] != NOTHING, package.name
