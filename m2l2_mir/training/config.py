"""The recipe of a training run: one frozen dataclass, read from TOML, kept in the run's folder.

Shares of training are positions in [0, 1]: 0 is the first step, 1 the last.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from m2l2_mir.errors import ConfigError
from m2l2_mir.model.config import ModelConfig, preset_names
from m2l2_mir.recipe import close_match, from_mapping, from_toml

__all__ = ["TrainingConfig", "recipe_names"]

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything that decides what a run computes, but for its data and its device."""

    name: str
    model: str  # a preset of the family, or the path of a model's TOML
    latents: Literal["summary", "ordered"] = "summary"  # the arm of the ablation; all else stays equal
    steps: int
    batch_size: int  # windows of context_chunks in one step, over all processes; or as many chunks, apart
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 where the device is built for it

    # Optimiser: RAdam, linear warm-up, cosine
    learning_rate: float = 1e-4
    final_rate: float = 0.0  # of the learning rate, at the end of the cosine
    encoder_rate: float = 1.0  # of the learning rate, for the encoder; 0: it stays as it is
    warmup_steps: int = 10_000
    second_moment: float = 0.999  # beta2; RAdam itself holds the rate back for about 2 / (1 - beta2) steps
    clip_norm: float = 1.0  # 0: no clipping
    ema_decay: float = 0.9999  # with warm-up: min(decay, (1 + step) / (10 + step))

    # Consistency loss (arXiv 2310.14189, as the trainer of arXiv 2408.06500 has it)
    consistency_weight: float = 1.0
    consistency_from: float = 0.0  # share of training before which the consistency network rests
    phase_until: float = 0.0  # share until which the target has the original's magnitudes and the noisy input's phases
    easy_until: float = 0.0  # share until which the noise step shrinks geometrically from "all" (arXiv 2406.14548)
    step_exponents: tuple[float, float] = (1.0, 3.0)  # dt = 0.1^e on the noise schedule, e rising over the rest
    noise_mean: float = -1.1  # of log sigma
    noise_std: float = 2.0
    noise_positions: bool = False  # weigh positions on the noise schedule so; else levels, clamped to its range

    # Explicit reconstruction loss: a linear head on the upsampler's tokens predicts log-frequency magnitudes
    explicit_weight: float = 0.0
    explicit_fade: tuple[float, float] = (1.0, 1.0)  # shares between which its weight falls to `explicit_rest`
    explicit_rest: float = 0.0  # of the weight, afterwards
    difference_weight: float = 0.7  # of the target's difference along frequency; the rest is its level
    low_weight: float = 0.5  # of the target of long windows, for low pitches
    onset_weight: float = 0.5  # of the onset envelopes, for rhythm

    # Summary loss: linear heads on the latents themselves predict what the whole chunk is like
    summary_weight: float = 0.0  # of all of them; the mean spectra have a share of 1
    chroma_weight: float = 1.0  # share of the chroma
    rhythm_weight: float = 1.0  # share of the autocorrelation of onsets
    summary_noise: float = 0.0  # standard deviation of noise on the latents that the heads read
    summary_noise_by: float = 0.0  # share of training over which it rises to that

    saturation_weight: float = 0.0  # penalty on squared values beyond the bottleneck's linear part
    fitted_start: bool = True  # of a new run: the bottleneck begins fitted to the data (m2l2_mir.training.start)
    respread: bool = False  # of a stage that begins with weights: give the latents back their spread first

    # Data
    mix: Mapping[str, float] = field(default_factory=dict)  # pattern of collections -> share; empty: by length
    hold_out: tuple[str, ...] = ()  # patterns of collections that are only watched
    augmentation: Mapping[str, Any] = field(default_factory=dict)  # of m2l2_mir.training.augmentation.Augmentation

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0: {getattr(self, name)}")
        for name in (
            "consistency_from",
            "phase_until",
            "easy_until",
            "summary_noise_by",
            "explicit_rest",
            "difference_weight",
            "final_rate",
            "encoder_rate",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie in 0 to 1: {getattr(self, name)}")
        if 0 < self.easy_until <= self.phase_until:
            raise ConfigError(f"easy_until must be 0 or above phase_until: {self.easy_until} leaves it nothing")
        weights = ("consistency", "explicit", "low", "onset", "summary", "chroma", "rhythm", "saturation")
        for name in (*(f"{part}_weight" for part in weights), "summary_noise"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative: {getattr(self, name)}")
        if not 0 <= self.explicit_fade[0] <= self.explicit_fade[1] <= 1:
            raise ConfigError(f"explicit_fade must be two rising shares of training: {self.explicit_fade}")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay must lie in 0 to below 1: {self.ema_decay}")
        if self.consistency_weight == self.explicit_weight == self.summary_weight == 0:
            raise ConfigError("consistency_, explicit_ and summary_weight are all 0: there is nothing to learn from")

    @cached_property
    def model_config(self) -> ModelConfig:
        """Configuration of the model, with this run's kind of latents."""
        known = self.model in preset_names()
        config = ModelConfig.preset(self.model) if known else ModelConfig.from_toml(self.model)
        if config.latents == self.latents:
            return config
        return config.replace(latents=self.latents, name=f"{config.name}-{self.latents}")

    @classmethod
    def load(cls, name: str | Path) -> TrainingConfig:
        """Read a recipe of the package by name, or the TOML file at a path.

        Raises
        ------
        ConfigError
            There is no such recipe, or it cannot be used.
        """
        path = Path(name)
        if path.suffix != ".toml":
            if str(name) not in recipe_names():
                hint = close_match(str(name), recipe_names())
                raise ConfigError(f"no training recipe {str(name)!r}{hint}; recipes: {', '.join(recipe_names())}")
            path = RECIPES / f"{name}.toml"
        return from_toml(cls, path)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], model: ModelConfig | None = None) -> TrainingConfig:
        """Rebuild a recipe from :meth:`to_dict`.

        Parameters
        ----------
        values
            Its keys.
        model
            What its model was; None: read it again, by its name or from its file.
        """
        config = from_mapping(cls, values, source="the run's recipe")
        if model is not None:
            config.__dict__["model_config"] = model  # where the property keeps what it has read
        return config

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values that JSON can hold."""
        return dataclasses.asdict(self)


def recipe_names() -> list[str]:
    """Names of the training recipes of the package, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))
