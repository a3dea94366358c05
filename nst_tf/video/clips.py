"""Clips in and out: frames, their times, and the sound, by PyAV.

Frames are uint8 `[h, w, 3]`, RGB, upright, with square pixels. Times are
exact: fractions of a second from the first frame taken.
"""

import contextlib
import heapq
import itertools
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from nst_tf.files import record

HDR = {16: "PQ", 18: "HLG"}  # transfer functions, as ITU-T H.273 counts them
BT709, BT601, UNKNOWN = 1, 5, 2  # colour spaces, from the same tables
TICKS = 90000  # a second; what MPEG counts in
SUFFIXES = (".mp4",)
COPIED = "aac", "mp3", "opus", "flac", "alac", "ac3", "eac3"  # the rest: AAC


class Frame(NamedTuple):
    """A frame and when it is shown, seconds."""

    time: Fraction
    rgb: np.ndarray


class Clip(NamedTuple):
    """A file to read, and which part of it.

    Fields:
      path: of a file that FFmpeg reads.
      start, end: seconds; from the first frame in this span on is the clip.
      fps: frames a second, at most; frames between are left out, the others
        keep their times. None: all of them.
    """

    path: str
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    fps: Fraction | None = None


def library() -> Any:
    """PyAV; ValueError where it is missing."""
    try:
        import av
    except ImportError:
        raise ValueError("`video` needs PyAV: pip install av.") from None
    return av


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[Any]:
    """The file and its first video stream; ValueError if it is no clip."""
    av = library()
    try:
        container = av.open(os.fspath(path))
    except (av.FFmpegError, OSError) as error:
        raise _wrong(path, error.strerror or str(error)) from None
    with container:
        if not container.streams.video:
            raise _wrong(path, "it has no pictures")
        try:
            yield container
        except av.FFmpegError as error:
            raise _wrong(path, error.strerror or str(error)) from None


def _wrong(path, problem: str) -> ValueError:
    return ValueError(
        f'`content` should be a clip; "{os.fspath(path)}" cannot be used: '
        f"{problem}."
    )


def count(clip: Clip) -> int | None:
    """About how many frames there are, None if the file does not tell."""
    with _opened(clip.path) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.guessed_rate
        if container.duration is None or not rate:
            return None
        end = Fraction(container.duration, 10**6)
    seconds = min(end, clip.end or end) - clip.start
    return max(1, round(seconds * min(rate, clip.fps or rate)))


