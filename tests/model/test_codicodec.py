"""Official weights of CoDiCodec, from file to audio: as the published package answers, and as this one always did.

Both networks read the same random weights from a file as it is published, at a small size.
"""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from m2l2_mir.audio import load
from m2l2_mir.embedding.extract import extract
from m2l2_mir.errors import InputError
from m2l2_mir.model import official
from m2l2_mir.model.checkpoint import load_model

GOLDEN = Path(__file__).parent / "golden" / "codicodec.npz"
RATE = 48_000
HOP, FRAME, CHUNK = 128, 256, 32 * 128
PROMPT = 0.4  # the package's default: position on the noise schedule, of the chunk before


def music(samples, channels=2):
    """A sine for each channel, and noise."""
    numbers, time = np.random.default_rng(3), np.arange(samples) / RATE
    sines = [0.3 * np.sin(2 * np.pi * pitch * time) for pitch in (441.0, 997.0)[:channels]]
    return (np.stack(sines) + 0.05 * numbers.standard_normal((channels, samples))).astype(np.float32)


@pytest.fixture
def ours(official_pt):
    return load_model(official_pt, device="cpu")


@pytest.fixture
def theirs(small_published, official_pt, published_state):
    """The package on the same file, but for the tensors it never reads: their shapes are its own."""
    whole = small_published.UNet().state_dict()
    unused = {name: whole[name] for name in official.UNUSED}
    path = official_pt.with_name("whole.pt")
    torch.save({"gen_state_dict": {**published_state, **unused}}, path)
    return small_published.EncoderDecoder(str(path), device=torch.device("cpu"))


def drawn(monkeypatch, function, *arguments, **settings):
    """Result of a function of the package, and the noise it drew, in order."""
    draws, original, generator = [], torch.randn, torch.Generator().manual_seed(11)

    def draw(shape, **_):
        draws.append(original(tuple(shape), generator=generator))
        return draws[-1]

    with monkeypatch.context() as patch:
        patch.setattr(torch, "randn", draw)
        patch.setattr(torch, "randn_like", lambda like: draw(like.shape))
        return function(*arguments, **settings), draws


def decoded(model, embeddings, noise, **settings):
    pieces = model.decode_stream(
        embeddings, noise=lambda chunk, draw: noise[chunk, draw], framing="official", **settings
    )
    return torch.cat(list(pieces), dim=-1)


def assert_same_audio(found, expected):
    """To 1e-4 of the peak; the package clips, this one leaves that to whoever writes the file."""
    assert found.shape == expected.shape
    assert (expected.abs() == 1).float().mean() < 0.05  # clipping would hide differences
    assert expected.std() > 0.01
    torch.testing.assert_close(found.clamp(-1, 1), expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


@pytest.mark.reference
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [FRAME, 4 * CHUNK, 3 * CHUNK + 1000, 2 * CHUNK + FRAME - HOP, 2 * CHUNK + 133])
def test_embeddings_are_the_published_ones(theirs, ours, samples, channels):
    waveform = music(samples, channels)
    expected = theirs.encode(waveform if channels == 2 else waveform[0])
    found = ours.encode(waveform, RATE, framing="official")
    assert found.shape == expected.shape
    values = torch.tanh(0.8 * expected)
    assert values.std() > 0.1
    torch.testing.assert_close(torch.tanh(0.8 * found), values, atol=1e-5, rtol=0)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)  # atanh is steep near 1


