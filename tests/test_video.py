"""A clip painted: held where it should be and nowhere else; goes on anew."""

import dataclasses
import json
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("av", reason="no PyAV: pip install av")
pytest.importorskip(
    "cv2", reason="no OpenCV: pip install opencv-python-headless"
)

import draw_clip  # noqa: E402
from conftest import smooth  # noqa: E402

from nst_tf.engine.objective import Anchor  # noqa: E402
from nst_tf.machine.plan import resolve  # noqa: E402
from nst_tf.request.options import Options  # noqa: E402
from nst_tf.stylization import inputs, run  # noqa: E402
from nst_tf.terminal import cli  # noqa: E402
from nst_tf.video import clips, flow, paint  # noqa: E402
from nst_tf.video.folder import Folder  # noqa: E402
from nst_tf.video.settings import Settings  # noqa: E402

LAYERS = {"content_layers": "conv2_1", "style_layers": "conv1_1,conv2_1"}
QUICK = Options(steps=6, scales=1, jit="off", history=3, **LAYERS)


@pytest.fixture(scope="module")
def drawn():
    return draw_clip.draw(5, 48, 64, pan=(2, 0.5), ball=8, speed=(-4, 1))


@pytest.fixture
def path(tmp_path, drawn):
    return save(tmp_path / "clip.mp4", drawn.frames)


@pytest.fixture
def style():
    return smooth(40, 56, seed=2)


def save(path, frames):
    times = (Fraction(k, 10) for k in range(len(frames)))
    clips.write(path, zip(times, frames, strict=True))
    return str(path)


def painted(path, style, kept=None, options=QUICK, **settings):
    job = paint.prepare(path, style, options, Settings(**settings))
    return [one for one in paint.frames(job, kept) if one.done]


# Flow


def test_the_flow_is_that_of_the_drawing():
    clip = draw_clip.draw(3)
    one, other = (flow.grey(f / np.float32(255)) for f in clip.frames[:2])
    moved = flow.motion(other, one)
    apart = np.hypot(*np.moveaxis(moved.flow - clip.flow[1], -1, 0))
    assert apart[clip.visible[1]].mean() < 0.3
    assert moved.believed.mean() > 0.85
    assert (apart[moved.believed] > 1).mean() < 0.03
    hidden = ~clip.visible[1]
    assert moved.believed[hidden].mean() < 0.4  # a pixel beside is no fault


def test_large_motion_is_found():
    clip = draw_clip.draw(2, 240, 320, ball=36, speed=(-20, 3))
    now, before = (
        flow.grey(f / np.float32(255)) for f in (clip.frames[1], clip.frames[0])
    )
    moved = flow.motion(now, before)
    ball = clip.visible[1] & (np.abs(clip.flow[1] - [20, -3]).max(-1) < 0.01)
    apart = np.hypot(*np.moveaxis(moved.flow - clip.flow[1], -1, 0))
    assert ball.sum() > 1000
    assert apart[ball].mean() < 2
    assert moved.believed[ball].mean() > 0.9


@pytest.mark.parametrize("size", [(12, 64), (14, 30), (30, 400), (200, 40)])
def test_pictures_of_any_shape_have_a_flow(size):
    picture = (255 * smooth(*size, seed=3)[..., 0]).astype("uint8")
    found = flow.motion(picture[:, 1:], picture[:, :-1]).flow
    assert found.shape == (size[0], size[1] - 1, 2)
    assert np.median(found[..., 0]) == pytest.approx(1, abs=0.2)


def test_warped_again_and_again_nothing_grows():
    """Half a pixel each time, a shot of fifty frames, waves of 6 pixels."""
    wave = np.sin(np.arange(300) * 2 * np.pi / 6)
    picture = np.tile(wave, (20, 1)).astype("float32")[..., None]
    half = np.tile(np.float32([0.5, 0]), (20, 300, 1))
    for _ in range(50):
        picture = flow.warp(picture, half).reshape(20, 300, 1)
    assert 0.5 < np.abs(picture[:, 100:200]).max() < 1.01


def test_what_is_warped_by_the_true_flow_is_the_next_frame(drawn):
    for k in range(1, 5):
        warped = flow.warp(drawn.frames[k - 1].astype("float32"), drawn.flow[k])
        apart = np.abs(warped - drawn.frames[k])[drawn.visible[k]]
        assert apart.mean() < 3


