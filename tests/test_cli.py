"""The command line: what it prints, where, and with which exit code."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from m2l2_mir import __version__, cli
from m2l2_mir.audio import save
from m2l2_mir.embedding import extract as extract_module
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import StoreError

TINY = ["--model", "random:m2l2-tiny", "--device", "cpu"]
COMMAND = [sys.executable, "-c", "from m2l2_mir.cli import main; main()"]


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "music"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ["a", "b", "c"]:
        save(folder / f"{name}.wav", rng.normal(scale=0.1, size=(1, 3 * 44100)), 44100)
    (folder / "cover.jpg").touch()
    return folder


def test_embed_says_what_it_did(m2l2, music, tmp_path):
    code, out, err = m2l2("embed", music, "--out", tmp_path / "store", *TINY)
    assert code == 0
    counts, speed, store, untrained = out.splitlines()
    assert counts == "3 of 3 tracks embedded, 0 unchanged, 0 failed; 1 other files passed over"
    assert re.fullmatch(r"0\.00 h of music in \d+\.\d s: \d+ x real time", speed)
    assert store == f"{tmp_path / 'store'}: 3 tracks, 8 x 64 each"
    assert "untrained" in untrained
    assert err == "random:m2l2-tiny:0: untrained weights\n"
    assert list(EmbeddingStore.open(tmp_path / "store").ok["track_id"]) == ["a.wav", "b.wav", "c.wav"]

    code, out, _ = m2l2("embed", music, "--out", tmp_path / "store", *TINY)
    assert code == 0
    assert out.startswith("0 of 3 tracks embedded, 3 unchanged, 0 failed")
    assert "real time" not in out


def test_failures_are_listed_and_give_exit_code_3(m2l2, music, tmp_path):
    (music / "broken.wav").touch()
    (music / "line\nbreak\x1b[2J.wav").touch()
    code, out, err = m2l2("embed", music, "--out", tmp_path / "store", *TINY)
    assert code == 3
    assert out.startswith("3 of 5 tracks embedded, 0 unchanged, 2 failed; 1 other files passed over\n")
    _, first, second = err.splitlines()
    assert re.fullmatch(r"  failed: broken\.wav: .*broken\.wav: is empty \(0 bytes\); .*", first)
    assert second.startswith(r"  failed: 'line\nbreak\x1b[2J.wav': ")
    assert "\x1b" not in out + err


def test_many_failures_are_cut_short(m2l2, tmp_path):
    (tmp_path / "music").mkdir()
    for number in range(cli.SHOWN_FAILURES + 3):
        (tmp_path / "music" / f"{number}.wav").touch()
    code, _, err = m2l2("embed", tmp_path / "music", "--out", tmp_path / "store", *TINY)
    assert code == 3
    assert err.count("  failed: ") == cli.SHOWN_FAILURES
    assert "... and 3 more" in err


def test_json_counts_add_up(m2l2, music, tmp_path):
    arguments = ["embed", music, "--out", tmp_path / "store", "--json", *TINY]
    (music / "b.wav").rename(tmp_path / "b.wav")
    m2l2(*arguments)
    (tmp_path / "b.wav").rename(music / "b.wav")
    (music / "broken.wav").touch()
    os.utime(music / "a.wav", ns=(1, 1))  # touched: read again, but unchanged
    code, out, err = m2l2(*arguments)
    assert code == 3
    assert err == ""
    told = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (told["found"], told["embedded"], told["unchanged"], told["failed"]) == (4, 1, 2, 1)
    assert told["passed_over"] == 1
    assert told["trained"] is False
    assert told["store"] == str(tmp_path / "store")
    assert told["hours"] * 3600 == pytest.approx(3)
    ((name, reason),) = told["failures"]
    assert name == "broken.wav"
    assert "is empty" in reason


def test_only_the_excerpt_counts_as_music(m2l2, music, tmp_path):
    code, out, _ = m2l2("embed", music, "--out", tmp_path / "store", "--json", "--excerpt", "1.5,0.5", *TINY)
    assert code == 0
    assert json.loads(out)["hours"] * 3600 == pytest.approx(1.5)
    assert EmbeddingStore.open(tmp_path / "store").provenance["settings"]["excerpt"] == [1.5, 0.5]


def test_options_reach_the_store(m2l2, music, tmp_path):
    options = ["--keep", "chunks", "--features", "pre-bottleneck", "--loudness", "-23", "--jobs", 2, "--batch-size", 3]
    code, _, _ = m2l2("embed", music / "a.wav", music / "b.wav", "--out", tmp_path / "store", *options, *TINY)
    assert code == 0
    store = EmbeddingStore.open(tmp_path / "store")
    assert store.provenance["keep_chunks"] is True
    assert store.provenance["settings"]["features"] == "pre-bottleneck"
    assert store.provenance["settings"]["loudness"] == -23
    assert list(store.ok["track_id"]) == ["a.wav", "b.wav"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/no/such/folder"], "m2l2: '/no/such/folder' does not exist; check the path"),
        (["music", "--model", "m2l2-tny"], "m2l2: no model 'm2l2-tny'.*did you mean 'm2l2-tiny'"),
        (["music", "--model", "m2l2-stereo"], "no trained weights of 'm2l2-stereo' are shipped yet"),
        (["music", "--device", "quantum"], "m2l2: device 'quantum' cannot be used here"),
        (["music", "--keep", "all"], "m2l2: keep must be 'track' or 'chunks': 'all'"),
        (["music", "--features", "all"], "m2l2: features must be"),
        (["music", "--excerpt", "30"], r"m2l2: --excerpt takes START,LENGTH in seconds, as in 30,60; got '30'"),
        (["music", "--excerpt", "a,b"], "--excerpt takes START,LENGTH"),
        (["music", "--excerpt", "1,2,3"], "--excerpt takes START,LENGTH"),
        (["music", "--excerpt", "-1,2"], r"m2l2: excerpt must be .*: \(-1\.0, 2\.0\)"),
        (["music", "--excerpt", "inf,1"], "m2l2: excerpt must be"),
        (["music", "--excerpt", "nan,1"], "m2l2: excerpt must be"),
        (["music", "--loudness", "3"], "m2l2: loudness must lie in -70 to 0 LUFS: 3"),
        (["music", "--jobs", "0"], "m2l2: jobs must be at least 1: 0"),
        (["music", "--out", "music"], r"m2l2: music holds .* and no provenance\.json, so it is no embedding store"),
        (["music", "--out", "music/a.wav"], r"m2l2: music/a\.wav cannot be used as an embedding store"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line_and_exit_code_2(m2l2, music, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    if "--model" not in arguments:
        arguments = [*arguments, "--model", "random:m2l2-tiny"]
    if "--out" not in arguments:
        arguments = [*arguments, "--out", "store"]
    before = sorted(tmp_path.rglob("*"))
    code, out, err = m2l2("embed", *arguments)
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("m2l2: ")
    assert re.search(message, err)
    assert sorted(tmp_path.rglob("*")) == before


def test_other_settings_are_refused_and_nothing_is_lost(m2l2, music, tmp_path):
    m2l2("embed", music, "--out", tmp_path / "store", *TINY)
    code, _, err = m2l2("embed", music, "--out", tmp_path / "store", "--keep", "chunks", *TINY)
    assert code == 2
    assert err.startswith(f"m2l2: {tmp_path / 'store'} holds embeddings made with other settings")
    assert "keep_chunks" in err
    assert len(EmbeddingStore.open(tmp_path / "store").ok) == 3


def test_the_unexpected_is_one_line_with_exit_code_1(m2l2, music, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("first line\n  second line")

    monkeypatch.setattr(extract_module, "extract", fail)
    code, _, err = m2l2("embed", music, "--out", tmp_path / "store")
    assert code == 1
    assert err == ("m2l2: unexpected RuntimeError: first line second line; run again with --debug for the details\n")


@pytest.mark.parametrize("place", [0, 2, 4])
def test_debug_shows_the_traceback(m2l2, monkeypatch, tmp_path, music, place):
    def fail(*arguments, **options):
        raise StoreError("it broke")

    monkeypatch.setattr(extract_module, "extract", fail)
    arguments = ["embed", str(music), "--out", str(tmp_path / "store")]
    assert m2l2(*arguments)[0::2] == (2, "m2l2: it broke\n")
    arguments.insert(place, "--debug")
    with pytest.raises(StoreError, match="it broke"):  # Python's own exit then prints it with its traceback
        m2l2(*arguments)


def test_nothing_to_embed_is_said(m2l2, tmp_path):
    (tmp_path / "music").mkdir()
    code, out, err = m2l2("embed", tmp_path / "music", "--out", tmp_path / "store", *TINY)
    assert (code, out) == (2, "")
    assert err.startswith("m2l2: no audio files there")
    assert not (tmp_path / "store").exists()


def test_version(m2l2):
    assert m2l2("--version") == (0, f"m2l2-mir {__version__}\n", "")


# In a process of its own, where that is what matters


def test_the_command_line_loads_nothing_heavy():
    program = "import sys, m2l2_mir.cli; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "typer" in found
    assert not {"torch", "numpy", "pandas", "matplotlib", "pyarrow", "scipy", "soundfile"} & set(found)


def test_no_traceback_reaches_a_person(tmp_path):
    arguments = ["embed", "/no/such/folder", "--out", str(tmp_path / "store")]
    plain = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)
    assert (plain.returncode, plain.stdout) == (2, "")
    assert plain.stderr == "m2l2: '/no/such/folder' does not exist; check the path\n"
    debug = subprocess.run([*COMMAND, "--debug", *arguments], capture_output=True, text=True)
    assert debug.returncode == 1
    assert "Traceback" in debug.stderr
    assert "InputError" in debug.stderr


INTERRUPTED = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
from m2l2_mir.progress import EmbedProgress
finished = EmbedProgress.finished
def interrupting(self, result):
    finished(self, result)
    os.kill(os.getpid(), signal.SIGINT)
EmbedProgress.finished = interrupting
from m2l2_mir.cli import main
main()
"""


