"""How fast a run is: windows a second, times real time, and the share of the machine's peak that a step reaches.

Conventions
-----------
* Operations are those of matrix products, convolutions and attention in one forward and backward pass, teacher
  included; a multiplication and an addition are two. They are counted once a phase, on a model without data.
* The peak is the fastest of this process's own matrix products at the precision of training, measured once: on a CPU
  with the threads set now, as ``torch.mm`` and as 1x1 convolution. A GPU's is its dense bfloat16 rate, by name where it
  is known (the maker's data sheets), else measured. With several processes it counts once for each.
* A peak that is measured on a busy machine is too low, and the share too high.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from time import perf_counter

import torch
from torch.utils.flop_counter import FlopCounterMode

from m2l2_mir.training.config import TrainingConfig
from m2l2_mir.training.objective import Noise, Objective
from m2l2_mir.training.steps import noise_of, phase_of, phases, windows_of

__all__ = ["Throughput", "peak_rate", "step_flop"]

_DENSE_BFLOAT16 = {"H200": 989e12, "H100": 989e12, "A100": 312e12}  # of the SXM boards; FLOP/s
_SLOWER_BOARDS = ("H100 PCIe", "NVL")
_SIZE, _GPU_SIZE, _REPEATS = 1024, 8192, 7


class Throughput:
    """Speed of a run; made before the training model is wrapped or moved.

    Parameters
    ----------
    objective
        What is trained.
    config
        The recipe.
    device
        Where it is trained.
    processes
        How many share a step.
    dtype
        Of its matrix products.
    """

    def __init__(
        self,
        objective: Objective,
        config: TrainingConfig,
        device: torch.device,
        processes: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        without_data = copy.deepcopy(objective).to("meta")
        self._config = config
        self._peak = processes * peak_rate(device, dtype)
        self._flop = {phase.name: step_flop(without_data, config, phase.first) for phase in phases(config)}
        self._steps, self._seconds, self._done = 0, 0.0, 0.0

    def add(self, step: int, seconds: float) -> None:
        """Count a step that took so long."""
        self._steps += 1
        self._seconds += seconds
        self._done += self._flop[phase_of(step, self._config).name]

    def row(self) -> dict[str, float]:
        """Speed since the last call."""
        model, seconds = self._config.model_config, max(self._seconds, 1e-9)
        windows = self._steps * self._config.batch_size / seconds
        share = self._done / seconds / self._peak
        self._steps, self._seconds, self._done = 0, 0.0, 0.0
        return {
            "windows_a_second": windows,
            "times_real_time": windows * model.context_chunks * model.chunk_seconds,
            "share_of_peak": share,
        }


def step_flop(objective: Objective, config: TrainingConfig, step: int) -> float:
    """Operations of one step, over all processes.

    Parameters
    ----------
    objective
        On the device "meta", where nothing is computed.
    config
        The recipe.
    step
        Stands for its phase.
    """
    ids, samples = windows_of(step, config)
    noise = Noise(*(kind.to("meta") for kind in noise_of(ids[:1], step, config)))
    with FlopCounterMode(display=False) as counter:
        window = torch.zeros(1, config.model_config.channels, samples, device="meta")
        objective(window, noise, step).total.backward()
    return float(counter.get_total_flops() * len(ids))


def peak_rate(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Matrix-product rate in FLOP/s, by the device's name or measured in a fraction of a second."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        if dtype == torch.bfloat16 and not any(board in name for board in _SLOWER_BOARDS):
            for known, rate in _DENSE_BFLOAT16.items():
                if known in name:
                    return rate
        a = _values(_GPU_SIZE).to(device, dtype)
        return _best(lambda: torch.mm(a, a), _GPU_SIZE, lambda: torch.cuda.synchronize(device))
    a = _values(_SIZE).to(dtype)
    image, kernel = a[None].transpose(1, 2).unsqueeze(2), a[:, :, None, None]  # (1, channels, 1, rows), channels last
    with torch.inference_mode():
        # dilation changes nothing but PyTorch's choice of library: see m2l2_mir.model.layers.Linear
        convolution = _best(lambda: torch.nn.functional.conv2d(image, kernel, dilation=2), _SIZE)
        return max(convolution, _best(lambda: torch.mm(a, a), _SIZE))


def _values(size: int) -> torch.Tensor:
    return torch.randn(size, size, generator=torch.Generator().manual_seed(0))


def _best(product: Callable[[], object], size: int, wait: Callable[[], object] = lambda: None) -> float:
    seconds = []
    for _ in range(1 + _REPEATS):
        wait()
        begun = perf_counter()
        product()
        wait()
        seconds.append(perf_counter() - begun)
    return float(2 * size**3 / min(seconds[1:]))
