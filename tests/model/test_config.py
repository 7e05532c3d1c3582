"""A configuration that cannot work is refused when it is made, with the field and its value."""

import json

import pytest

from m2l2_mir.errors import ConfigError
from m2l2_mir.model.config import ModelConfig, preset_names


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"level_channels": (18, 64)}, "level_channels must be multiples"),
        ({"level_channels": (16, 40), "dim": 40}, "level_channels must be multiples"),
        ({"encoder_layers": 0}, "encoder_layers must be at least 1: 0"),
        ({"registers": -1}, "registers must not be negative: -1"),
        ({"noise_dim": 33}, "noise_dim must be even"),
        ({"noise_dim": 2}, "noise_dim must be even and at least 4"),
        ({"dim": 64.0}, r"dim in the configuration must be int: 64\.0"),
        ({"heads": "2"}, "heads in the configuration must be int: '2'"),
        ({"causal": 1}, "causal in the configuration must be bool: 1"),
        ({"stem_patch": (16,)}, "stem_patch in the configuration must be tuple"),
        ({"latents": "sumary"}, "latents in the configuration must be one of 'summary', 'ordered': 'sumary'"),
        ({"mlp_ratio": -1}, "mlp_ratio must be above 0: -1"),
        ({"sigma_min": 100.0}, "sigma_min must lie below sigma_max"),
        ({"sigma_data": 0.0}, "sigma_data must be above 0"),
        ({"level_blocks": (0, 0)}, "the latents reach the decoder"),
        ({"encoder_blocks": (1, -1)}, "encoder_blocks count blocks"),
        ({"downsample": ((0, 1),)}, "factors of at least 1"),
        ({"dims": 64}, "unknown key 'dims'.*did you mean 'dim'"),
    ],
)
def test_what_cannot_work_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        ModelConfig.preset("m2l2-tiny").replace(**changes)


@pytest.mark.parametrize("name", preset_names())
def test_a_configuration_survives_json(name):
    config = ModelConfig.preset(name)
    assert config.name == name
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
