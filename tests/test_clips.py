"""Clips in and out: times, colours, shapes, sound; nothing half-written."""

from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av", reason="no PyAV: pip install av")

from conftest import smooth  # noqa: E402

from nst_tf.video import clips  # noqa: E402

RATE = 8000  # samples a second


def shades(count, height=48, width=64):
    """Frames that tell their number by how bright they are."""
    picture = smooth(height, width, seed=3)
    return [
        np.rint(255 * (0.2 + 0.5 * picture * (k + 1) / count)).astype("uint8")
        for k in range(count)
    ]


def make(
    path,
    images,
    times=None,
    codec="libx264",
    pixels="yuv420p",
    sound=None,
    turn=0,
    **context,
):
    """A clip as somebody else would have written it."""
    times = times or [Fraction(k, 10) for k in range(len(images))]
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=10)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels
        if codec == "libx264":
            stream.options = {"crf": "4"}
        stream.codec_context.time_base = Fraction(1, 1000)
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        if turn:
            stream.set_display_rotation(turn)
        track = output.add_stream(sound, rate=RATE) if sound else None
        for time, image in zip(times, images, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = frame.reformat(format=pixels, dst_colorspace=5)
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if track:
            wave = np.sin(np.arange(RATE) * 0.3)[None].astype("float32") / 2
            form = track.codec_context.format.name
            if form.startswith("s16"):
                wave = (wave * 32767).astype("int16")
            for begin in range(0, RATE, 1000):
                part = av.AudioFrame.from_ndarray(
                    wave[:, begin : begin + 1000].copy(), form, "mono"
                )
                part.sample_rate, part.pts = RATE, begin
                part.time_base = Fraction(1, RATE)
                output.mux(track.encode(part))
            output.mux(track.encode(None))
    return str(path)


def read(path, **span):
    return list(clips.frames(clips.Clip(str(path), **span)))


def same(one, other, within=6):
    assert one.shape == other.shape
    apart = np.abs(one.astype(float) - other.astype(float))
    assert apart.mean() < within / 3 and np.percentile(apart, 99) < within


def test_what_is_written_is_read_again(tmp_path):
    images = shades(6)
    # Neither even nor of one length: a clip of a telephone.
    times = [Fraction(k, 1000) for k in (0, 33, 101, 134, 250, 300)]
    path = tmp_path / "deep" / "a.mp4"
    clips.write(path, zip(times, images, strict=True))
    again = read(path)
    assert [frame.time for frame in again] == times
    for frame, image in zip(again, images, strict=True):
        same(frame.rgb, image, within=12)
    assert [p.name for p in path.parent.iterdir()] == ["a.mp4"]


def test_what_is_written_is_what_browsers_play(tmp_path):
    clips.write(
        tmp_path / "a.mp4",
        [(Fraction(k, 5), i) for k, i in enumerate(shades(3))],
    )
    with av.open(str(tmp_path / "a.mp4")) as written:
        context = written.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_range) == (1, 1)
        assert written.duration == 600_000  # microseconds
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_clip_of_one_frame(tmp_path):
    clips.write(tmp_path / "a.mp4", [(Fraction(0), shades(1)[0])])
    assert len(read(tmp_path / "a.mp4")) == 1


@pytest.mark.parametrize("fails", [0, 3])
def test_nothing_half_written(tmp_path, fails):
    def painted():
        for k, image in enumerate(shades(8)):
            if k == fails:
                raise OSError("the disk is full")
            yield Fraction(k, 5), image

    with pytest.raises(OSError, match="full"):
        clips.write(tmp_path / "a.mp4", painted())
    assert list(tmp_path.iterdir()) == []


