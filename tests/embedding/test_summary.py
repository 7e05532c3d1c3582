"""A waveform in memory is summarised as its file is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import m2l2_mir as mm
from m2l2_mir.audio import save
from m2l2_mir.errors import InputError


@pytest.mark.parametrize("pooling", ["mean", "mean+std-flatten"])
def test_it_is_what_a_store_holds_of_the_file(tmp_path: Path, rng: np.random.Generator, pooling: str) -> None:
    model = mm.load_model("random:m2l2-tiny", device="cpu")
    chunk = model.config.chunk_samples * 48_000 / model.config.sample_rate
    loud, silence = rng.normal(scale=0.1, size=(2, round(2.3 * chunk))), np.zeros((2, round(2.1 * chunk)))
    waveform = np.concatenate([loud, silence, loud[:, : round(chunk)]], axis=1)
    save(tmp_path / "a.wav", waveform, 48_000)
    store = mm.extract([tmp_path / "a.wav"], out=tmp_path / "store", model=model)
    assert store.tracks["silent_chunks"].item() > 0
    expected = store.embeddings(pooling)[0]
    np.testing.assert_allclose(mm.embed(waveform, 48_000, model, pooling=pooling), expected, atol=1e-4)


def test_silence_has_none() -> None:
    with pytest.raises(InputError, match="nothing to pool"):
        mm.embed(np.zeros(50_000), 44_100, mm.load_model("random:m2l2-tiny", device="cpu"))
