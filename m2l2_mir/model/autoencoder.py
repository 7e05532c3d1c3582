"""The Music2Latent2 autoencoder: waveform -> summary embeddings -> waveform.

Source: *Music2Latent2: Audio Compression with Summary Embeddings and Autoregressive Decoding* (arXiv 2501.17578).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from m2l2_mir.audio import map_channels, resample
from m2l2_mir.errors import InputError
from m2l2_mir.model import consistency, decoding, spectrogram
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.networks import ConsistencyNetwork, Encoder, Upsampler, bound
from m2l2_mir.model.quantizer import codes_from_values, values_from_codes
from m2l2_mir.model.spectrogram import Framing

__all__ = ["Features", "Music2Latent2", "as_waveform"]

Features = Literal["bottleneck", "pre-bottleneck"]


DECODING = ("upsampler", "consistency")  # the networks that encoding does not need


@dataclass(frozen=True)
class Condition:
    """What the consistency network knows of one or more chunks (leading axes [chunks] or [batch, window])."""

    latents: Tensor  # (..., latent_tokens, token_dim)
    features: tuple[Tensor, ...]  # (..., channels, bins, frames), finest first

    def __getitem__(self, chunk: int) -> Condition:
        return Condition(self.latents[chunk], tuple(feature[chunk] for feature in self.features))


class Music2Latent2(nn.Module):
    """Encoder, upsampler and consistency network of one :class:`ModelConfig`.

    Use :func:`m2l2_mir.load_model` to get one with weights. A new one has random weights.

    >>> model = Music2Latent2(ModelConfig.preset("m2l2-tiny"))
    >>> embeddings = model.encode(np.zeros(44100, dtype=np.float32), sample_rate=44100)
    >>> tuple(embeddings.shape)  # [chunks, K, d]
    (2, 8, 64)
    >>> tuple(model.decode(embeddings, num_samples=44100).shape)
    (1, 44100)
    """

    check_rest: Callable[[], None] | None = None  # set by whoever loads weights and has checked only the encoder

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.weights_id = "random"  # set by whoever loads weights: where they come from
        self.metadata: dict[str, str] = {}  # what the checkpoint states beside, such as licence and citation
        self.encoder = Encoder(config)
        self.upsampler = Upsampler(config)
        self.consistency = ConsistencyNetwork(config)
        self.eval()

    def complete(self) -> Self:
        """Check the decoding networks, if only the encoder was checked when the weights were loaded; and return self.

        Nobody needs to call it: it is called when they are used for the first time.

        Raises
        ------
        CheckpointError
            The file that the weights came from is damaged, or no longer the one that was loaded.
        """
        if self.check_rest is not None:
            self.check_rest()
            for name in DECODING:
                super().__getattr__(name).to(self.encoder.gain.dtype)  # half in a file of half precision
            self.check_rest = None
        return self

    def __getattr__(self, name: str) -> Tensor | nn.Module:
        if name in DECODING:
            self.complete()
        return super().__getattr__(name)

    def state_dict(self, *args: Any, **settings: Any) -> dict[str, Any]:  # type: ignore[override]
        """As of any module; see :meth:`complete`."""
        self.complete()
        return super().state_dict(*args, **settings)

    def load_state_dict(self, *args: Any, **settings: Any) -> Any:
        """As of any module; see :meth:`complete`."""
        self.complete()
        return super().load_state_dict(*args, **settings)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.encoder.gain.device

    @property
    def trained(self) -> bool:
        """Whether the weights come from training rather than from initialisation."""
        return not self.weights_id.startswith("random")

    @property
    def fingerprint(self) -> str:
        """Short text, fit for a file name, that tells these weights from others."""
        return re.sub(r"[^A-Za-z0-9-]+", "-", self.weights_id)[:40]

    # Encoding

    @torch.no_grad()  # not inference_mode: what comes out may enter a training loop
    def encode(
        self,
        waveform: ArrayLike | Tensor,
        sample_rate: int,
        *,
        features: Features = "bottleneck",
        framing: Framing = "full",
        batch_size: int = 16,
    ) -> Tensor:
        """Turn a waveform into one set of summary embeddings for each chunk.

        Parameters
        ----------
        waveform : array [samples] or [channels, samples], float in [-1, 1]
            Any length, any number of channels; down-mixed or duplicated to the model's channels.
        sample_rate : int
            Of `waveform` in Hz; resampled to ``config.sample_rate`` if it differs.
        features : {"bottleneck", "pre-bottleneck"}
            The embeddings, or the encoder's activations before the bottleneck.
        framing : {"full", "official"}
            Keep every sample, or frame as the published packages do.
        batch_size : int
            Chunks in one pass through the encoder; bounds memory.

        Returns
        -------
        Tensor [chunks, K, d], or [chunks, latent_tokens, dim] before the bottleneck, float32 on the CPU.

        Raises
        ------
        InputError
            The waveform is empty, not float, not finite, or of more than two axes.
        """
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1: {batch_size}")
        samples = torch.from_numpy(as_waveform(waveform, sample_rate, self.config))
        blocks = spectrogram.blocks(samples, self.config, framing)
        found = []
        for first, part in zip(range(0, len(blocks), batch_size), blocks.split(batch_size), strict=True):
            spectrograms = spectrogram.analyze(part.to(self.device), self.config)
            if framing == "official" and first + len(part) == len(blocks):
                whole = (samples.shape[-1] - self.config.n_fft) // self.config.hop_length + 1
                spectrograms[-1, ..., whole - (len(blocks) - 1) * self.config.chunk_frames :] = 0
            found.append(self.encode_spectrograms(spectrograms, features=features))
        return torch.cat(found)

    @torch.no_grad()
    def encode_blocks(self, blocks: Tensor, *, features: Features = "bottleneck") -> Tensor:
        """Encode blocks [n, channels, chunk_samples + overlap] at the model's rate (see `spectrogram.blocks`)."""
        return self.encode_spectrograms(spectrogram.analyze(blocks.to(self.device), self.config), features=features)

    def encode_spectrograms(self, spectrograms: Tensor, *, features: Features = "bottleneck") -> Tensor:
        """Encode spectrograms [n, 2 * channels, bins, frames]; the result is float32 on the CPU."""
        inputs = self.encoder_inputs(spectrograms).to(self.encoder.gain.dtype)
        if features == "pre-bottleneck":
            return self.encoder.features(inputs).float().cpu()
        if features != "bottleneck":
            raise InputError(f"features must be 'bottleneck' or 'pre-bottleneck': {features!r}")
        return self.embeddings_from_values(bound(self.encoder(inputs).float(), self.config)).cpu()

    def encoder_inputs(self, spectrograms: Tensor) -> Tensor:
        """Add the log-magnitude channels where the configuration asks for them."""
        if not self.config.magnitude_channel:
            return spectrograms
        return torch.cat([spectrograms, spectrogram.log_magnitude(spectrograms, self.config)], dim=-3)

    def embeddings_from_values(self, values: Tensor) -> Tensor:
        """Bounded latent tokens [n, latent_tokens, token_dim] -> embeddings [n, K, d]."""
        if self.config.latent_rescale is not None:
            values = torch.atanh(values) / self.config.latent_rescale
        return values.reshape(len(values), self.config.num_embeddings, self.config.latent_dim)

    def codes(self, embeddings: ArrayLike | Tensor) -> Tensor:
        """Round embeddings to the codes of the ``"fsq"`` bottleneck; :meth:`decode` takes them too.

        Parameters
        ----------
        embeddings : array [chunks, K, d]
            As :meth:`encode` gives them.

        Returns
        -------
        Tensor [chunks, latent_tokens], int64, from 0 to ``fsq_levels ** token_dim - 1``

        Raises
        ------
        InputError
            The model has no codes, or the embeddings are of another shape or not finite.
        """
        if self.config.bottleneck != "fsq":
            raise InputError(
                f"{self.config.name} has no codes: its bottleneck is {self.config.bottleneck!r}, not 'fsq'"
            )
        given = torch.as_tensor(np.asarray(embeddings)) if not isinstance(embeddings, Tensor) else embeddings
        checked = torch.stack([self._checked(chunk) for chunk in given]) if len(given) else given
        return codes_from_values(self.values_from_embeddings(checked.float()), self.config)

    def values_from_embeddings(self, embeddings: Tensor) -> Tensor:
        """Embeddings [n, K, d] -> bounded latent tokens [n, latent_tokens, token_dim]."""
        if self.config.latent_rescale is not None:
            embeddings = torch.tanh(embeddings * self.config.latent_rescale)
        return embeddings.reshape(len(embeddings), self.config.latent_tokens, self.config.token_dim)

    # Decoding

    @torch.no_grad()
    def decode(
        self,
        embeddings: ArrayLike | Tensor,
        *,
        num_samples: int | None = None,
        method: decoding.Method = "two-step",
        sigma_cond: float = 0.4,
        position_cond: float | None = None,
        steps: int | None = None,
        seed: int = 0,
        framing: Framing = "full",
    ) -> Tensor:
        """Turn summary embeddings back into a waveform.

        Parameters
        ----------
        embeddings : array [chunks, K, d], or integer codes [chunks, latent_tokens]
        num_samples : int, optional
            Length of the result, at the model's rate; None: all that the chunks cover.
        method : {"two-step", "single-step", "parallel"}
            See :mod:`m2l2_mir.model.decoding`.
        sigma_cond : float
            Noise level given to the chunks already decoded, which condition the next. 0: none. Not used by
            ``"parallel"``. The paper finds 0.4 best; whether as a noise level or a position is not confirmed.
        position_cond : float, optional
            The same as a position in [0, 1] on the noise schedule; overrides `sigma_cond`.
        steps : int, optional
            Denoising steps a chunk; None: 1, or 5 for ``"parallel"``.
        seed : int
            Of the noise. The same seed gives the same audio, whatever the batch or the length.

        Returns
        -------
        Tensor [channels, samples], float32 on the CPU.

        Raises
        ------
        InputError
            The embeddings are none, of another shape or not finite, or a setting is out of its range.
        """
        given = torch.as_tensor(np.asarray(embeddings)) if not isinstance(embeddings, Tensor) else embeddings
        if len(given) == 0:
            raise InputError("there are no embeddings to decode")
        covered = len(given) * self.config.chunk_samples + self.config.overlap * (1 if framing == "official" else -1)
        if num_samples is not None and not 0 <= num_samples <= covered:
            raise InputError(f"num_samples must lie in 0 to {covered}, what {len(given)} chunks cover: {num_samples}")
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise InputError(f"seed must be a whole number, 0 or more: {seed!r}")
        pieces = self.decode_stream(
            given,
            num_samples=num_samples,
            method=method,
            sigma_cond=sigma_cond,
            position_cond=position_cond,
            steps=steps,
            noise=decoding.SeededNoise(self.config, seed),
            framing=framing,
        )
        return torch.cat(list(pieces), dim=-1)

    @torch.no_grad()
    def decode_stream(
        self,
        embeddings: Iterable[Tensor],
        *,
        noise: decoding.Noise,
        num_samples: int | None = None,
        method: decoding.Method = "two-step",
        sigma_cond: float = 0.4,
        position_cond: float | None = None,
        steps: int | None = None,
        framing: Framing = "full",
    ) -> Iterator[Tensor]:
        """Decode chunk by chunk from any iterable of [K, d]; yields pieces [channels, samples] on the CPU.

        Memory does not grow with the length. ``"two-step"`` runs one chunk behind its input, ``"parallel"`` a few.
        """
        if position_cond is not None:
            if not 0 <= position_cond <= 1:
                raise InputError(f"position_cond must lie in 0 to 1: {position_cond}")
            sigma_cond = consistency.sigma_at(position_cond, self.config)
        spectrograms = decoding.decode(
            self.denoise,
            (self.condition(self._checked(torch.as_tensor(chunk))[None])[0] for chunk in embeddings),
            noise,
            self.config,
            method=method,
            sigma_cond=sigma_cond,
            steps=steps,
        )
        for piece in spectrogram.synthesize(spectrograms, self.config, num_samples, framing):
            yield piece.float().cpu()

    def condition(self, embeddings: Tensor) -> Condition:
        """Embeddings [n, K, d], or codes [n, latent_tokens] -> what the consistency network needs of these chunks."""
        if self._are_codes(embeddings):
            latents = values_from_codes(embeddings.to(self.device), self.config)
        else:
            latents = self.values_from_embeddings(embeddings.to(self.device, torch.float32))
        return Condition(latents, tuple(self.upsampler(latents)))

    def denoise(self, x: Tensor, sigma: Tensor, conditions: list[list[Condition]]) -> Tensor:
        """Consistency function f(x, sigma) for windows of chunks.

        Parameters
        ----------
        x : [B, W, channels, bins, frames], noisy spectrograms
        sigma : [B, W], noise levels
        conditions : B lists of W conditions of one chunk each
        """
        x, sigma = x.to(self.device), sigma.to(self.device)
        flat = [condition for row in conditions for condition in row]
        latents = torch.stack([condition.latents for condition in flat]).unflatten(0, sigma.shape)
        features = [torch.stack(maps) for maps in zip(*(condition.features for condition in flat), strict=True)]
        return consistency.denoise(
            lambda scaled, level: self.consistency(scaled, level, latents, features), x, sigma, self.config
        )

    def _checked(self, chunk: Tensor) -> Tensor:
        expected = (self.config.num_embeddings, self.config.latent_dim)
        if self._are_codes(chunk):
            last = self.config.fsq_levels**self.config.token_dim - 1
            if tuple(chunk.shape) != (self.config.latent_tokens,) or not 0 <= chunk.min() <= chunk.max() <= last:
                raise InputError(
                    f"{self.config.name} decodes codes of {self.config.latent_tokens} whole numbers a chunk, from 0 to "
                    f"{last}; got shape {tuple(chunk.shape)}"
                )
            return chunk
        if tuple(chunk.shape) != expected:
            raise InputError(f"{self.config.name} decodes chunks of shape {expected}, got {tuple(chunk.shape)}")
        if not torch.isfinite(chunk).all():
            raise InputError("the embeddings hold NaN or infinite values")
        return chunk

    def _are_codes(self, given: Tensor) -> bool:
        return self.config.bottleneck == "fsq" and not given.is_floating_point()


