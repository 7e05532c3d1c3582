"""Decoding: every file written here has a known content, so positions and lengths can be checked exactly."""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from m2l2_mir import audio
from m2l2_mir.errors import AudioError, InputError


def _music(seconds: float, rate: int, channels: int = 2) -> np.ndarray:
    """A sweep with noise ``[channels, samples]``: no two stretches of it are alike."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal((channels, len(time)))
    return (0.3 * np.sin(2 * np.pi * (100 + 40 * time) * time) + 0.05 * noise).astype(np.float32)


def _write_vbr(path: Path, seconds: int) -> np.ndarray:
    """Write alternating silence and noise, which makes the bit rate vary, beyond the decoder's seek table."""
    noise = 0.3 * np.random.default_rng(1).standard_normal((1, seconds * 44100)).astype(np.float32)
    noise *= np.arange(noise.shape[1]) // (4 * 44100) % 2
    options = {"format": "MP3", "bitrate_mode": "VARIABLE", "compression_level": 0.3}
    with soundfile.SoundFile(path, "w", 44100, 1, **options) as file:
        file.write(noise.T)
    return noise


def _decode_straight(path: Path) -> np.ndarray:
    """What a single read from the start gives: the reference for everything that seeks or cuts."""
    return soundfile.read(path, dtype="float32", always_2d=True)[0].T


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3", "aiff", "w64", "caf", "au"])
def test_reads_what_was_written(tmp_path: Path, suffix: str) -> None:
    path, music = tmp_path / f"a.{suffix}", _music(1.1, 48000)
    audio.save(path, music, 48000)
    loaded, rate = audio.load(path)
    assert (loaded.shape, loaded.dtype, rate) == (music.shape, np.float32, 48000)
    lossy = suffix in {"ogg", "opus", "mp3"}
    assert np.corrcoef(loaded[1], music[1])[0, 1] > (0.97 if lossy else 0.999999)
    info = audio.read_info(path)
    assert (info.sample_rate, info.channels, info.duration) == (48000, 2, pytest.approx(1.1))


@pytest.mark.parametrize("native", [8000, 22050, 44100, 48000, 192000])
@pytest.mark.parametrize("samples", [5, 4801, 50001])
def test_length_is_exact_and_all_ways_agree(tmp_path: Path, native: int, samples: int) -> None:
    path = tmp_path / "a.wav"
    music = _music(samples / native, native)
    soundfile.write(path, music.T, native, subtype="FLOAT")
    target = 44100
    whole = audio.resample(music, native, target)
    assert whole.shape == (2, round(samples * target / native))
    np.testing.assert_allclose(whole, soxr.resample(music.T, native, target, quality="HQ").T, atol=1e-6)
    loaded, _ = audio.load(path, sample_rate=target)
    blocks = list(audio.stream(path, sample_rate=target, channels=2, block_seconds=0.0373))
    assert all(block.shape[1] and block.flags.c_contiguous for block in blocks)
    np.testing.assert_allclose(np.concatenate(blocks, axis=1), whole, atol=1e-6)
    np.testing.assert_allclose(loaded, whole, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 3, 5, 360])  # the resampler itself gives 1, 2, 3 and one too few for 360
def test_halves_round_as_python_rounds_them(samples: int) -> None:
    native = 12000 if samples == 360 else 44100
    assert audio.resample(np.ones((1, samples)), native, 22050).shape == (1, round(samples * 22050 / native))


@pytest.mark.parametrize(("native", "target"), [(48000, 44100), (44100, 16000), (8000, 44100), (192000, 44100)])
def test_a_click_stays_where_it_was(native: int, target: int) -> None:
    click = np.zeros((1, native))
    position = native // 2 + 13
    click[0, position - 40 : position + 41] = np.hanning(81)
    resampled = np.abs(audio.resample(click, native, target)[0])
    centre = np.sum(np.arange(len(resampled)) * resampled) / resampled.sum()
    assert abs(centre - position * target / native) < 0.1


