"""How long an MP3 says it is and how much of it is there, from its frame headers alone.

libsndfile believes what an MP3's first frame tells and says nothing where the rest differs
(measured with libsndfile 1.2.2 on 18 s of music):

==================================  ===================================  ==========================
file                                length announced                     decoded, without an error
==================================  ===================================  ==========================
whole, with a Xing or Info header   18.0 s                               18.0 s
a third of it                       18.0 s, as the header says           5.9 s
constant bit rate, no such header   18.1 s, from bit rate and file size  18.1 s
a third of it                       6.0 s                                6.0 s
changing bit rate, no such header   5.1 s, from the first frame          5.1 s: the rest is not read
==================================  ===================================  ==========================

So the frames in the file are counted here and compared with the number that the header promises.
Where no header promises any, a file that ends inside a frame was cut.

A frame begins with 4 bytes: 11 bits that are set, version, layer, bit rate, sample rate and padding
(ISO/IEC 11172-3, section 2.4.2.3). The Xing or Info header is a frame that holds no sound: that
word behind the space for side information, flags, and by flag 1 the number of frames. VBRI, its
counterpart by Fraunhofer, stands 32 bytes behind the frame's header.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

_SYNC = 0x7FF
_MPEG1 = 3
_LAYER3 = 1
#: kbit/s by the header's 4 bits, of MPEG 1 and of MPEG 2 and 2.5; 0 and 15 are no bit rates.
_BIT_RATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BIT_RATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
#: Hz by the header's version (0: MPEG 2.5, 2: MPEG 2, 3: MPEG 1) and its 2 bits.
_SAMPLE_RATES = {0: (11025, 12000, 8000), 2: (22050, 24000, 16000), 3: (44100, 48000, 32000)}
#: Frames that may be missing without a cut: a promised number may count the header itself, and
#: decoders take off what the encoder added at both ends (3 frames at most).
TOLERANCE = 4
#: Samples of the longest frame.
LONGEST = 1152


class Mpeg(NamedTuple):
    """The frames of an MP3.

    Attributes
    ----------
    promised : int or None
        Frames by its Xing, Info or VBRI header; None without one.
    found : int
        Whole frames in the file.
    cut : bool
        Whether the file ends inside a frame.
    frame_seconds : float
    """

    promised: int | None
    found: int
    cut: bool
    frame_seconds: float

    @property
    def seconds(self) -> float:
        """Of what is in the file."""
        return self.found * self.frame_seconds

    @property
    def fault(self) -> str:
        """What is missing of the file; "" if nothing."""
        if self.promised is not None and self.found < self.promised - TOLERANCE:
            promised = self.promised * self.frame_seconds
            return f"breaks off after {self.seconds:.1f} of {promised:.1f} s"
        if self.promised is None and self.cut:
            return (
                f"breaks off inside a frame after {self.seconds:.1f} s, and no header tells of "
                "how many"
            )
        return ""


class _Frame(NamedTuple):
    size: int
    samples: int
    sample_rate: int
    kind: tuple[int, int]  # version and sample rate: the same in all frames of a file


def read(file: str | Path) -> Mpeg | None:
    """Count the frames of an MP3; None if there are none (another format, no audio)."""
    data = Path(file).read_bytes()
    at = _next_frame(data, _after_id3(data), None)
    if at is None:
        return None
    first = _frame_at(data, at)
    promised, holds_header = _promised(data[at : at + first.size])
    found = 0
    while at is not None:
        frame = _frame_at(data, at)
        if frame is None or frame.kind != first.kind:
            at = _next_frame(data, at, first.kind)
        elif at + frame.size > len(data):
            break
        else:
            found += 1
            at += frame.size
    frame_seconds = first.samples / first.sample_rate
    return Mpeg(promised, found - holds_header, at is not None, frame_seconds)


def _after_id3(data):
    """Where the tags at the beginning end: 10 bytes and a size in 4 bytes of 7 bits, each."""
    at = 0
    while data[at : at + 3] == b"ID3" and at + 10 <= len(data):
        size = 0
        for byte in data[at + 6 : at + 10]:
            size = size << 7 | byte & 0x7F
        footer = 10 if data[at + 5] & 0x10 else 0
        at += 10 + size + footer
    return at


def _next_frame(data, at, kind):
    """The next frame that another of its kind follows: one alone may be chance in other bytes."""
    at = data.find(b"\xff", at)
    while at >= 0:
        frame = _frame_at(data, at)
        if frame and kind in (None, frame.kind):
            following = _frame_at(data, at + frame.size)
            if following and following.kind == frame.kind:
                return at
        at = data.find(b"\xff", at + 1)
    return None


def _frame_at(data, at):
    return _frame(data[at : at + 4])


@lru_cache(4096)
def _frame(header):
    """What a frame's 4 bytes say; None if they begin no frame."""
    word = int.from_bytes(header, "big")
    version = word >> 19 & 3
    bit_rate = word >> 12 & 15
    sample_rate = word >> 10 & 3
    if len(header) < 4 or word >> 21 != _SYNC or word >> 17 & 3 != _LAYER3:
        return None
    if version not in _SAMPLE_RATES or bit_rate in (0, 15) or sample_rate == 3:
        return None
    rates = _BIT_RATES_1 if version == _MPEG1 else _BIT_RATES_2
    samples = LONGEST if version == _MPEG1 else LONGEST // 2
    hertz = _SAMPLE_RATES[version][sample_rate]
    padding = word >> 9 & 1
    size = samples // 8 * rates[bit_rate] * 1000 // hertz + padding
    return _Frame(size, samples, hertz, (version, sample_rate))


def _promised(frame):
    """Number of frames that a file's first frame promises, and whether it is such a header."""
    for word in (b"Xing", b"Info"):
        at = frame.find(word, 4, 48)  # behind 9 to 32 bytes of side information
        if at > 0:
            counted = frame[at + 7] & 1
            return int.from_bytes(frame[at + 8 : at + 12], "big") if counted else None, True
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big"), True
    return None, False
