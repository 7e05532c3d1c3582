"""Similarity index: neighbours of a track in a library of embeddings."""
