"""Scores from ABC and MusicXML: what is kept of the notation, the cache, and which scores are one tune."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from m2l2_mir.dataset.rendered import corpus
from m2l2_mir.dataset.rendered.families import (
    families,
    note_windows,
    openings,
    same_end,
    sharing,
    step_windows,
    title_key,
)
from m2l2_mir.dataset.rendered.parsing import Score, parse_abc
from m2l2_mir.errors import InputError

pytest.importorskip("music21")
JIG = "ryansMammoth/LanigansBallJig"
REELS = [f"ryansMammoth/{name}Reel" for name in ("Acacia", "Banjo", "BrokenSixpence", "GrandSpy", "MasonsApron")]


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("M2L2_CACHE", str(tmp_path))
    return tmp_path


def abc(body: str, *, meter: str = "2/4", key: str = "D", title: str = "A Tune") -> Score:
    return parse_abc("test/1", f"X:1\nT:{title}\nR:Reel\nM:{meter}\nL:1/8\nK:{key}\n{body}\n")


def test_notation_becomes_notes() -> None:
    # a grace note, a tie over the bar, a double stop, a rest
    score = abc("{g}A2 B2-|B2 [Ac]z|", key="Ador")
    assert score.parts == (((0.0, 1.0, 69), (1.0, 2.0, 71), (3.0, 0.5, 72)),)
    assert (score.tonic, score.mode, score.meter, score.beat, score.steady) == (9, "dorian", "2/4", 1.0, True)
    assert score.bars == ((0.0, 2.0), (2.0, 2.0))
    assert (score.title, score.dance, score.end) == ("A Tune", "reel", 3.5)


@pytest.mark.parametrize("change", ["\nK:A\n", "[K:A]", "\nM:3/4\n"])
def test_a_change_of_key_or_metre_is_seen(change: str) -> None:
    assert abc("A2 B2|c2 d2|\nA2 B2|").steady
    assert not abc(f"A2 B2|c2 d2|{change}A2 B2|c2 d2|").steady


def test_a_jig_of_the_corpus() -> None:
    score = corpus.load(JIG)
    assert (score.tonic, score.mode, score.meter, score.beat, score.dance) == (4, "minor", "6/8", 1.5, "jig")
    assert score.bars[:2] == ((0.0, 0.5), (0.5, 3.0))  # a pick-up of an eighth


def test_key_of_a_chorale_is_that_of_the_voices() -> None:
    score = corpus.load("bach/bwv1.6")  # the first part is a horn
    assert score.part_names[0].startswith("Horn")
    assert (score.tonic, score.mode) == (5, "major")
    silent = corpus.load("bach/bwv41.6")  # trumpets notated in C major, the voices without a mode
    assert (silent.tonic, silent.mode) == (None, "")
    assert corpus.load("bach/bwv358").title == "Jesu, meine Freude"


def test_files_of_many_tunes_are_cut() -> None:
    names = corpus.names("oneills1850")
    assert len(names) == len(set(names)) > 2000
    head = corpus.heading("oneills1850/0001-0050/3")
    assert (head.title, head.dance, head.meter) == ("The Little Heathy Hill", "", "C")
    assert corpus.load("oneills1850/0001-0050/3").title == head.title


def test_parsed_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = corpus.load(JIG)
    (entry,) = fresh.rglob("*.json")
    with monkeypatch.context() as patch:
        patch.setattr(corpus, "parse_abc", lambda *_: pytest.fail("parsed again"))
        assert corpus.load(JIG) == first
    entry.write_text(entry.read_text()[:-100])  # damaged: parsed again and mended
    assert corpus.load(JIG) == first
    assert corpus._kept(entry) == first


def test_nothing_pickled_is_written_or_read(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from music21 import freezeThaw

    monkeypatch.setattr(freezeThaw.StreamFreezer, "write", lambda *_, **__: pytest.fail("pickled"))
    monkeypatch.setattr(freezeThaw.StreamThawer, "open", lambda *_, **__: pytest.fail("unpickled"))
    corpus.load("bach/bwv358")
    corpus.load(JIG)


def test_writers_at_once(fresh: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        scores = list(pool.map(corpus.load, [JIG] * 4))
    assert all(score == scores[0] for score in scores)
    assert [path.suffix for path in fresh.rglob("*") if path.is_file()] == [".json"]


def test_many_in_parallel_as_one_by_one(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = [corpus.load(name) for name in REELS]
    monkeypatch.setenv("M2L2_CACHE", str(fresh / "other"))
    monkeypatch.setattr(corpus, "_BATCH", 2)
    parsed_here: list[str] = []
    monkeypatch.setattr(corpus, "parse_abc", lambda name, abc: parsed_here.append(name) or parse_abc(name, abc))
    steps: list[tuple[int, int]] = []
    assert list(corpus.load_many(REELS, jobs=2, progress=lambda *step: steps.append(step))) == alone
    assert parsed_here == []
    assert steps[-1] == (5, 5)


def test_a_score_that_cannot_be_read_is_left_out(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(name: str, text: str) -> Score:
        if name == REELS[1]:
            raise InputError("music21 cannot read it")
        return parse_abc(name, text)

    monkeypatch.setattr(corpus, "parse_abc", parse)
    with pytest.warns(RuntimeWarning, match="left out"):
        found = [score.name for score in corpus.load_many(REELS[:3], jobs=1)]
    assert found == [REELS[0], REELS[2]]


def test_a_cache_that_cannot_be_written_costs_only_time(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (fresh / "file").write_text("")
    monkeypatch.setenv("M2L2_CACHE", str(fresh / "file"))
    with pytest.warns(UserWarning, match="parsed anew"):
        assert corpus.load(JIG).tonic == 4


def test_unknown_names_are_one_line() -> None:
    with pytest.raises(InputError, match="did you mean 'bach/bwv358'"):
        corpus.load("bach/bwv358x")
    with pytest.raises(InputError, match="no score 'palestrina/kyrie'"):
        corpus.load("palestrina/kyrie")
    with pytest.raises(InputError, match="did you mean 'bach'"):
        corpus.names("bachh")


def opening(body: str, **heading: str) -> set[str]:
    score = abc(body, **heading)
    downbeat = next(start for start, length in score.bars if length == 2.0)
    return openings(score.parts[0], beat=score.beat, downbeat=downbeat)


def test_openings_ignore_key_pick_up_and_ornament() -> None:
    tune = opening("A2 B2|c2 d2|e2 d2|c2 B2|A2 c2|B2 A2|e4|")
    assert len(tune) == 2
    assert opening("ef|e2 f2|g2 a2|b2 a2|g2 f2|e2 g2|f2 e2|b4|", key="A") == tune  # a fifth up, with a pick-up
    ornamented = opening("AG B2|cB d2|e2 dc|c2 B2|A2 c2|B2 A2|e4|")
    assert len(ornamented & tune) == 1  # the beats, not the notes
    assert not opening("A2 B2|c2 d2|e2 d2|c2 d2|A2 c2|B2 A2|e4|") & tune
    assert opening("A2 B2|c2 d2|") == set()


def test_titles_and_families() -> None:
    assert title_key("THE DEVIL'S DREAM -- REEL") == title_key("Devil’s Dream, The (2)")
    assert title_key("Hornpipe No. 2") == set()
    found = families({"d": ["2"], "c": ["1", "2"], "a": ["1"], "b": [], "e": ["2"]})
    assert found == {"a": "a", "c": "a", "d": "a", "e": "a", "b": "b"}


def test_families_do_not_depend_on_the_order(rng: np.random.Generator) -> None:
    chains = {f"{chain}{link:03d}": [f"{chain}{link}", f"{chain}{link + 1}"] for chain in "ab" for link in range(200)}
    names = list(chains)
    for _ in range(5):
        rng.shuffle(names)
        found = families({name: chains[name] for name in names})
        assert found == {name: f"{name[0]}000" for name in names}


def test_a_shared_strain_is_found_wherever_it_stands() -> None:
    strain = "d2 f2|a2 g2|f2 e2|d2 c2|B2 d2|c2 e2|d4|"
    first, other = "A2 B2|c2 A2|B2 c2|B2 A2|", "f2 f2|e2 e2|d2 B2|A2 F2|"
    raised = "A2 c2|e2 d2|c2 B2|A2 G2|F2 A2|G2 B2|A4|"  # the strain a fourth lower, in A
    tunes = {"one": abc(first + strain), "two": abc(strain + other), "three": abc(other + raised, key="A")}
    tunes["none"] = abc(first + other + "g2 c2|e2 g2|A4|")
    notes = {name: note_windows(score.parts[0]) for name, score in tunes.items()}
    steps = {
        name: step_windows(score.parts[0], tonic=score.tonic or 0, step=0.5, start=0.0) for name, score in tunes.items()
    }
    assert ("one", "two") in sharing(notes)
    assert ("one", "two") in sharing(steps)
    assert ("one", "three") in sharing(notes)
    assert ("one", "none") not in sharing(notes)
    assert sharing({"a": set(), "b": {1}, "c": {1}}) == [("b", "c")]
    assert sharing({}) == []


def test_ends_are_alike_up_to_a_shift_and_rests_are_not() -> None:
    line = [0, 2, 4, 5, 7, 9, 11, 0, 2, 4, 5, 7, 4, 2, 0, 0]
    later = [7, *line[:-1]]
    rests = [None] * 16
    assert same_end({"a": line, "b": later, "c": rests, "d": rests}) == [("a", "b")]
    assert same_end({"a": line, "b": [*line[:8], *([6] * 8)]}) == []
