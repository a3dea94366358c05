"""The verb: what goes in, what comes out, what is refused before it starts."""

import dataclasses
import json
import os
import time
import weakref
from hashlib import sha256

import numpy as np
import PIL.Image
import pytest

import nst_tf
from nst_tf.files import images, record, sixteen
from nst_tf.machine import memory
from nst_tf.request.options import OPTIMIZERS, Options
from nst_tf.stylization import run
from nst_tf.stylization.inputs import prepare
from nst_tf.stylization.sources import style_size
from nst_tf.terminal import progress

LAYERS = {"content_layers": "conv2_1", "style_layers": "conv1_1,conv2_1"}
QUICK = {"steps": 3, "scales": 1, "tv_weight": 0, "jit": "off", **LAYERS}
IN_TILES = {"precision": "float32", "optimizer": "adam", "margin": 16}
TEXTURE = {"content": None, "content_weight": 0, "init": "noise"}
MIRROR = {"style": None, "style_weight": 0}
pytestmark = pytest.mark.usefixtures("tiny_weights_everywhere")


@pytest.fixture
def files(tmp_path, pictures):
    paths = []
    for name, picture in zip(("content", "style"), pictures, strict=True):
        paths.append(tmp_path / f"{name}.png")
        image = PIL.Image.fromarray(np.uint8(255 * picture))
        image.save(paths[-1])
    return paths


def test_a_result_has_the_size_of_the_content_and_its_record(pictures):
    result = nst_tf.stylize(*pictures, **QUICK)
    assert result.image.shape == (48, 64, 3)
    assert result.image.dtype == np.uint8
    assert result.last and not result.diverged
    assert (result.step, result.count, result.scale) == (3, 3, 0)
    assert result.record["costs"]["end"] == result.costs
    start = result.record["costs"]["start"]
    assert start["content"] == pytest.approx(0, abs=1e-6)
    assert result.costs["total"] < start["total"]
    weighted = 10 * result.costs["content"] + 40 * result.costs["style"]
    assert result.costs["total"] == pytest.approx(weighted, rel=1e-5)
    layers = [
        result.costs[f"style/{x}"] for x in ("block1_conv1", "block2_conv1")
    ]
    assert result.costs["style"] == pytest.approx(sum(layers) / 2, rel=1e-5)
    assert json.loads(record.to_json(result.record)) == result.record


def test_a_print_is_what_was_asked_for_in_pixels_and_on_paper(
    pictures, tmp_path, capsys
):
    options = {**QUICK, "steps": 1, "print": "3x3in@24dpi"}
    running = run.Run(prepare(*pictures, **options))
    bar = progress.Progress(running, quiet=False)
    for result in running:
        bar.show(result)
    told = capsys.readouterr().err
    assert "72 x 54 px (3.00 x 2.25 in at 24 dpi), 1 steps of" in told
    assert result.image.shape == (54, 72, 3)
    for suffix, depth in ((".png", 8), (".png", 16), (".tif", 16), (".jpg", 8)):
        path = tmp_path / f"{depth}{suffix}"
        result.save(path, depth=depth)
        with PIL.Image.open(path) as file:
            assert file.info["dpi"] == pytest.approx((24, 24), abs=0.02)
        assert record.read_recipe(path) == result.record
    read = images.read(tmp_path / "16.tif").rgb
    np.testing.assert_allclose(read, result.tensor[0], atol=0.51 / 65535)
    with pytest.raises(ValueError, match="`depth` of 16 bits needs"):
        result.save(tmp_path / "a.jpg", depth=16)


def test_a_run_lets_its_pictures_go(pictures):
    inputs = prepare(*pictures, **QUICK)
    held = [weakref.ref(one) for one in (inputs.content, inputs.styles[0])]
    running = run.Run(inputs)
    del inputs
    next(running)
    assert [one() for one in held] == [None, None]


