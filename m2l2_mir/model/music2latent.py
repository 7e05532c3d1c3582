"""Music2Latent, the ancestor of the family: waveform -> latents in order of time -> waveform.

Source: *Music2Latent: Consistency Autoencoders for Latent Audio Compression* (arXiv 2408.06500). A UNet encodes the
spectrogram of one channel to about 11 latents a second. Here 8 of them, in order of time, are the [K, d] of a
chunk, and a chunk is encoded on its own: it is as long as the excerpts of the network's training. The published package
takes group norms over up to a minute instead; ``framing="official"`` does as it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from m2l2_mir.errors import InputError
from m2l2_mir.model import consistency, decoding, spectrogram
from m2l2_mir.model.autoencoder import Condition, Features, Music2Latent2, as_waveform
from m2l2_mir.model.music2latent_config import Music2LatentConfig
from m2l2_mir.model.music2latent_decoding import decode_official, decode_overlapping
from m2l2_mir.model.music2latent_networks import ConsistencyNetwork, Encoder, Upsampler
from m2l2_mir.model.spectrogram import Framing

__all__ = ["Music2Latent"]

OFFICIAL_SAMPLES = 60 * 44_100  # the package encodes and decodes so much at once


class Music2Latent(Music2Latent2):
    """Encoder, upsampler and consistency UNet of one :class:`Music2LatentConfig`, used as a :class:`Music2Latent2`.

    Use :func:`m2l2_mir.load_model` to get one with weights. Several channels are mixed down. The published package
    takes each on its own, as you can: encode and decode one channel after the other.

    >>> config = Music2LatentConfig.official().replace(
    ...     n_fft=128, hop_length=32, level_channels=(4, 8, 16, 16, 16), heads=2, dim=32, bottleneck_channels=16
    ... )
    >>> model = Music2Latent(config)
    >>> embeddings = model.encode(torch.zeros(4000), sample_rate=44100)
    >>> tuple(embeddings.shape)  # [chunks, K, d], the K in order of time
    (2, 8, 64)
    >>> tuple(model.decode(embeddings, num_samples=4000).shape)
    (1, 4000)
    """

    config: Music2LatentConfig

    def __init__(self, config: Music2LatentConfig) -> None:
        nn.Module.__init__(self)  # not that of Music2Latent2, whose networks are others
        self.config = config
        self.weights_id = "random"
        self.metadata = {}
        self.encoder = Encoder(config)  # type: ignore[assignment]
        self.upsampler = Upsampler(config)  # type: ignore[assignment]
        self.consistency = ConsistencyNetwork(config)  # type: ignore[assignment]
        self.eval()

    @torch.no_grad()
    def encode(
        self,
        waveform: ArrayLike | Tensor,
        sample_rate: int,
        *,
        features: Features = "bottleneck",
        framing: Framing = "full",
        batch_size: int = 16,
    ) -> Tensor:
        """Turn a waveform into latents; see :meth:`Music2Latent2.encode`.

        With ``framing="official"`` the values are those of the published package: the waveform is one stretch, of a
        minute at most, and what does not fill a latent at its end is dropped. The last chunk is filled up with zeros.

        Returns
        -------
        Tensor [chunks, K, d], or [chunks, K, channels x bins of the last level] before the bottleneck
        """
        if framing != "official":
            return super().encode(waveform, sample_rate, features=features, framing=framing, batch_size=batch_size)
        config = self.config
        samples = torch.from_numpy(as_waveform(waveform, sample_rate, config))
        count = (samples.shape[-1] - config.overlap) // (config.hop_length * config.latent_frames)
        if count < 1:
            least = config.hop_length * config.latent_frames + config.overlap
            raise InputError(f"official framing needs {least} samples, got {samples.shape[-1]}; use framing='full'")
        longest = min(self._official_latents, count)
        found = []
        for start in range(0, count, longest):
            stretch = self._frames(samples, start, min(start + longest, count))
            if missing := longest - (count - start):
                stretch = torch.cat([stretch, self._frames(samples, 0, missing)], dim=-1) if missing > 0 else stretch
            found.append(self.encode_spectrograms(stretch, features=features)[0, : count - start])
        latents = torch.cat(found)
        latents = torch.cat([latents, latents.new_zeros(-count % config.num_embeddings, latents.shape[1])])
        return latents.unflatten(0, (-1, config.num_embeddings))

    def embeddings_from_values(self, values: Tensor) -> Tensor:
        """Bounded values -> latents as they are published, of about unit variance."""
        return values / self.config.latent_scale

    def values_from_embeddings(self, embeddings: Tensor) -> Tensor:
        """Latents -> bounded values; the inverse of :meth:`embeddings_from_values`."""
        return embeddings * self.config.latent_scale

    @torch.no_grad()
    def decode(
        self,
        embeddings: ArrayLike | Tensor,
        *,
        num_samples: int | None = None,
        method: decoding.Method = "parallel",
        sigma_cond: float = 0.4,
        position_cond: float | None = None,
        steps: int | None = None,
        seed: int = 0,
        framing: Framing = "full",
    ) -> Tensor:
        """Turn latents back into a waveform; see :meth:`Music2Latent2.decode`.

        The only method is ``"parallel"``, in 1 step if `steps` is None; `sigma_cond` and `position_cond` play no part.
        With ``framing="official"`` the latents are one stretch, of a minute at most, as in the published package: those
        that encoding `num_samples` samples gives, or all of them if it is None.
        """
        return super().decode(
            embeddings,
            num_samples=num_samples,
            method=method,
            sigma_cond=sigma_cond,
            position_cond=position_cond,
            steps=steps,
            seed=seed,
            framing=framing,
        )

    @torch.no_grad()
    def decode_stream(
        self,
        embeddings: Iterable[Tensor],
        *,
        noise: decoding.Noise,
        num_samples: int | None = None,
        method: decoding.Method = "parallel",
        sigma_cond: float = 0.4,
        position_cond: float | None = None,
        steps: int | None = None,
        framing: Framing = "full",
    ) -> Iterator[Tensor]:
        """Decode from any iterable of [K, d]; yields pieces [channels, samples] on the CPU.

        Memory does not grow with the length; with official framing, up to a minute.
        """
        if method != "parallel":
            raise InputError(f"{self.config.name} decodes with method='parallel' only: {method!r}")
        if steps is not None and steps < 1:
            raise InputError(f"steps must be at least 1: {steps}")
        steps, config = steps or 1, self.config
        checked = (self._checked(torch.as_tensor(chunk)) for chunk in embeddings)
        if framing == "official":
            latents = torch.cat([self.condition(chunk[None])[0].latents for chunk in checked])
            if num_samples is not None:
                count = (num_samples - config.overlap) // (config.hop_length * config.latent_frames)
                latents = latents[: max(1, count)]
            spectrograms = decode_official(
                self.denoise, latents, noise, config, steps=steps, longest=self._official_latents
            )
        else:
            conditions = (self.condition(chunk[None])[0] for chunk in checked)
            spectrograms = decode_overlapping(self.denoise, conditions, noise, config, steps=steps)
        for piece in spectrogram.synthesize(spectrograms, config, num_samples, framing):
            yield piece.float().cpu()

    def condition(self, embeddings: Tensor) -> Condition:
        """Latents [n, K, d] -> the same, bounded; a stretch of chunks is upsampled as a whole, by :meth:`denoise`."""
        return Condition(self.values_from_embeddings(embeddings.to(self.device, torch.float32)), ())

    def denoise(self, x: Tensor, sigma: Tensor, conditions: list[list[Condition]]) -> Tensor:
        """Consistency function f(x, sigma) for stretches of consecutive chunks.

        Parameters
        ----------
        x : [B, W, channels, bins, frames], noisy spectrograms
        sigma : [B, W], noise levels, the same for all chunks of a stretch
        conditions : B lists of W conditions of one chunk each
        """
        if not torch.equal(sigma, sigma[:, :1].expand_as(sigma)):
            raise InputError(
                f"{self.config.name} denoises all chunks of a stretch at one noise level: {sigma.tolist()}"
            )
        chunks = x.shape[1]
        latents = torch.stack([torch.cat([chunk.latents for chunk in row]) for row in conditions])
        features = self.upsampler(latents)
        estimate = consistency.denoise(
            lambda scaled, level: self.consistency(scaled, level, features),
            x.to(self.device).movedim(1, -2).flatten(-2),
            sigma[:, 0].to(self.device),
            self.config,
        )
        return estimate.unflatten(-1, (chunks, -1)).movedim(-2, 1)

    @property
    def _official_latents(self) -> int:
        config = self.config
        return OFFICIAL_SAMPLES // config.hop_length // config.latent_frames

    def _frames(self, samples: Tensor, start: int, stop: int) -> Tensor:
        """Spectrogram [1, 2, bins, frames] of the latents from `start` to `stop`, nothing added in front."""
        step = self.config.hop_length * self.config.latent_frames
        block = samples[:, start * step : stop * step + self.config.overlap]
        return spectrogram.analyze(block[None].to(self.device), self.config)
