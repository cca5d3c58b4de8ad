"""Songs' files: a whole MP3 is read as it is, and one that is not all there is refused."""

import numpy as np
import pytest
import soundfile

from lib.rated import audio, mpeg
from lib.rated.errors import AudioError

RATE = 44_100
SECONDS = 12.0


def write(file, samples, rate=RATE, bit_rate="CONSTANT"):
    soundfile.write(
        file,
        samples,
        rate,
        "MPEG_LAYER_III",
        format="MP3",
        bitrate_mode=bit_rate,
        compression_level=0.5,
    )
    return file.read_bytes()


def music(seconds=SECONDS, rate=RATE):
    """A tone in noise after a quiet beginning, for which a changing bit rate starts low."""
    n = round(seconds * rate)
    samples = 0.4 * np.sin(np.arange(n) / 30) + np.random.default_rng(0).normal(0, 0.02, n)
    samples[: rate // 2] *= 0.001
    return samples


def without_header(data):
    """An MP3 without its Xing or Info frame."""
    return data[mpeg._frame_at(data, 0).size :]


@pytest.fixture(scope="module")
def constant(tmp_path_factory):
    return write(tmp_path_factory.mktemp("mp3") / "constant.mp3", music())


@pytest.fixture
def refused(tmp_path):
    """Why a file of these bytes is refused, however it is read."""
    file = tmp_path / "song.mp3"

    def reason(data):
        file.write_bytes(data)
        for read in (audio.length, audio.decoded_length, lambda f: audio.load(f, 16_000, 0, 1.0)):
            with pytest.raises(AudioError) as error:
                read(file)
        return str(error.value)

    return reason


@pytest.mark.parametrize("rate", [44_100, 22_050, 8_000], ids=["MPEG 1", "MPEG 2", "MPEG 2.5"])
@pytest.mark.parametrize("bit_rate", ["CONSTANT", "VARIABLE"])
def test_frames_are_counted(tmp_path, rate, bit_rate):
    file = tmp_path / "song.mp3"
    data = write(file, music(rate=rate), rate, bit_rate)
    whole = mpeg.read(file)
    assert whole.found == whole.promised and not whole.cut and not whole.fault
    assert whole.seconds == pytest.approx(SECONDS, abs=3 * whole.frame_seconds)
    assert audio.length(file) == (SECONDS, True)
    assert audio.decoded_length(file).seconds == SECONDS
    file.write_bytes(data[: len(data) // 3])
    third = mpeg.read(file)
    assert third.promised == whole.promised and third.found < 0.4 * whole.found
    assert f"of {whole.seconds:.1f} s" in third.fault


def test_tags_are_no_frames(tmp_path, constant):
    file = tmp_path / "song.mp3"
    file.write_bytes(constant)
    plain = mpeg.read(file)
    picture = b"ID3\x04\x00\x00\x00\x00\x02\x0a" + b"\xff\xfb\x90\xc4" * 66 + b"\xff\xfb"
    file.write_bytes(picture + constant + b"TAG" + b"\xff" * 125)
    assert mpeg.read(file) == plain
    assert audio.length(file) == (SECONDS, True)


def test_what_is_no_mp3_has_no_frames(tmp_path):
    file = tmp_path / "song.mp3"
    for data in (b"", b"<html>404</html>" * 99, b"\xff\xfb", b"ID3"):
        file.write_bytes(data)
        assert mpeg.read(file) is None


def test_samples_that_look_like_frames_make_no_mp3_of_a_wav(tmp_path):
    file = tmp_path / "song.wav"
    header = b"\xff\xfb\x90\xc4"  # of a frame of 417 bytes
    chance = np.frombuffer(header + bytes(413) + header + bytes(413), np.int16)
    soundfile.write(file, np.pad(chance, (RATE, RATE)), RATE)
    assert mpeg.read(file) is not None
    whole = (2 * RATE + len(chance)) / RATE
    assert audio.length(file) == (whole, True)
    assert len(audio.load(file, RATE)) == 2 * RATE + len(chance)


def test_a_song_cut_to_a_third_is_refused(refused, constant):
    """libsndfile announces all of it and decodes a third without an error."""
    assert "breaks off after 4.0 of 12.0 s. Get it again" in refused(constant[: len(constant) // 3])


def test_a_download_filled_up_with_zeros_is_refused(refused, constant):
    third = constant[: len(constant) // 3]
    assert "breaks off after 4.0 of 12.0 s" in refused(third + bytes(2 * len(third)))


def test_a_cut_song_without_a_header_is_refused(refused, constant):
    """Nothing tells how long it should be, but it ends inside a frame."""
    bare = without_header(constant)
    message = refused(bare[: len(bare) // 3 + 100])
    assert "breaks off inside a frame after 4.0 s" in message and "ffmpeg" in message


def test_a_whole_song_without_a_header_is_read(tmp_path, constant):
    file = tmp_path / "song.mp3"
    file.write_bytes(without_header(constant))
    length = audio.length(file)
    assert length.seconds == pytest.approx(SECONDS, abs=0.1) and not length.promised
    assert len(audio.load(file, 16_000)) == pytest.approx(16_000 * SECONDS, abs=1_600)


def test_a_changing_bit_rate_without_a_header_is_refused(tmp_path, refused):
    """libsndfile guesses its length from the first frame and reads no further."""
    bare = without_header(write(tmp_path / "variable.mp3", music(), bit_rate="VARIABLE"))
    message = refused(bare)
    assert "has 12.0 s, of which" in message and "ffmpeg" in message


def test_digital_silence_at_the_end_counts_where_no_header_does(tmp_path):
    samples = music()
    samples[4 * RATE :] = 0
    file = tmp_path / "song.mp3"
    data = write(file, samples)
    assert audio.decoded_length(file).sound_end == pytest.approx(4.0, abs=0.1)
    assert len(audio.load(file, 16_000)) == 16_000 * SECONDS
    file.write_bytes(without_header(data))
    with pytest.raises(AudioError, match=r"has sound for 4\.\d of 12\.\d s and digital silence"):
        audio.load(file, 16_000)


def test_a_cut_wav_is_refused(refused, tmp_path):
    soundfile.write(tmp_path / "song.wav", music(), RATE)
    data = (tmp_path / "song.wav").read_bytes()
    assert "breaks off after 4.0 s: its header tells of more" in refused(data[: len(data) // 3])


def test_a_file_shorter_than_its_labels_is_refused(tmp_path, constant):
    file = tmp_path / "song.mp3"
    file.write_bytes(constant)
    assert len(audio.load(file, 16_000, labelled=SECONDS)) == 16_000 * SECONDS
    with pytest.raises(AudioError, match=r"has 12.0 s, but its labels go to 45.0 s"):
        audio.load(file, 16_000, 0, 1.0, labelled=45.0)


def test_parts_and_channels(tmp_path):
    file = tmp_path / "song.mp3"
    left = 0.4 * np.sin(np.arange(RATE * 3) / 30)
    write(file, np.stack([left, np.zeros_like(left)], 1))
    whole = audio.load(file, RATE)
    assert whole.dtype == np.float32 and whole.shape == (3 * RATE,)
    assert np.abs(whole[RATE:]).max() == pytest.approx(0.2, abs=0.02)
    assert (audio.load(file, RATE, 1.0, 1.5) == whole[RATE : 2 * RATE + RATE // 2]).all()
    assert audio.load(file, 16_000, 2.0, 60.0).shape == (16_000,)
    with pytest.raises(AudioError, match="nothing from 60 s on"):
        audio.load(file, RATE, 60.0)