def test_what_is_believed_is_what_the_paper_says():
    generator = np.random.default_rng(4)
    back, ahead = generator.normal(0, 1, (2, 12, 14, 2)).astype("float32")
    back[3:9, 3:9], ahead[3:9, 3:9] = (2, 1), (-2, -1)
    visible = flow.in_sight(back, ahead)
    edges = flow.edges(back)
    there = flow.warp(ahead, back)
    for y in range(12):
        for x in range(14):
            w, other = back[y, x], there[y, x]
            bound = 0.01 * (w @ w + other @ other) + 0.5
            to = np.array([x, y]) + w
            held = (to >= 0).all() and (to <= [13, 11]).all()
            assert visible[y, x] == (((w + other) @ (w + other) < bound) & held)
            if 0 < y < 11 and 0 < x < 13:
                slopes = (
                    back[y + 1, x] - back[y - 1, x],
                    back[y, x + 1] - back[y, x - 1],
                )
                steep = sum(s @ s for s in slopes) / 4
                assert edges[y, x] == (steep > 0.01 * (w @ w) + 0.002)
    assert visible[4, 4] and not edges[5, 5]


def test_cuts_are_found():
    clip = draw_clip.draw(4, 96, 128, pan=(8, 3))
    greys = [flow.grey(f / np.float32(255)) for f in clip.frames]
    lighthouse = draw_clip.draw(1, 96, 128, picture="content_lighthouse")
    other = flow.grey(lighthouse.frames[0] / np.float32(255))

    def cut(now, before):
        return flow.is_cut(now, before, flow.motion(now, before))

    for before, now in zip(greys[:-1], greys[1:], strict=True):
        assert not cut(now, before)
    assert cut(other, greys[0]) and cut(greys[0], other)


# The term of the objective


def held(style, confidence, weight, steps=8, **changes):
    """A grey picture painted, held to another grey where it is told to."""
    content = np.full((48, 64, 3), 0.5, "float32")
    options = QUICK.replace(steps=steps, **changes)
    ready = inputs.prepare(content, style, options=options)
    anchor = Anchor(np.full_like(content, 0.25), confidence, weight)
    ready = dataclasses.replace(ready, anchor=anchor)
    *_, last = run.Run(ready, None, 1e9)
    return last


@pytest.mark.parametrize(
    "changes",
    [{}, {"optimizer": "adam", "history": None, "scales": 2}],
    ids=str,
)
def test_it_moves_pixels_where_it_should_and_nowhere_else(
    tiny_weights_everywhere, style, changes
):
    nothing = np.zeros((48, 64), "float32")
    left = nothing.copy()
    left[:, :24] = 1
    free = held(style, nothing, 1e6, **changes).tensor[0].numpy()
    one = held(style, left, 1e6, 30, **changes).tensor[0].numpy()
    near = np.abs(one - 0.25).mean(-1)
    assert near[:, :16].mean() < 0.5 * np.abs(free - 0.25)[:, :16].mean()
    assert near[:, 40:].mean() > 0.1


def test_what_is_held_does_not_hold_up_what_is_free(
    tiny_weights_everywhere, style
):
    nothing = np.zeros((48, 64), "float32")
    left = nothing.copy()
    left[:, :32] = 1
    free, one = (
        np.abs(held(style, where, 1e5).tensor[0, :, 40:] - 0.5).mean()
        for where in (nothing, left)
    )
    assert one > 0.5 * free


def test_finer_scales_start_from_what_is_known():
    picture, image = (run._tensor(smooth(48, 64, seed=seed)) for seed in (1, 2))
    known = np.zeros((48, 64), "float32")
    known[:, 32:] = 1
    known = run._tensor(known[..., None])
    anchor = Anchor(image, 0 * known, 1.0, picture, known)
    whole = run.transfer._started(image, anchor, 1.0)
    np.testing.assert_array_equal(whole[:, :, :32], image[:, :, :32])
    np.testing.assert_array_equal(whole[:, :, 32:], picture[:, :, 32:])