def test_a_resumed_run_keeps_the_pairs_it_began_with(
    pictures, tmp_path, monkeypatch
):
    options = {**QUICK, "steps": 6, "scales": 2}
    whole = prepare(*pictures, **options)
    monkeypatch.setattr(memory, "ROOM", 3e5)
    began = prepare(*pictures, **options)
    monkeypatch.undo()
    assert (whole.plan.history, began.plan.history) == ((10, 10), (10, 2))
    *_, want = running = list(run.Run(began, every=6))
    assert want.record["history"] == [10, 2]
    running = run.Run(began, every=3)
    for result in running:
        if (result.scale, result.step) == (1, 3):
            running.save_checkpoint(tmp_path / "a.npz")
            break
    resume = record.read_checkpoint(tmp_path / "a.npz")
    *_, last = run.Run(whole, resume=resume)
    np.testing.assert_array_equal(last.tensor, want.tensor)
    assert last.record["history"] == [10, 2]


def test_paths_arrays_and_pillow_images_give_the_same(files):
    opened = [PIL.Image.open(path) for path in files]
    arrays = [np.asarray(image) for image in opened]
    from_paths = nst_tf.stylize(*files, **QUICK).image
    for sources in (opened, arrays, [path.read_bytes() for path in files]):
        same = nst_tf.stylize(*sources, **QUICK).image
        np.testing.assert_array_equal(same, from_paths)


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="no pipes by name")
def test_pictures_come_through_pipes(pictures):
    """Of 16 bits, which are looked into twice; their digests are recorded.

    But for a mask's: it is an option, and left where it is.
    """
    sent, pipes = [], []
    for picture in [*pictures, np.ones((48, 64, 3))]:
        sent.append(sixteen.png(np.uint16(65535 * picture)))
        out, into = os.pipe()
        with open(into, "wb") as file:
            file.write(sent[-1])
        pipes.append(out)
    names = [f"/dev/fd/{pipe}" for pipe in pipes]
    prepared = prepare(*names[:2], options=Options(mask=names[2], **QUICK))
    for pipe in pipes:
        os.close(pipe)
    found = [prepared.sources["content"], *prepared.sources["styles"]]
    for one, data in zip(found, sent[:2], strict=True):
        assert one == {"path": None, "sha256": sha256(data).hexdigest()}
    assert prepared.sources["mask"] == {"path": None, "sha256": None}
    np.testing.assert_allclose(prepared.content, pictures[0], atol=1 / 65535)


def test_saved_results_carry_their_recipe_and_spare_the_inputs(files, tmp_path):
    result = nst_tf.stylize(*files, **QUICK)
    path = tmp_path / "new" / "a.png"
    result.save(path)
    assert record.read_recipe(path) == result.record
    np.testing.assert_array_equal(PIL.Image.open(path), result.image)
    before = files[0].read_bytes()
    with pytest.raises(ValueError, match="inputs are never overwritten"):
        result.save(files[0])
    assert files[0].read_bytes() == before
    with pytest.raises(ValueError, match="output"):
        result.save(tmp_path / "a.xyz")


def test_snapshots_come_at_the_multiples_and_change_nothing(pictures):
    steps = [
        (one.scale, one.step)
        for one in nst_tf.snapshots(
            *pictures, every=2, **{**QUICK, "scales": 2}
        )
    ]
    assert steps == [(0, 0), (0, 2), (0, 3), (1, 0), (1, 2), (1, 3)]
    *_, each = nst_tf.snapshots(*pictures, every=1, **QUICK)
    whole = nst_tf.stylize(*pictures, **QUICK)
    np.testing.assert_array_equal(each.tensor, whole.tensor)
    assert each.costs == whole.costs


