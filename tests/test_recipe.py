"""Recipes: a typo is an error that names the nearest key, never a silent default."""

from dataclasses import dataclass

import pytest

from m2l2_mir.errors import ConfigError
from m2l2_mir.recipe import from_mapping, from_toml


@dataclass(frozen=True, kw_only=True)
class Recipe:
    layers: int
    sizes: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise ConfigError(f"layers must be at least 1: {self.layers}")


def test_a_recipe_is_read_and_frozen(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('# "é"\nlayers = 2\nsizes = [[1, 2], [3]]\n', encoding="utf-8")
    recipe = from_toml(Recipe, path)
    assert recipe == Recipe(layers=2, sizes=((1, 2), (3,)))
    hash(recipe)


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown key 'layer' in x\.toml; did you mean 'layers'\?.*layers, sizes"):
        from_mapping(Recipe, {"layer": 2}, source="x.toml")
    with pytest.raises(ConfigError, match="unknown key 'zzz'") as caught:
        from_mapping(Recipe, {"layers": 1, "zzz": 2})
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"layers = ", r"a\.toml is not valid TOML"),
        (b"layers = '\xff'", r"a\.toml is not valid TOML"),
        (b"", r"a\.toml: .*missing 1 required.*'layers'"),
        (b"layers = 0", "layers must be at least 1: 0"),
        (b"layers = 1\nlayers = 2", "is not valid TOML"),
    ],
)
def test_a_bad_recipe_is_a_configuration_error(tmp_path, content, message):
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        from_toml(Recipe, path)


def test_a_recipe_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the recipe .*nowhere\.toml: No such file"):
        from_toml(Recipe, tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match=r"cannot read the recipe .*: Is a directory"):
        from_toml(Recipe, tmp_path)
