"""Augmentation: off it changes nothing, and each step does to a known signal what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from m2l2_mir.errors import ConfigError
from m2l2_mir.training.augmentation import PHASES, Augmentation, Parameters, augment, no_augmentation, resample_by

RATE, SAMPLES = 44100, 8192
OFF = no_augmentation()


def sines(hertz: float, samples: int, amplitude: float = 0.1) -> torch.Tensor:
    """Sine and cosine, [1, 2, samples]."""
    phase = 2 * np.pi * hertz * torch.arange(samples, dtype=torch.float64) / RATE
    return amplitude * torch.stack([phase.sin(), phase.cos()])[None].float()


def plain(count: int = 1) -> Parameters:
    return replace(OFF.draw(0, range(count)), gain=np.ones(count))


def level_db(windows: torch.Tensor) -> float:
    return float(20 * windows.square().mean().sqrt().log10())


def run(crops: torch.Tensor, parameters: Parameters, partners: torch.Tensor | None = None) -> torch.Tensor:
    return augment(crops, partners, parameters, samples=SAMPLES, sample_rate=RATE)


def test_all_off_is_the_identity() -> None:
    assert OFF.crop_samples(SAMPLES) == SAMPLES
    crops = torch.randn(5, 2, SAMPLES).clamp(-1, 1)
    assert torch.equal(run(crops, OFF.draw(1, range(5))), crops)


def test_parameters_follow_from_the_sample_and_keep_to_their_ranges() -> None:
    augmentation = Augmentation()
    drawn = augmentation.draw(0, range(1000))
    one = augmentation.draw(0, [123])
    for name in vars(drawn):
        assert getattr(one, name)[0] == getattr(drawn, name)[123]
    gain_db = 20 * np.log10(drawn.gain)
    assert -18 <= gain_db.min() < -17
    assert 5 < gain_db.max() <= 6
    assert abs((drawn.mix_gain > 0).mean() - 0.5) < 0.07
    assert abs((drawn.polarity < 0).mean() - 0.5) < 0.07
    assert np.abs(12 * np.log2(drawn.steps / PHASES)).max() <= 2
    assert len(np.unique(drawn.steps)) == 14
    finite = drawn.low_pass_hz[np.isfinite(drawn.low_pass_hz)]
    assert 4000 <= finite.min() < 4500
    assert 15000 < finite.max() <= 16000


def test_gain_is_as_stated_and_never_clips() -> None:
    crops = sines(440, SAMPLES, 0.5)
    quiet = run(crops, replace(plain(), gain=np.array([10 ** (-18 / 20)])))
    assert level_db(quiet) - level_db(crops) == pytest.approx(-18, abs=1e-4)
    loud = run(crops, replace(plain(), gain=np.array([4.0]), polarity=np.array([-1.0])))
    torch.testing.assert_close(loud, -2 * crops, atol=1e-3, rtol=0)  # as far as full scale


def test_pitch_goes_up_by_the_ratio_without_artefacts() -> None:
    for steps in (57, 61, 68, 71):
        crop = sines(3000, Augmentation().crop_samples(SAMPLES))[0]
        heard = resample_by(crop, steps, SAMPLES)[0].double().numpy()
        phase = 2 * np.pi * 3000 * steps / PHASES * np.arange(SAMPLES) / RATE
        basis = np.stack([np.sin(phase), np.cos(phase)], axis=1)
        weights, *_ = np.linalg.lstsq(basis, heard, rcond=None)
        assert np.hypot(*weights) == pytest.approx(0.1, rel=1e-3)
        assert 10 * np.log10(np.square(heard - basis @ weights).mean() / np.square(heard).mean()) < -65
    # what would fold back when pitch goes up is not there
    folding = resample_by(sines(21000, Augmentation().crop_samples(SAMPLES))[0], 71, SAMPLES)
    assert level_db(folding) < level_db(sines(21000, SAMPLES)) - 50


def test_low_pass_and_tilt_are_what_they_say() -> None:
    length = Augmentation(semitones=0).crop_samples(SAMPLES)

    def change(hertz: float, **values: float) -> float:
        parameters = replace(plain(), **{name: np.array([value]) for name, value in values.items()})
        return level_db(run(sines(hertz, length), parameters)) - level_db(sines(hertz, SAMPLES))

    assert change(4000, low_pass_hz=5000) == pytest.approx(0, abs=0.1)
    assert change(6000, low_pass_hz=5000) < -60
    assert change(1000, tilt_db=1.5) == pytest.approx(0, abs=0.1)
    assert change(4000, tilt_db=1.5) == pytest.approx(3, abs=0.1)
    assert change(250, tilt_db=-1.5) == pytest.approx(3, abs=0.1)


def test_a_partner_is_added_at_its_level_and_channels_are_swapped() -> None:
    crops, partner = sines(440, SAMPLES).repeat(2, 1, 1), sines(1000, SAMPLES, 0.001)
    parameters = replace(plain(2), mix_gain=np.array([0.0, 0.5]), swap=np.array([True, False]))
    first, second = run(crops, parameters, partner)
    assert torch.equal(first, crops[0].flip(0))
    torch.testing.assert_close(second - crops[1], 50 * partner[0], atol=1e-5, rtol=0)


def test_impossible_settings_are_refused() -> None:
    for wrong in ({"mix": 2}, {"gain_db": (3.0, -3.0)}, {"semitones": -1}, {"low_pass_hz": (0.0, 1.0)}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Augmentation(**wrong)
