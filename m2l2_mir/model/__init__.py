"""The Music2Latent2 family: networks, decoding, checkpoints."""

DEFAULT_MODEL = "random:m2l2-small"
"""What is used where no model is named."""
