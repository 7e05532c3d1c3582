"""How near a reconstruction comes to its original: metrics of clips and distances between sets of clips.

    reference, estimated --si_sdr, log_spectral_distance, visqol--> one figure for each clip
    sets --embedder--> embeddings --fad, fad_inf, kad--> one figure for the set
    figures --mean_interval, fad_interval, kad_interval--> intervals over clips

Conventions of clips: :mod:`m2l2_mir.quality.waveform_pairs`; of sets: :mod:`m2l2_mir.quality.embedding_sets`.

>>> import numpy as np
>>> from m2l2_mir import quality
>>> noise = np.random.default_rng(0).normal(size=(2, 22050))
>>> round(quality.si_sdr(noise[0], noise[0] + 0.1 * noise[1]), 0)
20.0
"""

from m2l2_mir.quality.baseline import shaped_noise
from m2l2_mir.quality.extrapolation import fad_inf
from m2l2_mir.quality.frechet import fad, fad_interval
from m2l2_mir.quality.intervals import mean_interval
from m2l2_mir.quality.kernel import kad, kad_interval
from m2l2_mir.quality.log_spectral import log_spectral_distance
from m2l2_mir.quality.reconstruction import clip_figures, set_figures
from m2l2_mir.quality.si_sdr import si_sdr
from m2l2_mir.quality.visqol import visqol

__all__ = [
    "clip_figures",
    "fad",
    "fad_inf",
    "fad_interval",
    "kad",
    "kad_interval",
    "log_spectral_distance",
    "mean_interval",
    "set_figures",
    "shaped_noise",
    "si_sdr",
    "visqol",
]
