"""Music information retrieval on the summary embeddings of Music2Latent2."""

__version__ = "0.1.0"
