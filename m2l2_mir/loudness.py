"""Integrated loudness of audio that arrives in blocks.

Source: Recommendation ITU-R BS.1770-4 (10/2015), "Algorithms to measure audio programme loudness and
true-peak audio level". Annex 1 defines the K-weighting by its coefficients at 48 kHz only; their analogue
prototypes, from which the coefficients at every other rate follow by the bilinear transform, were derived
by S. Mansbridge, S. Finn and J. D. Reiss, "Implementation and evaluation of autonomous multi-track fader
control", AES 132nd Convention, 2012, and B. De Man, "Evaluation of implementations of the EBU R128
loudness measurement", AES 145th Convention, 2018.

Conventions
-----------
- Blocks are ``[channels, samples]`` with full scale at -1 and 1, of any length, in order.
- Channels are in the order of a WAV file: L R C LFE Ls Rs; five channels are L R C Ls Rs.
- Loudness is in LUFS (LKFS). Silence measures ``-inf``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import sosfilt

from m2l2_mir.errors import InputError

# Channel weights G_i of BS.1770-4 table 3; the low-frequency channel is left out.
_WEIGHTS = {
    1: (1.0,),
    2: (1.0, 1.0),
    3: (1.0, 1.0, 1.0),
    5: (1.0, 1.0, 1.0, 1.41, 1.41),
    6: (1.0, 1.0, 1.0, 0.0, 1.41, 1.41),
}
# Analogue prototypes: a shelf for the head (frequency in Hz, Q, gain in dB, mid-gain exponent), a high-pass.
_SHELF = (1681.974450955533, 0.7071752369554196, 3.999843853973347, 0.4996667741545416)
_HIGH_PASS = (38.13547087602444, 0.5003270373238773)

_OFFSET = -0.691  # makes a full-scale 997 Hz sine in one front channel read -3.01 LUFS
_ABSOLUTE_GATE = -70.0
_RELATIVE_GATE = -10.0
_STEPS_PER_SECOND = 10
_STEPS_PER_GATE = 4  # gating blocks of 400 ms that overlap by 75 %
# Below this a filter state is inaudible by hundreds of dB, but as a denormal number it slows each
# multiplication tenfold through all of a long silence.
_FLUSH = 1e-30


def integrated_loudness(blocks: Iterable[NDArray[np.floating]], sample_rate: int) -> float:
    """Measure the gated loudness of a programme, BS.1770-4 equations 1 to 7.

    Memory grows by eight bytes per 100 ms of sound. A programme shorter than one gating block of 400 ms,
    for which the standard gives no value, is measured as a single block of its own length.

    Parameters
    ----------
    blocks : iterable of np.ndarray [channels, samples]
        Consecutive pieces of the waveform; 1, 2, 3, 5 or 6 channels.
    sample_rate
        Rate in Hz, above 3364.

    Returns
    -------
    float
        LUFS; ``-inf`` for silence (nothing above -70 LUFS) and for no samples at all.

    Raises
    ------
    InputError
        A block is not ``[channels, samples]``, the number of channels changes or has no standard
        weights, the rate is too low for the weighting, or a sample is NaN or infinite.

    Examples
    --------
    >>> time = np.arange(48000) / 48000
    >>> sine = np.sin(2 * np.pi * 997 * time)[None]
    >>> round(integrated_loudness([sine[:, :30000], sine[:, 30000:]], 48000), 2)
    -3.01
    """
    steps, samples = _step_energies(blocks, sample_rate)
    if not samples:
        return -math.inf
    if len(steps) <= _STEPS_PER_GATE:  # the last step is the incomplete one
        return _lufs(float(steps.sum()) / samples)
    # Equation 3: mean square of each gating block of four steps.
    ends = _ends_of_steps(np.arange(len(steps)), sample_rate)
    sums = np.convolve(steps[:-1], np.ones(_STEPS_PER_GATE), "valid")
    power = sums / (ends[_STEPS_PER_GATE:] - ends[:-_STEPS_PER_GATE])
    # Equations 5 to 7: what is silent first, then what is far below the rest.
    power = power[power > _power(_ABSOLUTE_GATE)]
    if not len(power):
        return -math.inf
    gate = _lufs(float(power.mean())) + _RELATIVE_GATE
    return _lufs(float(power[power > _power(gate)].mean()))


def k_weighting(sample_rate: int) -> NDArray[np.float64]:
    """Return the K-weighting filter of BS.1770-4 at any sample rate.

    Parameters
    ----------
    sample_rate
        Rate in Hz.

    Returns
    -------
    np.ndarray [2, 6]
        Two second-order sections for :func:`scipy.signal.sosfilt`: the shelf, then the high-pass.

    Raises
    ------
    InputError
        The corner of the shelf is not below half the rate.

    Examples
    --------
    >>> k_weighting(48000)[0].round(6).tolist()
    [1.535125, -2.691696, 1.198393, 1.0, -1.690659, 0.732481]
    """
    corner, q, gain, exponent = _SHELF
    if sample_rate <= 2 * corner:
        raise InputError(f"sample rate is {sample_rate} Hz; loudness needs more than {2 * corner:.0f} Hz")
    k = math.tan(math.pi * corner / sample_rate)
    high = 10 ** (gain / 20)
    middle = high**exponent
    shelf = [high + middle * k / q + k * k, 2 * (k * k - high), high - middle * k / q + k * k]
    low_corner, low_q = _HIGH_PASS
    low_k = math.tan(math.pi * low_corner / sample_rate)
    poles, low_poles = _poles(k, q), _poles(low_k, low_q)
    return np.array(
        [
            [value / poles[0] for value in shelf + poles],
            # The standard leaves this numerator unscaled.
            [1.0, -2.0, 1.0] + [value / low_poles[0] for value in low_poles],
        ]
    )


def _poles(k: float, q: float) -> list[float]:
    return [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]


def _step_energies(blocks: Iterable[NDArray[np.floating]], sample_rate: int) -> tuple[NDArray[np.float64], int]:
    """Weighted sums of squares of all 100 ms steps, the last one incomplete; and the number of samples."""
    sections = k_weighting(sample_rate)
    state: NDArray[np.float64] | None = None
    complete: list[NDArray[np.float64]] = []
    rest, samples, steps = 0.0, 0, 0  # energy of the step under way; samples and steps so far
    for block in blocks:
        weights = _weights(block)
        if state is None:
            state = np.zeros((len(sections), len(block), 2))
        elif state.shape[1] != len(block):
            raise InputError(f"a block has {len(block)} channels after blocks of {state.shape[1]}")
        if not block.shape[1]:
            continue
        weighted, state = sosfilt(sections, block, axis=1, zi=state)
        if not np.isfinite(state).all():
            raise InputError("a block holds NaN or infinity; its loudness is not defined")
        state[np.abs(state) < _FLUSH] = 0
        energy = rest + np.cumsum(weights @ np.square(weighted))
        reached = (_STEPS_PER_SECOND * (samples + len(energy)) + 4) // sample_rate
        ends = _ends_of_steps(np.arange(steps + 1, reached + 1), sample_rate)
        at_ends = energy[ends - samples - 1]
        complete.append(np.diff(at_ends, prepend=0.0))
        rest = float(energy[-1] - (at_ends[-1] if len(at_ends) else 0.0))
        samples += len(energy)
        steps = reached
    return np.concatenate([*complete, [rest]]), samples


def _ends_of_steps(steps: NDArray[np.int64], sample_rate: int) -> NDArray[np.int64]:
    """Sample at which each step ends: every tenth of a second, rounded, at any rate."""
    return (steps * sample_rate + 5) // _STEPS_PER_SECOND


def _weights(block: NDArray[np.floating]) -> NDArray[np.float64]:
    if block.ndim != 2:
        raise InputError(f"a block has shape {list(block.shape)}; it must be [channels, samples]")
    if len(block) not in _WEIGHTS:
        raise InputError(f"no standard channel weights for {len(block)} channels; mix to mono or stereo first")
    return np.array(_WEIGHTS[len(block)])


def _lufs(power: float) -> float:
    return _OFFSET + 10 * math.log10(power) if power > 0 else -math.inf


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET) / 10))
