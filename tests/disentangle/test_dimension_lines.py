"""The metrics of single dimensions, all of one source, with their nulls, kept."""

import pandas as pd
import pytest

from m2l2_mir.disentangle import dimension_lines
from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.factors import Factor
from m2l2_mir.disentangle.nulls import Nulls
from m2l2_mir.disentangle.sources import Source
from m2l2_mir.errors import InputError


def test_every_metric_gives_lines_beside_its_nulls_once(tmp_path, rng, monkeypatch):
    ids = [f"c{number}" for number in range(120)]
    factors = rng.integers(0, 3, size=(120, 2)).astype(float)
    slots = factors[:, :, None] + 0.1 * rng.standard_normal((120, 2, 2))
    block = Block(
        name="labels",
        track_ids=ids,
        factors=factors,
        groups=[f"g{number % 12}" for number in range(120)],
        schema=(Factor(name="mood"), Factor(name="room")),
        strata=("labels", "labels"),
        values=(("a", "b", "c"), ("x", "y", "z")),
        pairs=pd.DataFrame(columns=["before", "after", "changed", "group", "value_before", "value_after"]),
        codes=pd.DataFrame(factors, index=ids, columns=["mood", "room"]),
    )
    source = Source(name="own", kind="model", about="", shape=(2, 2), slots_of=lambda _: slots, identity={})
    monkeypatch.delitem(dimension_lines.CLASSICS, "DCI-ES")  # half a minute
    lines = dimension_lines.classic_lines([source], [block], tmp_path, nulls=Nulls(rotations=1, permutations=1))
    told = {line["metric"].split(":")[0] for line in lines}
    assert told == set(dimension_lines.CLASSICS)
    assert all("reason" not in line for line in lines)
    [purity] = [line for line in lines if line["metric"] == "DCI (trees): disentanglement"]
    assert purity["estimate"] > 0.9
    assert 0 <= purity["rotation"] <= 1
    assert purity["low"] <= purity["estimate"] <= purity["high"]
    monkeypatch.setattr(dimension_lines, "_measured", lambda *_: pytest.fail("measured again"))
    assert dimension_lines.classic_lines([source], [block], tmp_path, nulls=Nulls(rotations=1, permutations=1)) == lines
    next(tmp_path.glob("*.json")).write_text("{")
    with pytest.raises(InputError, match="delete it"):
        dimension_lines.classic_lines([source], [block], tmp_path, nulls=Nulls(rotations=1, permutations=1))
