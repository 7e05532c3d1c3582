"""The Music2Latent2 family: networks, decoding, checkpoints."""

from m2l2_mir.model.shipped import default_model

DEFAULT_MODEL = default_model()
"""What is used where no model is named."""