def test_pace_stops_at_every_stride_and_by_the_clock():
    assert list(run.pace(7, [], np.inf)) == [7]
    assert list(run.pace(7, [2, 3], np.inf)) == [2, 3, 4, 6, 7]
    assert list(run.pace(0, [2], 1.0)) == []
    slow = []
    for stop in run.pace(5, [], 0.01):
        time.sleep(0.05)
        slow.append(stop)
    assert slow == [1, 2, 3, 4, 5]
    quick = list(run.pace(10**6, [], 0.02))
    assert quick[0] == 1 and quick[-1] == 10**6 and len(quick) < 1000


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_run_is_the_uninterrupted_one(
    files, tmp_path, monkeypatch, name
):
    rate = {} if name == "lbfgs" else {"learning_rate": 1e-6}
    statistic = {"style_statistic": "wasserstein"} if name == "adam" else {}
    options = {**QUICK, "optimizer": name, "scales": 2, **rate, **statistic}
    prepared = prepare(*files, **options)
    path, results = tmp_path / "a.npz", []
    running = run.Run(prepared, every=2)
    for result in running:
        results.append(result)
        if (result.scale, result.step) == (1, 2):
            running.save_checkpoint(path)
            middle = result
    if name == "lbfgs":  # by an engine of its own
        monkeypatch.setattr(run, "_engine", run._engine.__wrapped__)
    again = prepare(*files, **options)
    *_, last = [
        middle,
        *run.Run(again, resume=record.read_checkpoint(path)),
    ]
    np.testing.assert_array_equal(last.tensor, results[-1].tensor)
    assert last.costs == results[-1].costs
    assert last.step == 3
    assert last.record["costs"]["start"] == results[-1].record["costs"]["start"]


def test_a_run_that_was_at_its_end_gives_its_end_again(files, tmp_path):
    options = {**QUICK, "scales": 2}
    running = run.Run(prepare(*files, **options))
    *_, done = running
    running.save_checkpoint(tmp_path / "a.npz")
    resume = record.read_checkpoint(tmp_path / "a.npz")
    for steps in (QUICK["steps"], 1):  # fewer than were taken: no going back
        prepared = prepare(*files, **{**options, "steps": steps})
        (again,) = run.Run(prepared, resume=resume)
        np.testing.assert_array_equal(again.tensor, done.tensor)
        assert again.last and again.costs == done.costs


def test_each_further_scale_takes_half_the_steps(pictures):
    chosen = {**QUICK, "scales": 4, "max_size": 512, "enlarge": True}
    plan = prepare(*pictures, **{**chosen, "steps": 5}).plan
    assert plan.schedule == [5, 5, 3, 2]


def test_tiles_are_chosen_said_and_paint_the_same(pictures, files):
    expected = nst_tf.stylize(*files, **QUICK)
    exact = {**QUICK, **IN_TILES}
    tiled = nst_tf.stylize(*files, **exact, tile=64)
    assert tiled.record["tile"] == 64 and expected.record["tile"] == 0
    whole = nst_tf.stylize(*files, **exact, tile="off")
    np.testing.assert_allclose(
        tiled.costs["total"], whole.costs["total"], rtol=1e-3
    )


def test_a_checkpoint_of_other_pictures_is_refused(files, pictures, tmp_path):
    path = tmp_path / "a.npz"
    running = run.Run(prepare(*files, **QUICK))
    next(running)
    running.save_checkpoint(path)
    other = prepare(files[0], pictures[1], **QUICK)
    with pytest.raises(ValueError, match="`resume`: the inputs"):
        next(run.Run(other, resume=record.read_checkpoint(path)))


def test_the_seed_decides_and_the_ratio_mixes(pictures):
    def first(**options):
        return prepare(*pictures, init="noise", scales=1, **options).image

    np.testing.assert_array_equal(first(seed=3), first(seed=3))
    assert np.abs(first(seed=3) - first(seed=4)).mean() > 0.1
    np.testing.assert_allclose(first(noise_ratio=0.0), pictures[0], atol=1e-6)
    half = 0.5 * first() + 0.5 * pictures[0]
    np.testing.assert_allclose(first(noise_ratio=0.5), half, atol=1e-6)
    gaussian = first(noise="gaussian")
    assert abs(gaussian.mean() - 0.5) < 0.01
    assert abs(gaussian.std() - 0.25) < 0.02


def test_init_style_and_path_keep_their_aspect(pictures, files):
    content, style = pictures
    wide = np.concatenate([content, content], axis=1)
    start = prepare(wide, style, init="style", scales=1).image
    assert start.shape == wide.shape
    # 56 wide for 128: the middle 21 of 40 rows, enlarged, not squeezed.
    expected = images.resize(style[9:30], (48, 128))
    np.testing.assert_allclose(start, expected, atol=1e-6)
    path = prepare(content, style, init=str(files[0]), scales=1).image
    np.testing.assert_allclose(path, content, atol=1 / 250)


