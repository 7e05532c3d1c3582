"""Probes: what can be read from embeddings."""
