"""Steering in a library whose attributes lie along known axes."""

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.index import candidates
from m2l2_mir.index.attributes import Attribute
from m2l2_mir.index.similarity import SimilarityIndex
from m2l2_mir.index.steering import steer

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
    assert (predicted[found] > predicted[5]).all()
    assert (predicted[[int(name) for name in slower.results["track_id"]]] < predicted[5]).all()
    assert effect(faster, "tempo")["measured by"] == "by construction"
    assert effect(faster, "tempo")["after"] == pytest.approx(np.median(predicted[found]))
    assert effect(faster, "tempo")["question"] == pytest.approx(predicted[5])
    assert "5" not in faster.results["track_id"].tolist()
    unsteered = index.query("5", 20)["track_id"]
    assert faster.kept == len(set(unsteered) & set(faster.results["track_id"])) < 20


def test_of_what_is_extreme_there_is_no_more(index, attributes):
    order = np.argsort(Axis(0).predict(index.embeddings().reshape(-1, K, D)))
    assert len(steer(index, str(order[-1]), attributes, 20, but={"tempo": "faster"}).results) == 0
    assert len(steer(index, str(order[-6]), attributes, 20, but={"tempo": "faster"}).results) == 5


def test_more_strength_comes_nearer_to_the_number(index, attributes):
    off = [
        abs(effect(steer(index, "5", attributes, 20, but={"tempo": 160}, strength=one), "tempo")["after"] - 160)
        for one in (0.2, 1, 5)
    ]
    assert off[0] > off[1] > off[2]
    assert off[2] < 5


def test_a_class_is_found_and_the_rest_is_told(index, attributes):
    steered = steer(index, "5", attributes, 20, but={"genre": "folk"})
    assert effect(steered, "genre")["measure"] == "share that is folk"
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


def test_labels_judge_what_a_probe_has_steered_by(rng, attributes):
    """The probe finds what it seeks; that its classes are no genres only the labels tell."""
    vectors = rng.normal(size=(600, K, D)).astype(np.float32)
    tempo = Axis(0).predict(vectors) + 5 * rng.normal(size=600)
    table = pd.DataFrame({"genre": np.array(["jazz", "rock", "folk"])[rng.integers(3, size=600)], "tempo": tempo})
    index = SimilarityIndex.from_vectors(vectors, [str(row) for row in range(600)], table)
    steered = steer(index, "5", attributes, 40, but={"genre": "folk", "tempo": "faster"})
    effects = steered.effects.set_index(["attribute", "measured by"])
    assert effects.loc[("genre", "the same probe"), "after"] > 0.6
    labels = effects.loc[("genre", "labels")]
    assert labels["library"] == pytest.approx(np.mean(table["genre"] == "folk"))
    assert labels["after"] == pytest.approx(np.mean(steered.results["genre"] == "folk"))
    assert abs(labels["after"] - labels["library"]) < 0.25
    assert labels["question"] == table["genre"][5]
    assert effects.loc[("tempo", "labels"), "after"] == pytest.approx(steered.results["tempo"].median())
    assert effects.loc[("tempo", "labels"), "after"] > effects.loc[("tempo", "labels"), "library"] + 5
    assert set(effects["results"]) == {40}
    other = steer(index, "5", attributes, 20, but={"genre": "other"}).effects
    assert other["measured by"].tolist() == ["probe", "labels", "by construction", "labels"]
    assert other["after"][2] == 0


def test_before_and_after_of_several_seeds_begin_at_the_same_place(rng, attributes):
    vectors = rng.normal(size=(600, K, D)).astype(np.float32)
    vectors[6] *= 5  # the mean of embeddings is not between their directions
    index = SimilarityIndex.from_vectors(vectors, [str(row) for row in range(600)], preparation="l2")
    steered = steer(index, ["5", "6"], attributes, 11, but={"genre": "any"})
    mean = vectors[[5, 6]].mean(axis=0).reshape(-1)
    order = np.argsort(-(index.vectors() @ mean))
    nearest = order[~np.isin(order, [5, 6])][:11]
    assert effect(steered, "tempo")["before"] == pytest.approx(np.median(Axis(0).predict(vectors[nearest])))


def test_a_shortlist_serves_a_steered_search_of_a_large_library(rng, attributes, monkeypatch):
    vectors = rng.normal(size=(4000, K, D)).astype(np.float32)
    index = SimilarityIndex.from_vectors(vectors, [str(row) for row in range(4000)], preparation="centred")
    wishes = ({"but": {"genre": "any"}}, {"but": {"tempo": "faster"}})
    true = [steer(index, "5", attributes, 10, **one).results["track_id"] for one in wishes]
    monkeypatch.setattr(candidates, "SCANNED", 1000)
    monkeypatch.setattr(candidates, "SHORTLIST", 800)
    monkeypatch.setattr(candidates, "RESCORED", 1)
    short = [steer(index, "5", attributes, 10, **one).results["track_id"] for one in wishes]
    for one, other in zip(true, short, strict=True):
        assert len(set(one) & set(other)) >= 9


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
