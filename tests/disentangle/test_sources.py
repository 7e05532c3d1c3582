"""Controls and time bases do what they say."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.fft import dct

from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.controls import oracle_source, rotated_inside, time_bases
from m2l2_mir.disentangle.factors import Factor
from m2l2_mir.disentangle.source_identity import seeds_of
from m2l2_mir.disentangle.sources import Source, native_tokens, regrouping_note

IDS = [f"c{number}" for number in range(60)]


@pytest.fixture
def block(rng):
    codes = pd.DataFrame(rng.integers(0, 3, size=(60, 2)), index=IDS, columns=["mood", "room"])
    return Block(
        name="labels",
        track_ids=IDS,
        factors=codes.to_numpy(dtype=float),
        groups=IDS,
        schema=(Factor(name="mood"), Factor(name="room")),
        strata=("labels", "labels"),
        values=(("a", "b", "c"), ("x", "y", "z")),
        pairs=pd.DataFrame(columns=["before", "after", "changed", "group", "value_before", "value_after"]),
        codes=codes,
    )


def source_of(slots):
    place = {name: row for row, name in enumerate(IDS)}
    return Source(
        name="own",
        kind="model",
        about="",
        shape=slots.shape[1:],
        slots_of=lambda ids: slots[[place[one] for one in ids]],
        identity={"weights": "own"},
    )


def test_the_oracle_gives_each_factor_a_slot_of_its_own(block):
    slots = oracle_source([block], (4, 2)).slots_of(IDS)
    assert slots.shape == (60, 4, 3)  # wider, where classes need it
    assert slots[:, 0].argmax(axis=1).tolist() == block.codes["mood"].tolist()
    assert (slots[:, 1].reshape(60, -1) != 0).sum() == 60
    assert not slots[:, 2:].any()


def test_time_bases_undo_a_mixture_of_positions_and_keep_all_there_is(block, rng):
    hidden = rng.standard_normal((60, 4, 3)) * np.array([8.0, 4.0, 2.0, 1.0])[:, None]
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    mixed = np.einsum("jk,nkd->njd", turn, hidden)
    cosine, principal = time_bases(source_of(mixed), [block])
    assert np.allclose(cosine.slots_of(IDS), dct(mixed, axis=1, norm="ortho"))
    found = principal.slots_of(IDS)
    assert np.allclose(np.square(found).sum(axis=1), np.square(mixed).sum(axis=1))
    likeness = np.corrcoef(found.reshape(60, 4, 3).swapaxes(0, 1).reshape(4, -1), hidden.swapaxes(0, 1).reshape(4, -1))
    assert np.abs(np.diag(likeness[:4, 4:])).min() > 0.9
    assert len({repr(one.identity) for one in (cosine, principal, source_of(mixed))}) == 3


def test_turning_inside_slots_keeps_lengths_slot_by_slot(rng):
    slots = rng.standard_normal((60, 3, 4))
    turned = rotated_inside(source_of(slots)).slots_of(IDS)
    assert np.allclose(np.linalg.norm(turned, axis=2), np.linalg.norm(slots, axis=2))
    assert not np.allclose(turned, slots)


def test_native_tokens_of_a_regrouped_codec(rng, monkeypatch):
    slots = rng.standard_normal((60, 2, 6))
    source = replace(source_of(slots), store=SimpleNamespace())
    tokens = SimpleNamespace(latent_tokens=4, token_dim=3)
    monkeypatch.setattr("m2l2_mir.disentangle.sources.config_of", lambda _: tokens)
    native = native_tokens(source)
    assert native.shape == (4, 3)
    assert np.array_equal(native.slots_of(IDS[:5])[:, 1], slots[:5, 0, 3:])
    assert native.identity != source.identity
    assert "2 x 6 slots of own are a regrouping of its 4 x 3 tokens" in regrouping_note(source)
    tokens.latent_tokens = 2
    assert regrouping_note(source) is None
    assert native_tokens(source) is None
    assert native_tokens(source_of(slots)) is None


def test_slots_of_other_seeds_are_matched(block, rng):
    slots = rng.standard_normal((60, 3, 4))
    named = [replace(source_of(of), name=name) for name, of in (("a", slots), ("b", slots[:, [2, 0, 1]]))]
    other = replace(source_of(rng.standard_normal((60, 3, 4))), name="c")
    found = seeds_of([*named, other], block)
    assert found["others"] == ["b", "c"]
    assert found["matched"][0] > 0.9 > 0.2 > found["matched"][1]
    assert seeds_of(named[:1], block) is None
