"""Steering in a library whose attributes lie along known axes."""

import numpy as np
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.index.similarity import SimilarityIndex
from m2l2_mir.index.steering import Attribute, steer

K, D = 2, 8


class Axis:
    """A number, read along one axis."""

    def __init__(self, axis):
        self.axis = axis

    def directions(self):
        return np.eye(K * D)[[self.axis]]

    def predict(self, embeddings):
        assert embeddings.shape[1:] == (K, D)
        return 120 + 20 * embeddings.reshape(len(embeddings), -1)[:, self.axis].astype(np.float64)


class Classes(Axis):
    """Three classes, by the place on a plane."""

    def directions(self):
        return np.eye(K * D)[self.axis : self.axis + 2]

    def predict(self, embeddings):
        plane = embeddings.reshape(len(embeddings), -1)[:, self.axis : self.axis + 2]
        corners = np.array([[1, 0], [-1, 1], [-1, -1]])
        return np.array(["jazz", "rock", "folk"])[np.argmax(plane @ corners.T, axis=1)]


@pytest.fixture
def attributes():
    return [Attribute(name="tempo", probe=Axis(0)), Attribute(name="genre", probe=Classes(4))]


@pytest.fixture
def index(rng):
    vectors = rng.normal(size=(600, K, D)).astype(np.float32)
    return SimilarityIndex.from_vectors(vectors, [str(row) for row in range(600)])


def effect(steered, name):
    return steered.effects.set_index("attribute").loc[name]


def test_faster_and_slower(index, attributes):
    faster, slower = (steer(index, "5", attributes, 20, but={"tempo": wish}) for wish in ("faster", "slower"))
    assert effect(faster, "tempo")["after"] > effect(faster, "tempo")["before"] + 10
    assert effect(slower, "tempo")["after"] < effect(slower, "tempo")["before"] - 10
    assert effect(faster, "tempo")["before"] == effect(slower, "tempo")["before"]
    predicted = Axis(0).predict(index.embeddings().reshape(-1, K, D))
    found = [int(name) for name in faster.results["track_id"]]
    assert effect(faster, "tempo")["after"] == pytest.approx(np.median(predicted[found]))
    assert effect(faster, "tempo")["question"] == pytest.approx(predicted[5])
    assert "5" not in faster.results["track_id"].tolist()
    unsteered = index.query("5", 20)["track_id"]
    assert faster.kept == len(set(unsteered) & set(faster.results["track_id"])) < 20


def test_more_strength_comes_nearer_to_the_number(index, attributes):
    off = [
        abs(effect(steer(index, "5", attributes, 20, but={"tempo": 160}, strength=one), "tempo")["after"] - 160)
        for one in (0.2, 1, 5)
    ]
    assert off[0] > off[1] > off[2]
    assert off[2] < 5


def test_a_class_is_found_and_the_rest_is_told(index, attributes):
    steered = steer(index, "5", attributes, 20, but={"genre": "folk"})
    assert effect(steered, "genre")["measure"] == "share predicted as folk"
    assert effect(steered, "genre")["after"] > 0.8 > effect(steered, "genre")["before"]
    assert effect(steered, "tempo")["wish"] == ""
    with pytest.raises(InputError, match="no track is predicted as genre 'rok'; did you mean 'rock'"):
        steer(index, "5", attributes, but={"genre": "rok"})


def test_any_removes_the_subspace_exactly(index, attributes):
    steered = steer(index, "5", attributes, 600, but={"tempo": "any"}).results
    rest = index.embeddings()[:, 1:].astype(np.float64)
    rest = rest - rest.mean(axis=0)
    rest = rest / np.linalg.norm(rest, axis=1, keepdims=True)
    rows = steered["track_id"].astype(int)
    np.testing.assert_allclose(steered["similarity"], (rest @ rest[5])[rows], atol=1e-5)
    assert steered["similarity"].is_monotonic_decreasing


def test_other_leaves_out_what_is_predicted_alike(index, attributes):
    steered = steer(index, "5", attributes, 30, but={"genre": "other"})
    assert effect(steered, "genre")["after"] == 0 < effect(steered, "genre")["before"]
    assert len(steered.results) == 30
    with pytest.raises(InputError, match="'other' is for classes"):
        steer(index, "5", attributes, but={"tempo": "other"})


def test_like_compares_in_the_subspace_only(index, attributes):
    steered = steer(index, "5", attributes, 10, like=["genre"])
    plane = index.embeddings()[:, 4:6] - index.embeddings()[:, 4:6].mean(axis=0)
    unit = plane / np.linalg.norm(plane, axis=1, keepdims=True)
    expected = np.sort((unit @ unit[5])[np.arange(600) != 5])[::-1][:10]
    np.testing.assert_allclose(steered.results["similarity"], expected, atol=1e-5)
    assert effect(steered, "genre")["wish"] == "alike"


def test_steering_under_principal_components(rng, attributes):
    vectors = rng.normal(size=(600, K, D)).astype(np.float32) * 3
    index = SimilarityIndex.from_vectors(vectors, [str(row) for row in range(600)], preparation="pca")
    steered = steer(index, "5", attributes, 20, but={"tempo": "faster"})
    assert effect(steered, "tempo")["after"] > effect(steered, "tempo")["before"] + 20


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"but": {"tempi": "faster"}}, "no probe for 'tempi'; did you mean 'tempo'"),
        ({"but": {"tempo": "brisk"}}, "write any, more, faster"),
        ({"but": {"tempo": "nan"}}, "a number is needed"),
        ({"but": {"tempo": "any"}, "like": ["tempo"]}, "both alike and different"),
        ({}, "nothing to steer by"),
        ({"like": ["tempo"], "strength": 0}, "strength must be above 0"),
    ],
)
def test_bad_wishes(index, attributes, options, match):
    with pytest.raises(InputError, match=match):
        steer(index, "5", attributes, **options)


def test_a_probe_of_another_width_is_refused(attributes):
    index = SimilarityIndex.from_vectors(np.eye(12).reshape(12, 2, 6), [str(row) for row in range(12)])
    with pytest.raises(InputError, match="reads 16 numbers, the index holds 12"):
        steer(index, "5", attributes, like=["tempo"])


def test_two_attributes_that_overlap_are_both_removed(index):
    class Oblique(Axis):
        def directions(self):
            direction = np.eye(K * D)[self.axis] + 0.8 * np.eye(K * D)[0]
            return direction[None] / np.linalg.norm(direction)

    both = [Attribute(name="a", probe=Axis(0)), Attribute(name="b", probe=Oblique(1))]
    question = index.embeddings()[5].reshape(1, K, D)
    moved = question.copy()
    moved.reshape(-1)[:2] += [3, -2]  # in the span of the two
    found = [
        steer(index, one, both, 20, but=but).results["track_id"].tolist()
        for one in (question, moved)
        for but in ({"a": "any", "b": "any"}, {"b": "any", "a": "any"})
    ]
    assert found[0] == found[1] == found[2] == found[3]