def test_sizes(pictures):
    content, style = pictures
    assert prepare(content, style, max_size=32, scales=1).plan.size == (24, 32)
    assert prepare(content, style, max_size=128).plan.size == (48, 64)
    large = prepare(content, style, max_size=128, enlarge=True)
    assert large.plan.size == (96, 128)
    assert large.styles[0].shape == (91, 128, 3)
    small = prepare(content, style, style_scale=0.5, scales=1)
    assert small.styles[0].shape == (20, 28, 3)
    assert prepare(content, style, scales=2).image.shape == (24, 32, 3)


@pytest.mark.parametrize(
    ("style", "options", "wanted"),
    [
        ((400, 300), {}, (128, 96)),
        ((400, 300), {"style_scale": 2}, (256, 192)),
        ((100, 50), {}, (100, 50)),
        ((100, 50), {"style_scale": 2}, (200, 100)),
        ((100, 50), {"style_scale": 0.5}, (50, 25)),
        ((100, 50), {"style_scale": 1.28}, (128, 64)),
        ((100, 50), {"enlarge": True}, (128, 64)),
        ((100, 50), {"enlarge": True, "style_scale": 2}, (256, 128)),
        ((20, 40), {"style_scale": 0.1}, (8, 16)),
        ((8, 8), {}, (8, 8)),
    ],
)
def test_style_scale_counts_from_what_a_style_would_have(
    style, options, wanted
):
    assert style_size(style, (96, 128), Options(**options)) == wanted


def test_a_small_painting_is_told_with_the_flag_that_helps(pictures):
    content, style = pictures[0], pictures[1][:20, :24]
    with pytest.warns(UserWarning, match="--style_scale=2.7 enlarges") as told:
        prepare(content, style, scales=1)
    assert "24 x 20 pixels beside a result of 64 x 48" in str(told[0].message)
    prepare(content, style, scales=1, style_scale=2.7)
    prepare(content, style, scales=1, enlarge=True)
    prepare(content, pictures[1], scales=1, style_scale=0.4)


def test_without_a_content_and_without_a_style(pictures):
    content, style = pictures
    texture = nst_tf.stylize(
        None, style, content_weight=0, init="noise", optimizer="adam", **QUICK
    )
    assert texture.image.shape == (40, 56, 3)
    assert texture.record["inputs"]["content"] is None
    mirror = nst_tf.stylize(
        content, None, style_weight=0, init="noise", **{**QUICK, "steps": 40}
    )
    start = mirror.record["costs"]["start"]
    assert mirror.costs["content"] < 0.2 * start["content"]


def test_several_styles_blend(pictures):
    content, style = pictures
    other = style[::-1] ** 3
    both = nst_tf.stylize(content, [style, other], **QUICK).image
    one = nst_tf.stylize(
        content, [style, other], style_blend=(1, 0), **QUICK
    ).image
    alone = nst_tf.stylize(content, style, **QUICK).image
    np.testing.assert_array_equal(one, alone)
    assert np.abs(both.astype(int) - one).max() > 3


def test_alpha_comes_back(tmp_path, pictures):
    content = np.dstack(
        [pictures[0], np.linspace(0, 1, 64)[None].repeat(48, 0)]
    )
    result = nst_tf.stylize(content.astype("float32"), pictures[1], **QUICK)
    result.save(tmp_path / "a.png")
    saved = np.asarray(PIL.Image.open(tmp_path / "a.png"))
    assert saved.shape == (48, 64, 4)
    np.testing.assert_allclose(
        saved[0, :, 3] / 255, content[0, :, 3], atol=0.01
    )


LUMA = np.array([0.299, 0.587, 0.114])


def test_luminance_keeps_the_contents_chroma_in_every_snapshot(pictures):
    content = np.clip(0.3 + 0.4 * pictures[0], 0, 1)  # room for all chroma
    chosen = {**QUICK, "scales": 2, "color": "luminance"}
    results = list(nst_tf.snapshots(content, pictures[1], every=1, **chosen))
    assert results[-1].scales == 2
    for result in results:
        shown = np.asarray(result.tensor[0])
        height, width = shown.shape[:2]
        small = images.resize(content, (height, width))
        wanted = small - (small @ LUMA)[..., None]
        chroma = shown - (shown @ LUMA)[..., None]
        room = np.all((shown > 0.001) & (shown < 0.999), -1)
        assert room.mean() > 0.5
        near = 1e-5 if result.scale else 0.02  # two ways to make it smaller
        assert np.abs(chroma - wanted)[room].max() < near
    first = np.asarray(results[0].tensor[0])
    painted = np.asarray(results[-1].tensor[0])
    assert first.shape == (24, 32, 3)
    assert np.abs(painted @ LUMA - content @ LUMA).max() > 0.01