def test_no_confidence_is_no_anchor(tiny_weights_everywhere, style):
    nothing = np.zeros((48, 64), "float32")
    one = held(style, nothing, 1e6)
    content = np.full((48, 64, 3), 0.5, "float32")
    ready = inputs.prepare(content, style, options=QUICK.replace(steps=8))
    *_, other = run.Run(ready, None, 1e9)
    np.testing.assert_allclose(one.tensor, other.tensor, atol=1e-6)
    assert one.costs["total"] == pytest.approx(other.costs["total"], rel=1e-5)


def test_its_gradient_is_that_of_the_whole_cost(tiny_weights_everywhere, style):
    content = smooth(48, 64, seed=1)
    generator = np.random.default_rng(1)
    earlier = generator.random((48, 64, 3)).astype("float32")
    confidence = generator.random((48, 64)).astype("float32")
    engine, _ = run.engine(QUICK, resolve((48, 64), QUICK).arithmetic)
    numbers = run.transfer.Numbers(10.0, 40.0, 0.0, 0.0)
    images = [run._tensor(one) for one in (content, style)]
    targets = engine.objective.targets(images[0], images[1:], [1.0])
    known = [run._tensor(one) for one in (earlier, confidence[..., None])]
    anchor = Anchor(*known, 700.0)
    image = run._tensor(smooth(48, 64, seed=5))
    bare = engine.start(image, targets, numbers)
    both = engine.start(image, targets._replace(anchor=anchor), numbers)
    apart = 255 * (image[0].numpy() - earlier)
    cost = 700 * np.mean(confidence[..., None] * apart**2)
    more = float(both.costs.total - bare.costs.total)
    assert more == pytest.approx(cost, rel=1e-3)
    slope = 1400 * confidence[..., None] * apart * 255 / image[0].numpy().size
    np.testing.assert_allclose(
        (both.gradient - bare.gradient)[0], slope, rtol=1e-3, atol=0.02
    )
    assert both.costs.style == bare.costs.style


def test_several_earlier_frames_are_one(drawn):
    generator = np.random.default_rng(2)
    greys = [flow.grey(f / np.float32(255)) for f in drawn.frames]
    pictures = generator.random((4, 48, 64, 3)).astype("float32")
    past = [
        paint._Past(grey, picture, picture)
        for grey, picture in zip(greys[:4], pictures, strict=True)
    ]
    moved = paint._moved(greys[4], past, [1, 2, 4])
    assert list(moved) == [1, 2, 4]
    one, total = paint.anchor(past, moved)
    # The paper's terms, one by one.
    image = generator.random((48, 64, 3))
    slopes, nearer = 0, np.zeros((48, 64))
    for far in (1, 2, 4):
        own = np.maximum(moved[far].believed - nearer, 0)
        nearer = nearer + moved[far].believed
        warped = flow.warp(past[-far].picture, moved[far].flow).clip(0, 1)
        slopes = slopes + own[..., None] * (image - warped)
    np.testing.assert_allclose(
        total[..., None] * (image - one), slopes, atol=1e-5
    )
    assert total.max() <= 1


def test_what_stands_still_is_held_to_what_it_was():
    generator = np.random.default_rng(2)
    before, held, now = generator.random((3, 48, 64, 3)).astype("float32")
    grey = flow.grey(smooth(48, 64, seed=1))
    moving = np.zeros((48, 64, 2), "float32")
    moving[:, 32:, 0] = 2
    believed = np.ones((48, 64), bool)
    believed[:8] = False
    past = [paint._Past(grey, before, held)]
    one = paint.held(now, past, {1: flow.Motion(moving, believed, believed)})
    np.testing.assert_allclose(one[8:, :32], held[8:, :32], atol=1e-6)
    np.testing.assert_array_equal(one[:, 32:], now[:, 32:])
    np.testing.assert_array_equal(one[:8], now[:8])
    np.testing.assert_array_equal(paint.held(now, [], {}), now)


