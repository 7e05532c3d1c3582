"""A track takes the embeddings of its chunks in any order, and holds no more of them than it must."""

import weakref
from pathlib import Path

import numpy as np
import pytest

from m2l2_mir.dataset.folder import AudioFile
from m2l2_mir.embedding.reading import Track


def track_of(chunks, *, keep_chunks=False, silent=()):
    track = Track(AudioFile(track_id="a.wav", path=Path("a.wav")), keep_chunks)
    track.samples.extend([100] * chunks)
    track.silent.extend(index in silent for index in range(chunks))
    return track


def test_the_order_of_return_does_not_matter(rng):
    embeddings = rng.normal(size=(20, 2, 3)).astype(np.float32)
    results = []
    for order in (np.arange(20), rng.permutation(20)):
        track = track_of(20, silent=(4, 19))
        track.end_of_file()
        results += [found for index in order if (found := track.receive(int(index), embeddings[index])) is not None]
    first, second = results  # one each
    heard = np.delete(embeddings, [4, 19], axis=0)
    np.testing.assert_allclose(first.mean, heard.mean(axis=0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(first.std, heard.std(axis=0), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.std, second.std)
    assert (first.chunks, first.silent_chunks) == (20, 2)


def test_a_silent_track_that_is_cut_off_fails_with_one_reason():
    track = track_of(2, silent=(0, 1))
    track.facts["reason"] = "cut off: 1.00 s of 2.00 s could be decoded"
    for index in range(2):
        track.receive(index, None)
    result = track.end_of_file()
    assert result is not None
    assert (result.status, result.reason.split(":")[0]) == ("failed", "silent")


def test_a_long_track_holds_no_embedding_it_has_summed():
    track = track_of(500)
    alive = []
    for index in range(500):
        embedding = np.full((2, 3), index, np.float32)
        alive.append(weakref.ref(embedding))
        track.receive(index, embedding)
        del embedding
    assert sum(reference() is not None for reference in alive) == 0
    result = track.end_of_file()
    assert result is not None
    assert result.mean is not None
    assert result.mean[0, 0] == pytest.approx(249.5)