def test_resampling_removes_what_would_alias() -> None:
    time = np.arange(48000) / 48000
    heard, folded = (np.sin(2 * np.pi * hz * time)[None] for hz in (1000, 12000))
    level = [np.sqrt(np.mean(audio.resample(tone, 48000, 16000)[0, 500:-500] ** 2)) for tone in (heard, folded)]
    assert level[0] == pytest.approx(np.sqrt(0.5), rel=1e-3)
    assert level[1] < 1e-4


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3"])
def test_excerpt_is_the_same_samples(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    audio.save(path, _music(20, 48000), 48000)
    whole = _decode_straight(path)
    for start, length in [(0.0, 0.5), (0.123, 1.0), (13.37, 2.0)]:
        excerpt, _ = audio.load(path, excerpt=(start, length))
        first = round(start * 48000)
        np.testing.assert_array_equal(excerpt, whole[:, first : first + round(length * 48000)])
    past_the_end, _ = audio.load(path, excerpt=(19.5, 100.0))
    np.testing.assert_array_equal(past_the_end, whole[:, round(19.5 * 48000) :])
    with pytest.raises(AudioError, match=r"begins at 25 s but the file lasts 20.00 s"):
        audio.load(path, excerpt=(25.0, 1.0))


def test_mp3_of_variable_bit_rate_is_read_to_the_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    _write_vbr(path, 120)
    whole = _decode_straight(path)
    blocks = np.concatenate(list(audio.stream(path, sample_rate=44100, channels=1, block_seconds=0.7)), axis=1)
    np.testing.assert_array_equal(blocks, whole)
    excerpt, _ = audio.load(path, excerpt=(95.0, 10.0))
    np.testing.assert_array_equal(excerpt, whole[:, 95 * 44100 : 105 * 44100])


def test_mp3_without_frame_count_is_read_to_its_end(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, tag = tmp_path / "a.mp3", b"ID3\x04\x00\x00\x00\x00\x50\x00" + bytes(0x50 << 7)
    _write_vbr(path, 12)
    data = path.read_bytes()
    path.write_bytes(tag + data)
    assert audio.read_info(path).duration == pytest.approx(12)
    assert capfd.readouterr().err == "", "the decoder warns if the detour is taken needlessly"
    path.write_bytes(tag + data[data.index(data[:2], data.index(b"Xing")) :])
    assert np.isnan(audio.read_info(path).duration)
    loaded, rate = audio.load(path)
    stated = soundfile.info(path).duration
    assert abs(stated - 12) > 1, "libsndfile alone has the right length by now: the detour can go"
    assert loaded.shape[1] / rate == pytest.approx(12, abs=0.1)


def test_channels() -> None:
    six = np.arange(24.0).reshape(6, 4)
    assert audio.map_channels(six, 6) is six
    np.testing.assert_allclose(audio.map_channels(six, 1), six.mean(axis=0, keepdims=True))
    np.testing.assert_allclose(audio.map_channels(six, 2), np.tile(six.mean(axis=0), (2, 1)))
    np.testing.assert_array_equal(audio.map_channels(six[:1], 3), np.tile(six[0], (3, 1)))
    with pytest.raises(InputError, match=r"float64 \[4\]"):
        audio.map_channels(np.zeros(4), 1)


def test_six_channels_from_a_file(tmp_path: Path) -> None:
    path, music = tmp_path / "a.wav", _music(0.5, 44100, channels=6)
    soundfile.write(path, music.T, 44100, subtype="FLOAT")
    loaded, _ = audio.load(path, sample_rate=22050, channels=2)
    np.testing.assert_array_equal(loaded[0], loaded[1])
    mono = audio.resample(music.mean(axis=0, keepdims=True), 44100, 22050)
    np.testing.assert_allclose(loaded[:1], mono, atol=1e-6)


def test_one_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.array([0.5]), 48000)
    assert audio.load(path)[0].tolist() == [[0.5]]
    assert audio.load(path, sample_rate=44100)[0].shape == (1, 1)
    assert audio.load(path, sample_rate=8000)[0].shape == (1, 0)


def test_memory_is_bounded_by_the_block(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((300_000, 2)), 8000)
    sizes = [block.shape[1] for block in audio.stream(path, sample_rate=16000, channels=1, block_seconds=2.0)]
    assert max(sizes) <= 2.1 * 16000
    assert sum(sizes) == 600_000


def _damage(folder: Path) -> dict[str, tuple[Path, str]]:
    """One file of each kind that cannot be used, with what its message must say."""
    cases = {
        "missing.wav": (None, "no such file"),
        "zero.flac": (b"", r"is empty \(0 bytes\)"),
        "text.mp3": (b"these are notes\n" * 500, "cannot be read as audio"),
        "noise.mp3": (np.random.default_rng(0).bytes(3000), "cannot be read as audio"),
        "header.wav": (b"RIFF\x10\x00\x00\x00WAVEfmt " + b"\xff" * 40, "cannot be read as audio"),
        "headerless.raw": (bytes(1000), "cannot be read as audio"),
        "playlist.m4a": (
            b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfine.m4a\n",
            "cannot be read as audio",
        ),
        "concat.m4a": (b"ffconcat version 1.0\nfile fine.m4a\n", "cannot be read as audio"),
        "http:x\udcff.wav": (b"junk", r"http:x\\xff.wav: cannot be read as audio"),
    }
    for name, (data, _) in cases.items():
        if data is not None:
            (folder / name).write_bytes(data)
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    soundfile.write(folder / "fine.m4a", np.zeros(9000), 44100, format="WAV")  # what the playlists name
    soundfile.write(folder / "no-samples.wav", np.zeros((0, 2)), 44100)
    (folder / "rate.wav").write_bytes(
        b"RIFF\x2c\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"
        + (7).to_bytes(4, "little")
        + (14).to_bytes(4, "little")
        + b"\x02\x00\x10\x00data\x08\x00\x00\x00"
        + bytes(8)
    )
    said = {
        "folder.wav": "is a folder",
        "pipe.wav": "not a regular file",
        "no-samples.wav": "holds no samples",
        "rate.wav": "1 channels at 7 Hz",
    }
    said |= {name: reason for name, (_, reason) in cases.items()}
    return {name: (folder / name, reason) for name, reason in said.items()}


@pytest.mark.parametrize("with_ffmpeg", [True, False])
def test_unusable_files_say_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_ffmpeg: bool) -> None:
    if with_ffmpeg:
        pytest.importorskip("av")
    else:
        monkeypatch.setitem(sys.modules, "av", None)
    for name, (path, reason) in _damage(tmp_path).items():
        with pytest.raises(AudioError, match=reason) as caught:
            audio.load(path)
        message = str(caught.value)
        assert "\n" not in message
        assert audio.printable(path) in message
        message.encode()
        if not with_ffmpeg and "cannot be read" in message:
            assert 'pip install "m2l2-mir[m4a]"' in message, name


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(10), 8000)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # the tests may run as a user who may read everything
    with pytest.raises(AudioError, match=r"permission denied; make it readable"):
        audio.read_info(path)