def test_an_odd_size(tmp_path):
    images = shades(2, 47, 63)
    path = make(tmp_path / "a.mkv", images, codec="ffv1", pixels="yuv444p")
    same(read(path)[1].rgb, images[1])


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le", "yuv444p"])
def test_colours_survive_whatever_the_depth(tmp_path, pixels):
    colours = np.zeros((48, 64, 3), "uint8")
    colours[:24, :32], colours[:24, 32:] = (200, 40, 30), (30, 180, 60)
    colours[24:, :32], colours[24:, 32:] = (40, 60, 210), (128, 128, 128)
    path = make(tmp_path / "a.mkv", [colours] * 2, pixels=pixels, colorspace=5)
    seen = read(path)[0].rgb
    for row, column in ((12, 16), (12, 48), (36, 16), (36, 48)):
        apart = seen[row, column].astype(int) - colours[row, column]
        assert np.abs(apart).max() <= 4


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_a_telephone_held_upright(tmp_path, turn):
    images = shades(2)
    path = make(tmp_path / "a.mp4", images, turn=turn)
    # FFmpeg's tag says by how much to turn it counterclockwise.
    same(read(path)[0].rgb, np.rot90(images[0], turn // 90))


def test_pixels_that_are_not_square(tmp_path):
    path = make(
        tmp_path / "a.mp4", shades(2), sample_aspect_ratio=Fraction(3, 2)
    )
    assert read(path)[0].rgb.shape == (48, 96, 3)


@pytest.mark.parametrize("transfer", clips.HDR)
def test_high_dynamic_range_is_refused(tmp_path, transfer):
    path = make(
        tmp_path / "a.mkv", shades(2), pixels="yuv420p10le", color_trc=transfer
    )
    with pytest.raises(ValueError, match=r"`content` .* HDR .* tonemap"):
        read(path)


def test_a_part_of_a_clip(tmp_path):
    images = shades(12)
    path = make(tmp_path / "a.mp4", images, gop_size=4)
    part = read(path, start=Fraction(35, 100), end=Fraction(8, 10))
    assert [f.time for f in part] == [Fraction(k, 10) for k in range(4)]
    same(part[0].rgb, images[4])
    with pytest.raises(ValueError, match="`start`"):
        read(path, start=Fraction(5))


def test_fewer_frames_keep_their_times(tmp_path):
    path = make(tmp_path / "a.mp4", shades(12))
    few = read(path, fps=Fraction(4))
    assert [f.time for f in few] == [Fraction(k, 10) for k in (0, 3, 5, 8, 10)]
    assert len(read(path, fps=Fraction(50))) == 12
    clip = clips.Clip(path, fps=Fraction(4))
    assert abs(clips.count(clip) - len(few)) <= 1


def sound_of(path):
    with av.open(str(path)) as source:
        track = source.streams.audio[0]
        frames = list(source.decode(track))
        heard = np.concatenate([f.to_ndarray()[0] for f in frames])
        return track.codec_context.name, heard


def packets(path):
    with av.open(str(path)) as source:
        track = source.streams.audio[0]
        return [bytes(p) for p in source.demux(track) if p.size]


def test_sound_is_copied(tmp_path):
    path = make(tmp_path / "a.mp4", shades(10), sound="aac")
    clips.write(tmp_path / "b.mp4", read(path), clips.Clip(path))
    assert packets(tmp_path / "b.mp4") == packets(path)
    for one, other in zip(
        *map(sound_of, (path, tmp_path / "b.mp4")), strict=True
    ):
        assert np.array_equal(one, other)


def test_sound_begins_where_the_pictures_do(tmp_path):
    path = make(tmp_path / "a.mp4", shades(10), sound="aac")
    clip = clips.Clip(path, Fraction(45, 100), Fraction(8, 10))
    clips.write(tmp_path / "b.mp4", clips.frames(clip), clip)
    seconds = len(sound_of(tmp_path / "b.mp4")[1]) / RATE
    assert 0.1 < seconds < 0.45  # packets last 0.128 s here


def test_sound_that_no_browser_plays_is_encoded(tmp_path):
    path = make(tmp_path / "a.mkv", shades(10), sound="pcm_s16le")
    clips.write(tmp_path / "b.mp4", read(path), clips.Clip(path))
    name, heard = sound_of(tmp_path / "b.mp4")
    assert name == "aac"
    assert 0.9 < len(heard) / RATE < 1.3
    assert 0.3 < np.abs(heard[1000:6000]).max() < 0.7


def test_no_clip_gets_one_line(tmp_path):
    (tmp_path / "a.mp4").write_text("no clip")
    for name in ("a.mp4", "missing.mp4"):
        with pytest.raises(ValueError, match="^`content` should be a clip"):
            read(tmp_path / name)
