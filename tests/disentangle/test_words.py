"""Which slot holds what, in words."""

import numpy as np
import pytest

from m2l2_mir.disentangle.figures import row_figures
from m2l2_mir.disentangle.lines import cell_lines
from m2l2_mir.disentangle.words import slot_sentences, slot_table


def results(slots=3):
    """Slot 1 tells mood more than any rotated slot, room less than those; slot 2 is moved by room only."""
    cells = []
    for slot in range(1, slots + 1):
        for factor in ("mood", "room"):
            information = 0.9 if (slot, factor) == (1, "mood") else 0.3
            change = 1.5 if (slot, factor) == (2, "room") else 0.2
            cells.append(
                {
                    "row": "own", "slot": slot, "factor": factor, "information": information,
                    "information_rotated": 0.2, "information_rotated_most": 0.4, "unique": information - 0.28,
                    "change": change, "change_rotated_most": 0.5 if factor == "room" else None,
                }
            )  # fmt: skip
    told = [{"row": "own", "factor": factor, "redundancy": 0.7} for factor in ("mood", "room")]
    return {"cells": cells, "factors": [{"name": "mood"}, {"name": "room"}], "told": told}


def test_what_exceeds_rotated_slots_is_told_and_nothing_else():
    table = slot_table(results(), "own").set_index("slot")
    assert table["tells, beyond rotated slots"].tolist() == ["mood .90", "", ""]
    assert table["alone knows"].tolist() == ["mood .62", "", ""]
    assert table["is moved by, beyond rotated slots"].tolist() == ["", "room 1.50", ""]
    said = slot_sentences(results(), "own")
    assert said[0] == "Slot 1 tells mood .90"
    assert "slots 2, 3 beyond" in said[1]


def test_matrices_of_a_row_show_unique_information_and_redundancy_and_many_slots_without_numbers():
    drawn = {one.name: one.figure.axes[0] for one in row_figures(results(), "own")}
    labels = [label.get_text() for label in drawn["unique"].get_yticklabels()]
    assert labels == ["slot 1", "slot 2", "slot 3", "redundancy"]
    assert {text.get_text() for text in drawn["unique"].texts} == {"0.620", "0.020", "0.700"}
    many = {one.name: one.figure.axes[0] for one in row_figures(results(slots=40), "own")}
    assert not many["information"].texts
    assert [label.get_text() for label in many["information"].get_yticklabels()][-1] == "rotated: room"


def test_the_bound_is_of_the_slot_of_a_rotation_that_tells_most():
    class Part:
        matrix = np.array([[0.5], [0.1]])
        rotations = np.array([[[0.1], [0.3]], [[0.2], [0.0]]])
        permutations = np.zeros((0, 2, 1))
        names = ("mood",)

    class Measured:
        slots = Part()
        pairs = type("Pairs", (), {"matrix": np.zeros((2, 0)), "names": ()})()
        arrays = {"unique": np.zeros((2, 1))}  # noqa: RUF012

    line = cell_lines("own", [Measured()], [type("Block", (), {"names": ("mood",)})()])[0]
    assert line["information_rotated"] == pytest.approx(0.15)
    assert line["information_rotated_most"] == pytest.approx(np.quantile([0.3, 0.2], 0.95))
