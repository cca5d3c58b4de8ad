"""Two channels, from the codec to the ear."""

import base64
import io

import numpy as np
import pytest
import released
import soundfile

from lib import acoustics, check, listeners, model, show
from lib.hearing import timbre
from lib.pages import audio as players


@pytest.fixture(scope="module")
def stereo(tmp_path_factory):
    folder = released.write_transformers(tmp_path_factory.mktemp("stereo"), channels=2)
    return model.load(str(folder), "cpu")


@pytest.fixture(scope="module")
def clips(stereo):
    return stereo.generate(["a happy melody", "a melody"], seconds=1.2, progress=False)


def test_both_channels_are_kept(stereo, clips, tmp_path):
    assert clips.tokens.shape == (2, 8, 60) and clips.audio.shape == (2, 2, 38_400)
    left, right = clips.audio.swapaxes(0, 1)
    assert np.abs(left - right).max() > 1e-4
    # the codebooks of a channel are every second one (audiocraft's order): each sings alone
    turned = clips.tokens.reshape(2, 4, 2, 60)[:, :, ::-1].reshape(clips.tokens.shape)
    np.testing.assert_allclose(stereo.decode(turned), clips.audio[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(clips.mono, (left + right) / 2, atol=1e-7)
    assert clips[1].audio.shape == (1, 2, 38_400) and clips.silent().audio.shape == (2, 0)
    clips.save(tmp_path / "a")
    again = model.Clips.load(tmp_path / "a")
    np.testing.assert_array_equal(again.audio, clips.audio)
    read = stereo.encode(clips.audio, clips.sample_rate)
    swapped = stereo.encode(clips.audio[:, ::-1], clips.sample_rate)
    assert (read[:, ::2] != read[:, 1::2]).any()
    np.testing.assert_array_equal(
        swapped.reshape(2, 4, 2, 60), read.reshape(2, 4, 2, 60)[:, :, ::-1]
    )
    song = stereo.generate(
        ["a melody"] * 2, 1.6, prompt_audio=clips.audio, temperature=0, progress=False
    )
    np.testing.assert_array_equal(song.tokens[..., :60], read)


def test_two_channels_are_not_taken_for_two_clips(stereo, clips):
    one = clips.audio[0]
    with pytest.raises(ValueError, match=r"Write audio\[None\] for one clip in stereo"):
        stereo.generate(["a", "b"], 1.5, prompt_audio=one[:, :16_000], progress=False)
    assert stereo.encode(one[None], 32_000).shape == (1, 8, 60)
    assert stereo.encode(one[:, None], 32_000).shape == (2, 8, 60)


def test_both_channels_are_heard(clips):
    measured = acoustics.measure_all(clips.audio, clips.sample_rate)
    assert measured.equals(acoustics.measure_all(clips.mono, clips.sample_rate))
    assert measured.equals(acoustics.measure_all(list(clips.audio), clips.sample_rate))
    assert acoustics.measure(clips.audio[0], clips.sample_rate) == dict(measured.iloc[0])
    features = listeners.features(clips.audio, clips.sample_rate)
    assert features.equals(listeners.features(clips.mono, clips.sample_rate))


def test_what_a_stereo_codec_plays_is_heard_in_mono(stereo, clips):
    music = np.float32(0.3) * np.sin(np.arange(16_000) / 20, dtype=np.float32)
    sound, rate = listeners.played(np.stack([music, -music]), stereo)
    assert sound.shape == (2, 32_000) and rate == 32_000
    assert timbre.describe(sound, rate).shape == (2, 38)
    decoded = listeners.decoded(clips.tokens, stereo)
    np.testing.assert_allclose(decoded, clips.mono, atol=1e-6)


def test_both_channels_are_played_and_drawn(clips):
    rate = clips.sample_rate
    one = np.stack([0.5 * np.sin(np.arange(rate) / 20), np.zeros(rate)])
    with pytest.warns(UserWarning, match="silence"):
        sound = players.mp3(one, rate)
    played, _ = soundfile.read(io.BytesIO(sound))
    assert played.shape[1] == 2
    assert np.abs(played[:, 0]).max() > 0.4 and np.abs(played[:, 1]).max() < 0.05
    page = show.spectrogram(clips.audio[0], rate).data
    sound = base64.b64decode(page.split("data:audio/mpeg;base64,")[1].split('"')[0])
    assert soundfile.info(io.BytesIO(sound)).channels == 2
    np.testing.assert_array_equal(show.level(clips.audio[0], rate), show.level(clips.mono[0], rate))
    with pytest.raises(ValueError, match=r"or, in stereo, \(2, sample\)"):
        check.clip("audio", np.ones((3, 99)))