def test_content_colours_are_those_that_reach_the_network(pictures):
    content, style = pictures
    inputs = prepare(content, style, color="content", scales=1)
    assert inputs.content is not content and inputs.photograph is None
    np.testing.assert_array_equal(inputs.content, content)
    means = [np.mean(p, (0, 1)) for p in (inputs.styles[0], content)]
    np.testing.assert_allclose(*means, atol=0.01)
    plain = prepare(content, style, scales=1)
    half = prepare(
        content, style, color="content", color_strength=0.5, scales=1
    )
    middle = (plain.styles[0] + inputs.styles[0]) / 2
    inside = (inputs.styles[0] > 0) & (inputs.styles[0] < 1)
    assert np.abs(half.styles[0] - middle)[inside].max() < 1e-5
    nothing = prepare(
        content, style, color="content", color_strength=0, scales=1
    )
    np.testing.assert_array_equal(nothing.styles[0], plain.styles[0])


def test_starts_are_as_pale_as_what_is_seen(pictures, files):
    for init in ("content", "style", "noise", str(files[1])):
        given = {"init": init, "color": "luminance", "scales": 1}
        start = prepare(*pictures, **given)
        assert np.ptp(start.image, axis=-1).max() < 1e-6
        assert start.image.dtype == np.float32


def test_a_palette_of_a_third_picture_is_among_the_inputs(files, tmp_path):
    palette = tmp_path / "palette.png"
    colours = np.full((20, 30, 3), [200, 60, 20], "uint8")
    colours[:10] //= 2
    PIL.Image.fromarray(colours).save(palette)
    given = {**QUICK, "color_image": str(palette)}
    running = run.Run(prepare(*files, **given))
    *_, result = running
    assert result.record["inputs"]["color_image"]["path"] == str(palette)
    assert str(palette) in record.input_paths(result.record)
    with pytest.raises(ValueError, match="inputs are never overwritten"):
        result.save(palette)
    running.save_checkpoint(tmp_path / "a.npz")
    resume = record.read_checkpoint(tmp_path / "a.npz")
    next(run.Run(prepare(*files, **given), resume=resume))
    PIL.Image.fromarray(255 - colours).save(palette)
    with pytest.raises(ValueError, match="`resume`: the inputs"):
        next(run.Run(prepare(*files, **given), resume=resume))


@pytest.mark.parametrize("color", ["content", "luminance"])
def test_grey_pictures_paint_and_stay_finite(pictures, color):
    grey = [p.mean(-1, keepdims=True).repeat(3, -1) for p in pictures]
    result = nst_tf.stylize(grey[0], pictures[1], color=color, **QUICK)
    assert not result.diverged
    if color == "luminance":
        assert np.ptp(result.image.astype(int), axis=-1).max() <= 1
    result = nst_tf.stylize(pictures[0], grey[1], color=color, **QUICK)
    assert not result.diverged


@pytest.mark.parametrize("color", ["content", "luminance"])
def test_colours_are_the_same_in_tiles_and_after_a_pause(
    files, tmp_path, color
):
    chosen = {**QUICK, **IN_TILES, "color": color}
    whole = nst_tf.stylize(*files, **chosen)
    tiled = nst_tf.stylize(*files, **chosen, tile=64)
    assert np.abs(whole.tensor - tiled.tensor).max() < 0.02
    running = run.Run(prepare(*files, **{**chosen, "steps": 2}))
    list(running)
    running.save_checkpoint(tmp_path / "a.npz")
    resume = record.read_checkpoint(tmp_path / "a.npz")
    *_, last = run.Run(prepare(*files, **chosen), resume=resume)
    np.testing.assert_array_equal(last.tensor, whole.tensor)