def frames(clip: Clip) -> Iterator[Frame]:
    """The clip's frames in order.

    Raises:
      ValueError: the file is no clip or is HDR, or there is nothing in that
        span.
    """
    first: Fraction | None = None
    due = clip.start
    with _opened(clip.path) as container:
        ratio = container.streams.video[0].sample_aspect_ratio or Fraction(1)
        for time, frame in _decoded(container, clip.start):
            if time < clip.start:
                continue
            if clip.end is not None and time >= clip.end:
                break
            if first is None:
                first = due = time
            if clip.fps:
                if time < due:
                    continue
                due += (1 + (time - due) * clip.fps // 1) / clip.fps
            yield Frame(time - first, _rgb(frame, ratio, clip.path))
    if first is None:
        raise ValueError(
            f'`start`: "{clip.path}" has no frame from {float(clip.start):g} s '
            "on within `duration`. Start earlier, or take more."
        )


def _decoded(container, start: Fraction) -> Iterator[tuple[Fraction, Any]]:
    """`(seconds from the file's first frame, frame)`, from `start` or so."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    base, begin = stream.time_base, _begin(stream)
    if start:
        offset = int((start + begin) / base)
        container.seek(offset, stream=stream)  # to a key frame before
    rate = stream.average_rate or stream.guessed_rate or 25
    for index, frame in enumerate(container.decode(stream)):
        if frame.pts is None:  # streams without a container
            yield index / Fraction(rate), frame
        else:
            yield frame.pts * base - begin, frame


def _begin(stream) -> Fraction:
    return (stream.start_time or 0) * stream.time_base


def _rgb(frame, ratio: Fraction, path: str) -> np.ndarray:
    """Upright RGB with square pixels, of pixels `ratio` as wide as high."""
    av = library()
    if int(frame.color_trc) in HDR:
        raise _wrong(
            path,
            f"it is HDR ({HDR[int(frame.color_trc)]}), and a painting is not. "
            "Bring it to SDR first, for instance with FFmpeg's filters zscale "
            "and tonemap",
        )
    space = int(frame.colorspace)
    if space == UNKNOWN:  # as players take it
        space = BT709 if frame.height >= 720 else BT601
    how = av.video.reformatter.Interpolation
    plain = frame.reformat(
        width=max(1, round(frame.width * ratio)),
        format="rgb24",
        src_colorspace=space,
        interpolation=how.BICUBIC | how.ACCURATE_RND | how.FULL_CHR_H_INT,
    )
    turns = round(frame.rotation / 90)
    return np.ascontiguousarray(np.rot90(plain.to_ndarray(), turns))


def write(
    path: str | os.PathLike,
    painted: Iterable[tuple[Fraction, np.ndarray]],
    sound: Clip | None = None,
) -> None:
    """Writes H.264 in 4:2:0, which browsers play, at once or not at all.

    Args:
      path: ends in .mp4.
      painted: `(time, frame)` in order; all of one size, which is even.
      sound: whose sound goes along; copied where .mp4 can hold it.
    """
    av = library()
    with contextlib.ExitStack() as stack:
        partial = stack.enter_context(record.partial(path))
        output = stack.enter_context(
            av.open(
                partial, "w", format="mp4", options={"movflags": "faststart"}
            )
        )
        lasting = _lasting(painted)
        first = next(lasting)
        stream = _picture_stream(output, first)
        pictures = _pictures(stream, itertools.chain([first], lasting))
        sounds: Iterator[Any] = iter(())
        if sound:
            source = stack.enter_context(_opened(sound.path))
            sounds = _sounds(source, output, sound)
        for packet in heapq.merge(pictures, sounds, key=_when):
            output.mux(packet)


def _when(packet) -> Fraction:
    return packet.dts * packet.time_base


def _lasting(painted) -> Iterator[tuple[Fraction, Fraction, np.ndarray]]:
    """`(time, how long, frame)`; the last lasts as long as the one before."""
    lasts = Fraction(1, 25)
    rest = iter(painted)
    time, image = next(rest)
    for following, coming in rest:
        lasts = following - time
        yield time, lasts, image
        time, image = following, coming
    yield time, lasts, image


def _picture_stream(output, first) -> Any:
    _, lasts, image = first
    stream = output.add_stream("libx264", rate=Fraction(1 / lasts))
    stream.height, stream.width = image.shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.options = {"crf": "18"}
    context = stream.codec_context
    context.time_base = Fraction(1, TICKS)
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = 1  # 16 to 235
    return stream


def _pictures(stream, lasting) -> Iterator[Any]:
    """Encoded packets, in the order of their decoding."""
    av = library()
    for time, lasts, image in lasting:
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        how = av.video.reformatter.Interpolation
        frame = frame.reformat(
            format="yuv420p",
            dst_colorspace=BT709,
            interpolation=how.BICUBIC | how.ACCURATE_RND,
        )
        frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
        frame.duration = round(lasts * TICKS)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _sounds(source, output, clip: Clip) -> Iterator[Any]:
    """The packets of the first sound track, from the first frame's time on."""
    if not source.streams.audio:
        return iter(())
    heard = source.streams.audio[0]
    begin = _first_shown(clip) + _begin(source.streams.video[0])
    end = None
    if clip.end is not None:
        end = clip.end + _begin(source.streams.video[0])
    if heard.codec_context.name in COPIED:
        stream = output.add_stream_from_template(heard)
        return _copied(source, heard, stream, begin, end)
    stream = output.add_stream("aac", rate=heard.codec_context.sample_rate)
    return _encoded(source, heard, stream, begin, end)


def _first_shown(clip: Clip) -> Fraction:
    """When the clip's first frame is shown in its file."""
    if not clip.start:
        return Fraction(0)
    with _opened(clip.path) as container:
        for time, _ in _decoded(container, clip.start):
            if time >= clip.start:
                return time
    return clip.start


def _copied(source, heard, stream, begin, end) -> Iterator[Any]:
    offset = round(begin / heard.time_base)
    for packet in source.demux(heard):
        if packet.dts is None:  # the last one is empty
            continue
        if begin and packet.pts < offset:
            continue
        if end is not None and packet.pts * heard.time_base >= end:
            break
        packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
        packet.stream = stream
        yield packet


def _encoded(source, heard, stream, begin, end) -> Iterator[Any]:
    av = library()
    resampler = av.AudioResampler("fltp", heard.layout, heard.rate)
    written = 0
    for frame in source.decode(heard):
        time = frame.pts * frame.time_base
        if time < begin or (end is not None and time >= end):
            continue
        for part in resampler.resample(frame):
            part.pts, part.time_base = written, Fraction(1, heard.rate)
            written += part.samples
            yield from stream.encode(part)
    yield from stream.encode(None)