def test_ctrl_c_is_one_line_and_the_run_goes_on_later(m2l2, music, tmp_path):
    arguments = ["embed", music, "--out", tmp_path / "store", "--jobs", "1", *TINY]
    stopped = subprocess.run([sys.executable, "-c", INTERRUPTED, *map(str, arguments)], capture_output=True, text=True)
    assert stopped.returncode == 1
    assert stopped.stdout == ""
    assert stopped.stderr.splitlines()[1:] == ["m2l2: stopped; run the same command again to go on"]
    done = len(EmbeddingStore.open(tmp_path / "store").ok)
    assert 1 <= done <= 3
    code, out, _ = m2l2(*arguments)
    assert code == 0
    assert out.startswith(f"{3 - done} of 3 tracks embedded, {done} unchanged")


def test_a_reader_that_leaves_early_gets_no_traceback(music, tmp_path):
    """As `m2l2 embed ... | head -0` does. The store is complete all the same."""
    arguments = ["embed", str(music), "--out", str(tmp_path / "store"), *TINY]
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "unexpected" not in err
    assert len(EmbeddingStore.open(tmp_path / "store").ok) == 3


def test_a_file_that_is_cut_off_is_told(m2l2, tmp_path):
    path = tmp_path / "music" / "a.mp3"
    path.parent.mkdir()
    save(path, 0.1 * np.sin(np.arange(4 * 44_100) / 10, dtype=np.float32), 44_100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, out, err = m2l2("embed", path.parent, "--out", tmp_path / "store", *TINY)
    assert code == 0
    assert out.startswith("1 of 1 tracks embedded")
    assert "embedded, but: a.mp3: cut off: " in err