def test_nan_is_reported_with_its_second(tmp_path: Path) -> None:
    path, samples = tmp_path / "a.wav", np.zeros((80_000, 2), np.float32)
    samples[60_000, 1] = np.nan
    soundfile.write(path, samples, 8000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"NaN or infinity at 7\.500 s"):
        list(audio.stream(path, sample_rate=16000, channels=1, block_seconds=2.0))
    assert audio.load(path, excerpt=(0.0, 7.5))[0].shape == (2, 60_000)


@pytest.mark.parametrize("suffix", ["wav", "ogg", "mp3"])
def test_cut_off_file_gives_what_is_left(tmp_path: Path, suffix: str) -> None:
    whole, path = tmp_path / f"whole.{suffix}", tmp_path / f"a.{suffix}"
    audio.save(whole, _music(10, 44100), 44100)
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded, rate = audio.load(path)
    assert 4 < loaded.shape[1] / rate < 6
    np.testing.assert_array_equal(loaded[:, : 4 * rate], _decode_straight(whole)[:, : 4 * rate])
    if suffix == "mp3":  # the headers of the others do not announce, or were mended by the decoder
        assert "though its header announces 10.00 s" in str(caught[0].message)


def test_damaged_flac_gives_what_precedes_the_damage(tmp_path: Path) -> None:
    path, music = tmp_path / "a.flac", _music(10, 44100)
    audio.save(path, music, 44100)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    good: list[np.ndarray] = []
    with pytest.raises(AudioError, match=r"cannot be decoded from \d\.\d\d s on .*lost sync") as caught:
        good.extend(audio.stream(path, sample_rate=44100, channels=2, block_seconds=1.5))
    seconds = float(str(caught.value).split("from ")[1].split(" s")[0])
    decoded = np.concatenate(good, axis=1)
    assert decoded.shape[1] / 44100 == pytest.approx(seconds, abs=0.01)
    np.testing.assert_allclose(decoded, music[:, : decoded.shape[1]], atol=1e-6)


