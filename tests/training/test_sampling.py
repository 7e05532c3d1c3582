"""The sampler: a pure function of seed and sample number, true to the mix, never quiet where it can be loud."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from m2l2_mir.audio import save
from m2l2_mir.errors import InputError
from m2l2_mir.training.augmentation import Augmentation, no_augmentation
from m2l2_mir.training.batches import CorpusBatches
from m2l2_mir.training.building import build_corpus
from m2l2_mir.training.corpus import Corpus
from m2l2_mir.training.sampling import Sampler, gather, uniforms
from tests.training.tones import RATE, tone

CPU = torch.device("cpu")
GOLDEN = [[0.8325354439343788, 0.35366591520344914], [0.2677605606859913, 0.2177798503187327]]


@pytest.fixture
def corpus(library: Path) -> Corpus:
    return build_corpus([library], sample_rate=RATE, cache=library.parent / "cache")


def collection_of(corpus: Corpus, starts: np.ndarray) -> np.ndarray:
    rows = np.searchsorted(corpus.pieces["start"], starts, side="right") - 1
    return corpus.pieces["collection"].to_numpy()[rows]


@pytest.mark.parametrize("augmentation", [no_augmentation(), Augmentation(mix_db=(-3, 0))])
def test_any_partition_of_the_samples_gives_the_same_windows(corpus: Corpus, augmentation: Augmentation) -> None:
    def windows(*parts: list[int]) -> torch.Tensor:
        batches = CorpusBatches(corpus, seed=3, augmentation=augmentation, mix={"loud": 0.5, "*": 0.5})
        return torch.cat([batches.batch(part, 2048, CPU) for part in parts])

    whole = windows(list(range(12)))
    assert whole.shape == (12, 1, 2048)
    torch.testing.assert_close(windows(list(range(5)), list(range(5, 12))), whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(windows(*([i] for i in range(11, -1, -1))).flip(0), whole, rtol=0, atol=1e-6)
    assert len({window.numpy().tobytes() for window in whole}) == 12
    other = CorpusBatches(corpus, seed=4, augmentation=augmentation)
    assert not torch.equal(other.batch(range(12), 2048, CPU), whole)


def test_the_partner_of_a_mix_is_another_crop(corpus: Corpus) -> None:
    off = no_augmentation()
    alone, mixed = (
        CorpusBatches(corpus, seed=0, augmentation=replace(off, mix=mix, mix_db=(0, 0))).batch(range(20), 2048, CPU)
        for mix in (0, 1)
    )
    likeness = torch.cosine_similarity((mixed - alone).flatten(1), alone.flatten(1))
    assert (likeness < 0.99).float().mean() > 0.5  # the same tone at another phase may be like it


def test_the_numbers_of_a_sample_are_those_of_its_key_and_stream() -> None:
    # golden: a change here would change what every resumed run hears
    np.testing.assert_allclose(uniforms(7, [0, 10**12], 1, 2), GOLDEN, rtol=1e-12)
    assert not np.isin(uniforms(7, [0], 1, 50), uniforms(7, [0], 2, 50)).any()
    with pytest.raises(InputError, match="0 or above"):
        uniforms(-1, [0], 0, 1)


def test_crops_lie_inside_their_pieces_and_are_what_the_audio_holds(corpus: Corpus) -> None:
    starts = Sampler(corpus, 3000, 0).starts(range(500))
    rows = corpus.pieces.iloc[np.searchsorted(corpus.pieces["start"], starts, side="right") - 1]
    assert (starts + 3000 <= rows["start"].to_numpy() + rows["samples"].to_numpy()).all()
    crops = gather(corpus.audio, starts[:3], 3000)
    for crop, start in zip(crops, starts, strict=False):
        np.testing.assert_array_equal(crop[0].numpy(), corpus.audio[start : start + 3000, 0] / np.float32(32768))


def test_shares_are_those_of_the_mix(corpus: Corpus) -> None:
    starts = Sampler(corpus, 2048, 0, {"soft": 0.8, "*": 0.2}).starts(range(4000))
    # 0.8 of 4,000 give or take four standard deviations
    assert abs((collection_of(corpus, starts) == "soft").mean() - 0.8) < 4 * np.sqrt(0.16 / 4000)
    with pytest.raises(InputError, match="says nothing of soft"):
        Sampler(corpus, 2048, 0, {"loud": 1.0})
    with pytest.raises(InputError, match="as long as a crop"):
        Sampler(corpus, 10**6, 0)


def test_groups_of_the_mix_that_are_not_there_leave_their_share_to_the_others(corpus: Corpus) -> None:
    def heard(mix: dict[str, float]) -> CorpusBatches:
        return CorpusBatches(corpus, seed=0, augmentation=no_augmentation(), mix=mix)

    without = heard({"*renders*": 0.4, "*": 0.6})
    assert without.describe()["mix"] == {"*": 0.6}
    assert torch.equal(without.batch(range(8), 2048, CPU), heard({}).batch(range(8), 2048, CPU))
    assert heard({"lou*": 0.4, "*": 0.6}).mix == {"lou*": 0.4, "*": 0.6}
    assert heard({"lou*": 0.4, "loud": 1.0, "*": 0.6}).mix == {"lou*": 0.4, "*": 0.6}  # the first that matches
    with pytest.raises(InputError, match="no collection matches 'lowd'"):
        heard({"lowd": 1.0}).batch([0], 2048, CPU)


def test_quiet_crops_are_drawn_anew(tmp_path: Path) -> None:
    (tmp_path / "x" / "c").mkdir(parents=True)
    quiet = 1e-4 * np.random.default_rng(0).normal(size=(1, 16000))  # no digital silence, an RMS of 0.0001
    save(tmp_path / "x" / "c" / "half.wav", np.concatenate([quiet, tone(300)], axis=1), RATE)
    corpus = build_corpus([tmp_path / "x"], sample_rate=RATE, cache=tmp_path / "cache")
    crops = gather(corpus.audio, Sampler(corpus, 3000, 0).starts(range(400)), 3000)
    rms = crops.square().mean(dim=(1, 2)).sqrt()
    # nearly half of all positions are quiet, and eight attempts in a row are in one sample of 256 at most
    assert (rms < 0.001).float().mean() < 0.02


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_hears_the_same(corpus: Corpus) -> None:
    batches = [CorpusBatches(corpus, seed=0, augmentation=Augmentation()) for _ in range(2)]
    here = batches[0].batch(range(8), 4096, CPU)
    there = batches[1].batch(range(8), 4096, torch.device("cuda"))
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-4)