def test_what_is_new_counts_more_in_the_style(style):
    ready = inputs.prepare(smooth(48, 64, seed=1), style, options=QUICK)
    confidence = np.ones((48, 64), "float32")
    confidence[:, 48:] = 0
    (counts,) = paint._counted(ready, confidence).regions
    assert counts.mean() == pytest.approx(1)
    np.testing.assert_allclose(counts[:, 48:], paint.NEW * counts[0, 0])
    np.testing.assert_allclose(counts[:, :48], counts[0, 0])
    masked = dataclasses.replace(ready, places=paint.Places(detail=confidence))
    assert paint._counted(masked, confidence) is masked.places


# The frames


def test_each_frame_starts_from_the_one_before(
    tiny_weights_everywhere, path, style, drawn
):
    still = painted(path, style, frame_steps=0)
    assert [one.cut for one in still] == [True] + 4 * [False]
    assert [float(one.time) for one in still] == [0, 0.1, 0.2, 0.3, 0.4]
    for k in range(1, 5):
        warped = flow.warp(still[k - 1].image.astype("float32"), drawn.flow[k])
        apart = np.abs(warped - still[k].image)[drawn.visible[k]]
        assert np.median(apart) < 8


def test_what_stands_still_stays_as_it_is(
    tiny_weights_everywhere, tmp_path, style, drawn
):
    path = save(tmp_path / "still.mp4", drawn.frames[:1].repeat(6, 0))
    frames = painted(path, style)
    first, last = (frames[k].image.astype(float) for k in (1, -1))
    assert abs(first.mean() - last.mean()) < 2
    assert np.abs(first - last).mean() < 6


def test_frames_go_from_coarse_to_fine(tiny_weights_everywhere, path, style):
    options = QUICK.replace(scales=2)
    job = paint.prepare(path, style, options, Settings(frame_steps=4))
    results = [p.result for p in paint.frames(job) if p.done]
    assert [list(r.schedule) for r in results[:3]] == [[6, 6], [6, 4], [6, 4]]


@pytest.mark.parametrize(("new", "steps"), [(0.0, 4), (0.5, 14), (0.9, 20)])
def test_the_more_is_new_the_more_steps(path, style, new, steps):
    options = QUICK.replace(scales=2, steps=20)
    plan = paint.prepare(path, style, options, Settings()).first.plan
    known = np.ones([10, 10], "float32")
    known[: round(10 * new)] = 0
    assert paint._shortened(plan, Settings(), known).schedule == [20, steps]


def test_a_cut_begins_anew(tiny_weights_everywhere, tmp_path, style):
    one = draw_clip.draw(2, 48, 64).frames
    other = draw_clip.draw(2, 48, 64, picture="content_lighthouse").frames
    frames = np.concatenate([one, other])
    seen = painted(save(tmp_path / "cut.mp4", frames), style)
    assert [frame.cut for frame in seen] == [True, False, True, False]
    alone = painted(save(tmp_path / "b.mp4", frames[2:]), style)
    apart = np.abs(alone[0].image.astype(int) - seen[2].image)
    assert apart.mean() < 8  # the two clips are coded apart


def test_odd_sizes_become_even(tiny_weights_everywhere, tmp_path, style):
    import av

    with av.open(str(tmp_path / "odd.mkv"), "w") as output:
        stream = output.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 63, 47, "yuv444p"
        picture = np.uint8(255 * smooth(47, 63, seed=1))
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        output.mux(stream.encode(frame.reformat(format="yuv444p")))
        output.mux(stream.encode(None))
    frames = painted(str(tmp_path / "odd.mkv"), style)
    assert frames[0].image.shape == (46, 62, 3)


def test_all_frames_share_a_trace(tiny_weights_everywhere, path, style):
    run._engine.cache_clear()
    options = QUICK.replace(optimizer="adam", history=None)
    painted(path, style, options=options)
    engine, _ = run.engine(options, resolve((48, 64), options).arithmetic)
    assert engine.advancing[False].traces == 1


# The command line


def command(tmp_path, path, *more):
    import PIL.Image

    PIL.Image.fromarray(np.uint8(255 * smooth(40, 56, seed=2))).save(
        tmp_path / "style.png"
    )
    layers = [f"--{name}={value}" for name, value in LAYERS.items()]
    return [
        "video",
        f"--content={path}",
        f"--style={tmp_path}/style.png",
        f"--output={tmp_path}/out.mp4",
        "--steps=4",
        "--scales=1",
        "--jit=off",
        *layers,
        *more,
    ]