def as_waveform(waveform: ArrayLike | Tensor, sample_rate: int, config: ModelConfig) -> np.ndarray:
    """Check a caller's waveform and bring it to [channels, samples] of the model, contiguous float32."""
    if isinstance(waveform, Tensor):
        waveform = waveform.detach().cpu()
        waveform = waveform.float() if waveform.dtype == torch.bfloat16 else waveform  # numpy has no bfloat16
    array = np.asarray(waveform)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"expected a waveform [samples] or [channels, samples], got shape {array.shape}")
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"expected float samples in [-1, 1], got {array.dtype}; divide integers by their full scale")
    if array.shape[0] > array.shape[1] and array.shape[0] > 64:
        raise InputError(f"shape {array.shape} looks like [samples, channels]; pass waveform.T")
    with np.errstate(over="ignore"):  # infinite then, and refused
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise InputError("the waveform holds NaN or infinite samples")
    if not (isinstance(sample_rate, int | float | np.number) and sample_rate > 0 and sample_rate == int(sample_rate)):
        raise InputError(f"sample_rate must be a positive whole number of Hz: {sample_rate!r}")
    array = resample(map_channels(array, config.channels), int(sample_rate), config.sample_rate)
    return np.require(array, requirements=["C", "W"])  # torch warns of arrays that it might not write to