def test_the_margin_leaves_the_size_alone_and_is_not_zero_padding(pictures):
    bare = nst_tf.stylize(*pictures, margin=0, **QUICK)
    framed = nst_tf.stylize(*pictures, margin=8, **QUICK)
    assert bare.image.shape == framed.image.shape
    assert np.abs(bare.image.astype(int) - framed.image).max() > 0


def test_divergence_keeps_the_last_good_picture(pictures):
    with pytest.warns(RuntimeWarning, match="--learning_rate"):
        result = nst_tf.stylize(
            *pictures,
            optimizer="sgd",
            content_weight=1e38,
            learning_rate=1e38,
            **{**QUICK, "steps": 10},
        )
    assert result.diverged and result.last and result.step < 10
    assert np.isfinite(np.asarray(result.tensor)).all()
    assert "null" not in record.to_json(result.record["costs"]["start"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"content": None}, "`content` is missing"),
        ({"style": None}, "`style` is missing"),
        ({"style": []}, "`style` is missing"),
        ({"content": None, "content_weight": 0}, "`init` is content"),
        ({"style_blend": (1, 2)}, "`style_blend` should have a weight for"),
        ({"content": np.zeros((1, 1, 3))}, "`content` should be at least 16"),
        ({"content": np.zeros((3, 2000, 3))}, "`content` should be at least"),
        ({"style": np.zeros((8, 8, 3))}, "`style` should be at least 16"),
        ({"scales": 3}, "at the coarsest of its scales"),
        ({"content": "missing.png"}, "there is no file"),
        ({"init": "missing.png"}, "`init`"),
        ({"weights": "missing.h5"}, "`weights` should be"),
        ({"max_size": 60000, "enlarge": True}, "out of memory"),
        ({"step": 3}, 'Did you mean "steps"'),
        ({"color": "contents"}, 'Did you mean "content"'),
        ({"color_image": "missing.png"}, "`color_image`"),
        ({**TEXTURE, "color": "luminance"}, "there is no `content`"),
        ({**MIRROR, "color": "content"}, "`color` recolours the `style`"),
        ({**MIRROR, "color_image": "a.png"}, "`color_image` recolours"),
    ],
)
def test_what_cannot_work_is_refused_at_once(pictures, change, message):
    inputs = {"content": pictures[0], "style": pictures[1], **change}
    sources = [inputs.pop("content"), inputs.pop("style")]
    with pytest.raises(ValueError, match=message):
        nst_tf.snapshots(*sources, **inputs)


def test_options_and_overrides_mix(pictures):
    options = Options(**QUICK)
    result = nst_tf.stylize(*pictures, options=options, steps=1)
    assert result.step == 1
    assert result.record["options"] == options.replace(steps=1).to_dict()


def test_an_engine_reads_nothing_that_another_may_differ_in(monkeypatch):
    """Whatever it is not built for: the options say which those are."""
    fed = {
        field.name
        for field in dataclasses.fields(Options)
        if not field.metadata["engine"]
    }
    fed.remove("learning_rate")  # whether there is one, the optimiser tells
    read = set()

    class Told(Options):
        def __getattribute__(self, name):
            read.add(name)
            return super().__getattribute__(name)

    told = Told(**QUICK)
    read.clear()
    arithmetic = prepare(*[np.zeros((32, 32, 3))] * 2, **QUICK).plan.arithmetic
    run._engine.__wrapped__(told, arithmetic, None)
    assert "pooling" in read and not read & fed


def test_an_engine_is_shared_by_what_differs_in_numbers_alone():
    options = Options(**QUICK)
    alike = {"seed": 7, "steps": 9, "strength": 0.3, "mask": "a.png"}
    for name, value in alike.items():
        assert options.replace(**{name: value}).built() == options.built()
    for other in ({"content_weight": 0}, {"margin": 0}, {"history": 3},
                  {"style_layers": "conv1_1"}):  # fmt: skip
        assert options.replace(**other).built() != options.built()
    untrained = options.replace(weights="random")
    assert untrained.replace(seed=7).built() != untrained.built()
    more = options.replace(content_weight=3, detail_weight=2)
    assert more.built() == options.replace(detail_weight=1).built()