def test_a_killed_run_goes_on_to_the_same_frames(
    tiny_weights_everywhere, tmp_path, path, style, capsys
):
    typed = command(tmp_path, path, "--earlier=2")
    assert cli.main(typed) == 0
    folder = tmp_path / "out.frames"
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    names = [f"{k:06d}.png" for k in range(5)] + ["recipe.json"]
    assert sorted(whole) == names
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["clip"]["earlier"] == 2 and recipe["network"]["sha256"]
    # As it would be found, had it been killed in the fourth frame.
    before = (folder / "000002.png").stat().st_mtime_ns
    for name in ("000003.png", "000004.png"):
        (folder / name).unlink()
    (tmp_path / "out.mp4").unlink()
    (folder / ".000003.png.abc.part").write_bytes(b"half")
    assert cli.main(typed) == 0
    # Not the clip's bytes: libx264 may code the same frames in two ways.
    assert (tmp_path / "out.mp4").stat().st_size > 0
    assert whole == {name: (folder / name).read_bytes() for name in whole}
    assert (folder / "000002.png").stat().st_mtime_ns == before
    # A file is what is in it, wherever it lies.
    (tmp_path / "moved").mkdir()
    for name in ("clip.mp4", "style.png"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    moved = [word.replace("/clip.mp4", "/moved/clip.mp4") for word in typed]
    moved = [word.replace("/style.png", "/moved/style.png") for word in moved]
    assert cli.main(moved) == 0
    typed = moved
    # Another run must not go on with these frames.
    assert cli.main([*typed, "--temporal_weight=3"]) == 2
    assert "`temporal_weight`" in capsys.readouterr().err


def test_a_sheet_shows_the_clip(
    tiny_weights_everywhere, tmp_path, path, drawn, monkeypatch, capsys
):
    """And a line says so where frames are missing."""
    import PIL.Image

    monkeypatch.setattr(clips, "count", lambda _: 6)
    sheet = tmp_path / "sheet.png"
    typed = command(tmp_path, path, f"--contact={sheet}", "--steps=0")
    assert cli.main(typed) == 0
    shown = np.asarray(PIL.Image.open(sheet))
    assert shown.shape == (2 * 48, 5 * 64, 3)
    above = np.hsplit(shown[:48], 5)
    apart = np.abs(np.float32(above) - drawn.frames)
    assert apart.mean() < 8  # the clip is coded
    last = np.asarray(PIL.Image.open(tmp_path / "out.frames/000004.png"))
    np.testing.assert_array_equal(shown[48:, -64:], last)
    assert "ends after 5 frames of about 6" in capsys.readouterr().err


def test_frames_of_other_weights_are_not_gone_on_from(tmp_path, path, style):
    job = paint.prepare(path, style, QUICK, Settings())
    tiny = {"name": "vgg19", "sha256": "0", "precision": "float32"}
    kept = Folder(tmp_path / "a.mp4", job.recipe)
    kept.begin(tiny)
    kept = Folder(tmp_path / "a.mp4", job.recipe)
    kept.begin(tiny)
    with pytest.raises(ValueError, match="`weights` was another"):
        kept.begin({**tiny, "sha256": "1"})


@pytest.mark.parametrize(
    "wrong, told",
    [
        (["--content="], "`content` is missing"),
        (["--output=out.gif"], "`output` should end in .mp4"),
        (["--contact=sheet.mp4"], "`contact`"),
        (["--mask=m.png", "--contact=m.png"], "`contact` is one of the inputs"),
        (["--temporal_weight=-1"], "`temporal_weight`"),
        (["--earlier=0"], "`earlier`"),
        (["--start=9"], "`start`"),
        (["--fps=0"], "`fps`"),
        (["--temporal_wait=1"], "temporal_wait"),
        (["--style=missing.jpg"], "`style`"),
    ],
)
def test_mistakes_get_one_line(tmp_path, path, capsys, wrong, told):
    assert cli.main(command(tmp_path, path, *wrong)) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not (tmp_path / "out.frames").exists()


def test_help_has_what_holds_frames_together(capsys):
    assert cli.main(["video", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Clip:" in shown and "--temporal_weight" in shown
    assert "--strength" in shown