def test_m4a(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    av = pytest.importorskip("av")
    path, rate = tmp_path / "a b.m4a", 44100
    music = _music(3, rate)
    music[:, :rate] = 0  # silence, then sound: shows that the delay of the encoder is taken off
    with av.open(str(path), "w") as container:
        track = container.add_stream("aac", rate=rate, layout="stereo")
        for start in range(0, music.shape[1], 1024):
            piece = np.ascontiguousarray(music[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = rate, start
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    info = audio.read_info(path)
    assert (info.sample_rate, info.channels, info.duration) == (rate, 2, pytest.approx(3, abs=0.03))
    loaded, _ = audio.load(path, channels=1)
    assert loaded.shape[1] == pytest.approx(3 * rate, abs=1024)
    assert np.corrcoef(loaded[0, : 3 * rate], music.mean(axis=0))[0, 1] > 0.97
    excerpt, _ = audio.load(path, channels=1, excerpt=(1.25, 0.5))
    np.testing.assert_array_equal(excerpt[0], loaded[0, 55125 : 55125 + 22050])
    pieces = list(audio.stream(path, sample_rate=rate, channels=1, block_seconds=0.1))
    assert max(piece.shape[1] for piece in pieces) == 4410
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), loaded)
    with pytest.raises(AudioError, match=r"begins at 9 s but the file lasts 3\.0"):
        audio.load(path, excerpt=(9.0, 1.0))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match=r'pip install "m2l2-mir\[m4a\]"'):
        audio.load(path)


def test_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    paths = [tmp_path / f"{rate}.{suffix}" for rate, suffix in itertools.product((16000, 48000), ("flac", "mp3"))]
    for path in paths:
        audio.save(path, _music(3, int(path.stem)), int(path.stem))
    alone = [audio.load(path, sample_rate=44100, channels=1)[0] for path in paths]
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(audio.load, path, sample_rate=44100, channels=1) for path in paths * 5]
        for job, expected in zip(jobs, alone * 5, strict=True):
            np.testing.assert_array_equal(job.result()[0], expected)


def test_save_clips_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with pytest.warns(UserWarning, match="2 of 4 values are beyond full scale"):
        audio.save(path, np.array([0.0, 1.5, -3.0, 0.25]), 8000)
    np.testing.assert_allclose(audio.load(path)[0], [[0, 1, -1, 0.25]], atol=1e-6)
    with pytest.warns(UserWarning, match="beyond full scale"):
        audio.save(tmp_path / "a.ogg", 8 * _music(1, 44100), 44100)
    assert np.abs(audio.load(tmp_path / "a.ogg")[0]).max() < 2  # an encoder of floats would not clip by itself


def test_save_leaves_no_half_file(tmp_path: Path) -> None:
    path = tmp_path / "a.opus"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match=r"cannot hold 1 channel at 44100 Hz"):
        audio.save(path, np.zeros(100), 44100)
    with pytest.raises(InputError, match="NaN"):
        audio.save(path, np.array([np.nan]), 48000)
    with pytest.raises(InputError, match=r"cannot write '\.txt'"):
        audio.save(tmp_path / "a.txt", np.zeros(10), 8000)
    with pytest.raises(AudioError, match="No such file"):
        audio.save(tmp_path / "nowhere" / "a.wav", np.zeros(10), 8000)
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("a.opus", b"old")]


@pytest.mark.parametrize(
    "wrong",
    [{"sample_rate": 0}, {"channels": 0}, {"excerpt": (-1, 2)}, {"excerpt": (0, 0)}, {"block_seconds": 0}],
)
def test_wrong_arguments_are_named_at_the_call(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=str(next(iter(wrong.values()))).replace("(", r"\(").replace(")", r"\)")):
        audio.stream("any.wav", **({"sample_rate": 44100, "channels": 1} | wrong))  # type: ignore[arg-type]
