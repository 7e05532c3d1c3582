"""Maps of single dimensions, of a code whose dimensions are known."""

from types import SimpleNamespace

import numpy as np

from m2l2_mir.disentangle.dimension_maps import dimension_map, dimension_table
from m2l2_mir.disentangle.figures import map_figure


def test_each_dimension_tells_its_factor_and_those_of_a_random_basis_all(rng):
    factors = rng.integers(0, 3, size=(600, 2)).astype(float)
    slots = np.zeros((600, 2, 3)) + 0.05 * rng.normal(size=(600, 2, 3))
    slots[:, 0, 1] += factors[:, 0]
    slots[:, 1, 2] += factors[:, 1]
    block = SimpleNamespace(track_ids=list(range(600)), factors=factors, schema=None, names=("mood", "room"))
    source = SimpleNamespace(slots_of=lambda _: slots, shape=(2, 3))
    found = dimension_map(source, [block])
    expected = np.zeros((2, 6))
    expected[0, 1] = expected[1, 5] = 1
    np.testing.assert_allclose(found["information"], expected, atol=0.1)
    assert found["rotated"].max() < 0.95
    assert (found["rotated"] > 0.03).sum() > 2  # more dimensions than factors tell of some
    table = dimension_table({"own": found})
    best = table.sort_values("information").groupby("factor").tail(1).set_index("factor")
    assert best.loc["mood", ["slot", "dimension"]].tolist() == [1, 2]
    assert best.loc["room", ["slot", "dimension"]].tolist() == [2, 3]
    assert len(table) == 12
    assert f"Full colour: {found['information'].max():.2f}" in map_figure(found).caption
    assert dimension_table({}).empty
    names = [label.get_text() for label in map_figure(found).figure.axes[0].get_yticklabels()]
    assert names == ["mood", "room", "", "rotated: mood", "rotated: room"]