@pytest.mark.reference
def test_a_file_is_embedded_as_the_package_does(theirs, ours, tmp_path):
    """From file to store: as the package with zeros in front, one hop less than a frame, and behind."""
    waveform = music(3 * CHUNK + 1000)
    soundfile.write(tmp_path / "a.wav", waveform.T, RATE, subtype="FLOAT")
    store = extract(tmp_path / "a.wav", out=tmp_path / "store", model=ours, keep="chunks")
    found = store.chunks("a.wav")
    front, behind = FRAME - HOP, len(found) * CHUNK - waveform.shape[1]
    soundfile.write(tmp_path / "padded.wav", np.pad(waveform.T, ((front, behind), (0, 0))), RATE, subtype="FLOAT")
    np.testing.assert_allclose(found, theirs.encode(str(tmp_path / "padded.wav")), rtol=2e-3, atol=5e-3)  # float16

    # The package does not look at a file's rate: its numbers are those of samples taken for 48 kHz.
    soundfile.write(tmp_path / "b.wav", waveform.T, 44_100, subtype="FLOAT")
    expected = theirs.encode(str(tmp_path / "b.wav"))
    samples, _ = load(tmp_path / "b.wav")
    torch.testing.assert_close(ours.encode(samples, RATE, framing="official"), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.reference
def test_batches_are_embedded_as_each_on_its_own(theirs, ours):
    pieces = [music(2 * CHUNK + 500), 0.5 * music(2 * CHUNK + 500)[::-1].copy()]
    expected = theirs.encode(torch.from_numpy(np.stack(pieces)))
    for piece, embeddings in zip(pieces, expected, strict=True):
        for batch_size in (1, 16):
            found = ours.encode(piece, RATE, framing="official", batch_size=batch_size)
            torch.testing.assert_close(found, embeddings, rtol=1e-3, atol=1e-4)


@pytest.mark.reference
def test_codes_are_the_published_ones(theirs, ours):
    waveform = music(8 * CHUNK)
    expected = theirs.encode(waveform, discrete=True)
    embeddings = ours.encode(waveform, RATE, framing="official")
    found = ours.codes(embeddings)
    assert (found.shape, found.dtype) == (expected.shape, torch.int64)
    assert len(expected.unique()) > 100
    levels = ours.values_from_embeddings(embeddings) * 5
    border = ((levels - levels.floor() - 0.5).abs() < 1e-4).any(-1)  # rounding may go either way there
    assert border.float().mean() < 0.01
    assert torch.equal(found[~border], expected.long()[~border])
    everything = torch.arange(11**4)
    torch.testing.assert_close(ours.condition(everything[:128][None]).latents[0], theirs.gen.fsq.codebook[:128])
    torch.testing.assert_close(ours.condition(everything[-128:][None]).latents[0], theirs.gen.fsq.codebook[-128:])


@pytest.mark.reference
@pytest.mark.parametrize(("steps", "discrete"), [(1, False), (2, True), (3, False)])
def test_autoregressive_audio_is_the_published_one(theirs, ours, monkeypatch, steps, discrete):
    embeddings = ours.encode(music(3 * CHUNK), RATE, framing="official")
    embeddings = ours.codes(embeddings).int() if discrete else embeddings
    expected, draws = drawn(
        monkeypatch, theirs.decode, embeddings, mode="autoregressive", denoising_steps=steps, time_prompt=PROMPT
    )
    noise = autoregressive_noise(draws, len(embeddings), steps)
    found = decoded(ours, embeddings, noise, method="single-step", steps=steps, position_cond=PROMPT)
    assert_same_audio(found, expected)


def autoregressive_noise(draws, chunks, steps):
    """The package's draws by our names: for each chunk its start, the context's, and one after each step."""
    remaining, noise = iter(draws), {}
    for chunk in range(chunks):
        noise[chunk, 0] = next(remaining)[0]
        if chunk:
            noise[chunk - 1, steps + 1] = next(remaining)[0]
        noise |= {(chunk, step + 1): next(remaining)[0] for step in range(steps)}
    assert next(remaining, None) is None
    return noise


@pytest.mark.reference
def test_live_audio_is_the_published_one(theirs, ours, monkeypatch):
    embeddings = ours.encode(music(3 * CHUNK), RATE, framing="official")

    def live():
        theirs.reset()
        return [theirs.decode_next(chunk[None], denoising_steps=2, time_prompt=PROMPT) for chunk in embeddings]

    pieces, draws = drawn(monkeypatch, live)
    noise = autoregressive_noise(draws, len(embeddings), 2)
    found = decoded(ours, embeddings, noise, method="single-step", steps=2, position_cond=PROMPT)
    assert [piece.shape[-1] for piece in pieces] == [CHUNK] * 3
    # A piece ends before the frame that reaches into the next: without that one's share, and with the last one's.
    assert_same_audio(found[:, : 3 * CHUNK], torch.cat(pieces, dim=-1))


@pytest.mark.reference
@pytest.mark.parametrize("chunks", [1, 2, 3, 9])
def test_parallel_audio_is_the_published_one(theirs, ours, monkeypatch, chunks):
    embeddings = ours.encode(music(chunks * CHUNK), RATE, framing="official")
    expected, draws = drawn(monkeypatch, theirs.decode, embeddings, mode="parallel", denoising_steps=4)
    noise = {
        (chunk, step): part for step, draw in enumerate(draws) for chunk, part in enumerate(draw[0].split(32, dim=-1))
    }
    assert_same_audio(decoded(ours, embeddings, noise, method="parallel", steps=4), expected)


def test_answers_are_what_they_were(ours):
    """Compared with arrays that this package made when it was as the published one."""
    golden = np.load(GOLDEN)
    embeddings = ours.encode(music(2 * CHUNK + 133), RATE)
    np.testing.assert_allclose(embeddings, golden["embeddings"], rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(ours.codes(golden["embeddings"]), golden["codes"])
    for method in ("two-step", "single-step", "parallel"):
        audio = ours.decode(golden["embeddings"], method=method, seed=1)[:, ::16]
        expected = golden[method]
        np.testing.assert_allclose(audio, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def test_codes_decode_as_the_levels_they_stand_for(ours):
    embeddings = ours.encode(music(2 * CHUNK), RATE)
    codes = ours.codes(embeddings)
    assert codes.shape == (len(embeddings), 128)
    rounded = ours.condition(codes).latents
    values = ours.values_from_embeddings(embeddings)
    assert (rounded - values).abs().max() <= 0.1 + 1e-6
    again = ours.decode(codes, seed=2)
    assert torch.equal(ours.decode(codes.numpy().astype(np.int32), seed=2), again)
    assert not torch.equal(ours.decode(embeddings, seed=2), again)


def test_codes_that_cannot_be_are_refused(ours, model):
    for codes in (np.full((1, 128), 11**4), np.full((1, 128), -1), np.zeros((1, 127), int), np.zeros((1, 8, 64), int)):
        with pytest.raises(InputError, match="decodes codes of 128 whole numbers a chunk, from 0 to 14640"):
            ours.decode(codes)
    with pytest.raises(InputError, match="m2l2-tiny has no codes"):
        model.codes(np.zeros((1, 8, 64), np.float32))
    with pytest.raises(InputError, match="NaN"):
        ours.codes(np.full((1, 8, 64), np.nan))
