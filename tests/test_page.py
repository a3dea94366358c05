"""The page's form, limits and server, without a browser."""

import base64
import contextlib
import dataclasses
import hashlib
import importlib.util
import io
import json
import math
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from nst_tf import Options
from nst_tf.files import encoding, images, record
from nst_tf.request import presets
from nst_tf.request.values import option

if importlib.util.find_spec("gradio") is None:
    pytest.skip("no Gradio: pip install gradio", allow_module_level=True)
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

# Gradio and what it needs warn about themselves: none of ours to mend.
pytestmark = pytest.mark.filterwarnings(
    "default::DeprecationWarning", "default::ResourceWarning"
)
SERVER = Path(__file__).with_name("page_server.py")


@pytest.fixture(scope="module")
def page_modules():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nst_tf.page import (
            brush,
            command,
            folder,
            form,
            layout,
            line,
            painting,
            pictures,
            recipes,
            stage,
        )

    return SimpleNamespace(
        brush=brush,
        command=command,
        folder=folder,
        form=form,
        layout=layout,
        line=line,
        painting=painting,
        pictures=pictures,
        recipes=recipes,
        stage=stage,
    )


@pytest.fixture(scope="module")
def form(page_modules):
    return page_modules.form


@pytest.fixture(scope="module")
def folder(page_modules):
    return page_modules.folder


# The form


def test_every_option_is_on_the_page_but_those_that_read_files(form):
    every = {field.name for field in dataclasses.fields(Options)}
    grouped = [name for names in form.groups().values() for name in names]
    assert every - set(form.names()) == {
        "color_image",
        "content_mask",
        "detail_mask",
        "mask",
        "style_blend",
        "style_mask",
        "weights",
    }
    assert set(grouped) <= set(form.names())
    assert set(form.names()) - set(grouped) == set(form.SIGHT)


def test_what_is_in_sight_is_short(page_modules):
    """Each help is one short line; all there is to say stands below."""
    form, known = page_modules.form, presets.names()
    assert page_modules.layout.START in form.LOOKS
    assert {name for name in form.LOOKS if name} <= set(known)
    explained = form.explained()
    for name in form.names():
        info = form.component(name, Options()).info or ""
        assert len(info) <= form.SHORT and "\n" not in info
        assert f"`{name}`" in explained


def test_a_new_option_appears_by_itself(form, monkeypatch):
    own = option("styles", 0.5, "how gently", 0, 1)
    new = dataclasses.make_dataclass(
        "New",
        [("gentleness", float, own)],
        bases=(Options,),
        frozen=True,
        kw_only=True,
    )
    monkeypatch.setattr(form, "Options", new)
    made = form.component("gentleness", new())
    assert "gentleness" in form.groups()["styles"]
    assert (made.label, made.value) == ("Gentleness", 0.5)
    assert made.info == "how gently"
    assert "(`gentleness`): how gently; 0 to 1" in form.explained()
    assert (made.minimum, made.maximum) == (0, 1)


def shown_again(form, options):
    """What is read of a form that shows these options."""
    *values, usual = [update["value"] for update in form.updates(options)]
    shown = dict(zip(form.names(), values, strict=True))
    return Options.from_dict(form.read(form.weighed(shown, usual)))


@pytest.mark.parametrize("name", ["", *presets.names()])
def test_what_the_form_shows_is_what_it_reads(form, name):
    options = Options.from_dict(presets.read(name) if name else {})
    assert Options.from_dict(form.read(form.shown(options))) == options
    assert shown_again(form, options) == options
    # A strength that is moved is in place of the weights.
    shown = {**form.shown(options), "strength": 0.3}
    assert Options.from_dict(form.read(form.weighed(shown, True))) == options
    moved = Options.from_dict(form.read(form.weighed(shown, False)))
    assert moved.strength == 0.3
    assert shown_again(form, moved) == moved


@pytest.mark.parametrize("name", ["init", "weights", "color_image"])
def test_no_option_reads_a_file_of_the_server(form, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        form.read({name: "/etc/passwd"})
    options, left = form.taken({name: "/etc/passwd", "steps": 7})
    assert (options, left) == (Options(steps=7), [name])


def test_shares_become_a_blend(form):
    assert form.blend([1, 1]) == ()
    assert form.blend([None, 1]) == ()
    assert form.blend([2, 1]) == [2, 1]
    assert form.blend([]) == ()
    with pytest.raises(ValueError, match="positive sum"):
        Options(style_blend=form.blend([0, 0]))


@pytest.mark.parametrize(
    "options", [[], None, {"steps": "x"}, {"steps": [1]}, {"scales": {"a": 1}}]
)
def test_nonsense_in_a_recipe_is_a_message(page_modules, options):
    form, recipes = page_modules.form, page_modules.recipes
    recipe = {"options": options, "inputs": {"content": None, "styles": []}}
    filled = recipes.reuse({})(recipe)
    assert len(filled) == len(form.names()) + 2 * form.STYLES + 5
    assert "cannot be read" in filled[-1]


def test_a_recipe_leaves_its_mask_out(page_modules):
    form, painting = page_modules.form, page_modules.painting
    recipes = page_modules.recipes
    options = Options(mask=painting.MASK, strength=0.4).to_dict()
    recipe = {"options": options, "inputs": {"content": None, "styles": []}}
    filled = recipes.reuse({})(recipe)
    assert len(filled) == len(form.names()) + 2 * form.STYLES + 5
    assert filled[-1] == (
        "The form is filled in. Not on the page, left out: mask."
    )


# The folder


def test_the_folder_is_swept_by_age_and_size(folder):
    old, new, kept = (folder.home() / "a" / n for n in ("old", "new", "kept"))
    for age, path in enumerate((kept, new, old)):
        record.write(path, b"x" * 1000)
        then = time.time() - 100 * age
        os.utime(path, (then, then))
    folder.samples()
    others = sum(
        path.stat().st_size
        for path in folder.home().rglob("*")
        if path.is_file() and path.parent.name not in ("a", "samples")
    )
    folder.sweep(age=150)
    assert not old.exists() and new.exists()
    folder.sweep(total=others + 1500)
    assert not new.exists() and kept.exists()
    assert all(path.is_file() for path in folder.samples()["content"])


def test_the_folder_holds_nothing_else(folder, tmp_path):
    inside, outside = folder.home() / "b" / "in.txt", tmp_path / "out.txt"
    for path in (inside, outside):
        record.write(path, b"x")
    link = inside.with_name("link")
    link.symlink_to(outside)
    assert folder.holds(inside)
    for path in (
        outside,
        link,
        inside.parent,
        "/etc/passwd",
        f"{inside.parent}/../../../etc/passwd",
        "nul\0l",
        "",
    ):
        assert not folder.holds(path)
    with pytest.raises(ValueError, match="`style` should be a picture that"):
        folder.sent({"path": str(outside)}, "style")


# A run


@pytest.fixture(scope="module")
def wish(page_modules, pictures, tmp_path_factory):
    """What asks for a picture of two small ones, by its options."""
    place = tmp_path_factory.mktemp("given")
    paths = []
    for name, picture in zip(("photo", "style"), pictures, strict=True):
        paths.append(place / f"{name}.png")
        record.write(paths[-1], encoding.encode(picture, ".png"))

    def made(masks=None, styles=1, **options):
        return page_modules.painting.Wish(
            paths[0], paths[1:] * styles, Options(**options), masks or {}
        )

    return made


def test_limits_are_kept_before_any_work(page_modules, wish):
    limits = page_modules.painting.Limits(max_pixels=1000, max_steps=5)
    for changes, words in (
        ({"steps": 5}, "`max_size`: this would be 0.00307 megapixels"),
        ({"steps": 6, "max_size": 24}, "`steps`: the page was started for 5"),
        ({"steps": 5, "max_size": 24, "style_scale": 9, "enlarge": True},
         "`max_size`"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            wish(**changes).check(limits)


def test_a_run_is_told_and_stopped(
    page_modules, wish, tiny_weights_everywhere, folder
):
    painting = page_modules.painting
    wanted = wish(max_size=48, steps=4, scales=1)
    inputs = wanted.prepare()
    frames: list = []
    moments = list(painting.follow(inputs, threading.Event(), frames))
    assert "48 x 36 pixels, about" in moments[1].words
    assert moments[-1].result.last and moments[-1].done == 1
    assert [m.done for m in moments] == sorted(m.done for m in moments)
    assert all("left" in m.words for m in moments[2:-1])
    done = painting.finish(moments[-1].result, inputs, wanted, frames)
    assert set(done.files) == {"png", "jpg", "webp", "deep", "gif"}
    for path in done.files.values():
        recipe = record.read_recipe(path)
        assert recipe["options"]["steps"] == 4
        assert recipe["inputs"]["content"]["path"] is None
        assert folder.holds(path)
    deep = Path(done.files["deep"]).read_bytes()
    assert deep[24] == 16  # bits, says a PNG's header
    stopped = threading.Event()
    stopped.set()
    moments = list(painting.follow(inputs, stopped))
    assert moments[-1].result.step == 0


@pytest.mark.parametrize("name", ["", *presets.names()])
def test_a_recipe_is_a_command(page_modules, name):
    from nst_tf.terminal import flags

    options = Options.from_dict(presets.read(name) if name else {})
    options = options.replace(
        mask="mask.png", content_mask=["part_1.png", "all"], style_blend="2,1"
    )
    recipe = {"options": options.to_dict(), "inputs": {"content": {}}}
    typed = page_modules.command.command(recipe, ["a b.jpg", "c.tif", "d.png"])
    words = shlex.split(typed)
    assert words[:2] == ["nst-tf", "stylize"]
    given = flags.parse("stylize", words[2:])
    assert Options.from_dict(given.options) == options
    assert given.flags["content"] == "a b.jpg"
    assert given.flags["style"] == ["c.tif", "d.png"]


# The line


def test_one_is_painted_and_the_others_know_when(
    page_modules, wish, tiny_weights_everywhere
):
    from nst_tf.page.visits import Visits

    queue, visits = page_modules.line.Line(1), Visits()
    ann, bob, cy = (visits.welcome(name, name) for name in ("ann", "bob", "cy"))
    long = wish(max_size=48, steps=5000, scales=1)
    jobs = [page_modules.line.Job(who, long) for who in (ann, bob, cy)]
    queue.join(jobs[0])
    moments = jobs[0].moments()
    while next(moments).result is None:
        pass
    queue.join(jobs[1])
    before, left = queue.before(jobs[1])
    assert before == 1 and left > 0
    with pytest.raises(ValueError, match="1 pictures wait"):
        queue.join(jobs[2])
    assert (bob.stop(), jobs[1].ended.is_set()) == (1, True)
    queue.join(jobs[2])  # there is room again
    visits.leave("ann")  # but a reload takes no minute
    assert visits.come("ann", "another tab") is ann and not ann.away()
    assert (ann.stop(), cy.stop()) == (1, 1)
    assert jobs[0].ended.wait(60)
    assert "kept" in jobs[0].painted.words and ann.pictures
    assert not bob.pictures and visits.come("nobody", "x") is None


def test_who_left_is_waited_for_and_then_forgotten(monkeypatch):
    from nst_tf.page import visits as visits_

    visits = visits_.Visits()
    ann = visits.welcome("ann", "tab")
    visits.leave("tab")
    assert not ann.away()
    monkeypatch.setattr(visits_, "GRACE", -1)
    assert ann.away()
    monkeypatch.setattr(visits_, "MOST", 10)
    for number in range(30):
        visits.welcome(str(number), str(number))
        visits.leave(str(number))
    assert len(visits) == 10


# What is given


def turned(rgb, kind, orientation=6):
    """A file of a picture that is to be turned by what EXIF, or XMP, says."""
    picture = Image.fromarray(images.to_uint8(rgb)).transpose(
        Image.Transpose.ROTATE_90
    )
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
        '"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="'
        f'{orientation}"/></rdf:RDF></x:xmpmeta>'
    )
    about = {"xmp": xmp.encode()} if kind == "JPEG" else {"exif": exif}
    picture.save(file, kind, quality=95, **about)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["HEIF", "TIFF", "WEBP", "JPEG"])
def test_what_is_given_is_shown_upright_and_leads_back(
    page_modules, pictures, folder, tmp_path, kind
):
    if kind == "HEIF":
        heif = pytest.importorskip("pillow_heif")
        file = io.BytesIO()
        heif.from_pillow(Image.fromarray(images.to_uint8(pictures[0]))).save(
            file, quality=95
        )
        data = file.getvalue()
    else:
        data = turned(pictures[0], kind)
    path = tmp_path / f"from my phone.{kind.lower()}"
    record.write(path, data)
    shown = page_modules.pictures.shown(path, "photograph")
    with Image.open(shown) as preview:
        assert preview.format == "JPEG" and preview.size == (64, 48)
    found = images.read(shown).rgb
    assert np.abs(found - pictures[0]).mean() < 0.02
    payload = {"path": shown}
    assert folder.original(payload, "content").name == path.name
    assert folder.sent(payload, "content") == data
    # Another's picture is not to be had by its name: a token is no digest.
    forged = folder.home() / "x" / f"{'0' * 32}.{folder.SHOWN}"
    record.write(forged, b"x")
    with pytest.raises(ValueError, match="was sent to this page"):
        folder.original({"path": str(forged)}, "content")


# The brush


def drawn(labels, colours):
    """What the brush sends of labels [h, w]: -1 is nothing."""
    known = np.array([[*bytes.fromhex(c)] for c in colours], "uint8")
    alpha = (labels >= 0).astype("float32")
    data = encoding.encode(known[labels], ".png", alpha=alpha)
    return {"drawn": "data:image/png;base64," + base64.b64encode(data).decode()}


def half(height=48, width=64):
    """Labels: the left half is of all the paintings, nothing the other."""
    labels = np.full((height, width), -1)
    labels[:, : width // 2] = 0
    return labels


def test_what_was_drawn_is_painted(
    page_modules, wish, pictures, tiny_weights_everywhere
):
    from nst_tf.page.visits import Visitor

    painting, brush = page_modules.painting, page_modules.brush
    masks = brush.masks(drawn(half(), brush.COLOURS), [True] + 3 * [False])
    assert set(masks) == {painting.MASK}
    wanted = wish(
        masks, max_size=64, steps=2, scales=1, style_layers="conv1_1,conv5_1"
    )
    job = page_modules.line.Job(Visitor(), wanted)
    job.paint()
    done = job.painted
    # What it leaves out is told to the visitor, and to no terminal.
    (remark,) = job.remarks
    assert remark.startswith("`mask` leaves fewer than 16 positions of block5")
    assert remark in page_modules.stage.banner("", remark)
    found = images.to_uint8(images.read(done.files["png"]).rgb)
    before = images.to_uint8(pictures[0])
    np.testing.assert_array_equal(found[:, 32:], before[:, 32:])
    assert (found[:, :32] != before[:, :32]).any()
    assert done.record["options"]["mask"] == painting.MASK
    digest = hashlib.sha256(masks[painting.MASK]).hexdigest()
    assert done.record["inputs"]["mask"] == {"path": None, "sha256": digest}
    with zipfile.ZipFile(done.files["masks"]) as packed:
        assert packed.read(painting.MASK) == masks[painting.MASK]


def test_each_painting_has_its_part(page_modules, wish):
    brush = page_modules.brush
    labels = np.full((48, 64), -1)
    labels[:, :16], labels[:, 16:32], labels[:, 32:48] = 1, 3, 0
    # The second place of the form is empty: the third has the second part.
    given = [True, False, True, False]
    masks = brush.masks(drawn(labels, brush.COLOURS), given)
    white = {
        name: images.read(data).rgb[0, ::16, 0].tolist()
        for name, data in masks.items()
    }
    assert white == {
        "mask.png": [1, 1, 1, 0],
        "part_1.png": [1, 0, 1, 0],
        "part_2.png": [0, 1, 1, 0],
    }
    wanted = wish(
        masks, styles=2, max_size=64, scales=1, style_layers="conv1_1"
    )
    inputs = wanted.prepare()
    assert inputs.options.content_mask == ("part_1.png", "part_2.png")
    assert [one["path"] for one in inputs.sources["content_mask"]] == [None] * 2
    np.testing.assert_allclose(
        inputs.places.regions[:, 0, ::16],
        [[1, 0, 0.5, 0], [0, 1, 0.5, 0]],
    )
    labels[labels != 1] = -1
    with pytest.raises(ValueError, match="painting 3 has no part"):
        brush.masks(drawn(labels, brush.COLOURS), given)


@pytest.mark.parametrize("value", [None, "", {}, {"drawn": ""}, [], 7])
def test_a_brush_that_drew_nothing_is_no_mask(page_modules, value):
    assert page_modules.brush.masks(value, [True] * 4) == {}


@pytest.mark.parametrize(
    "value",
    [
        "data:image/png;base64,%%%",
        "data:image/png;base64,aaaa",
        "/gradio_api/file=/etc/passwd",
        np.zeros((1, 1300)),
    ],
)
def test_no_drawing_is_a_message(page_modules, value):
    brush = page_modules.brush
    sent = {"drawn": value}
    if not isinstance(value, str):
        sent = drawn(value.astype(int), brush.COLOURS)
    with pytest.raises(ValueError, match="should be what was drawn"):
        brush.masks(sent, [True] * 4)


def test_a_mask_of_another_shape_is_a_message(page_modules, wish, folder):
    brush = page_modules.brush
    masks = brush.masks(drawn(half(64, 48), brush.COLOURS), [True] * 4)
    with pytest.raises(
        ValueError, match='"mask.png" should have the'
    ) as raised:
        wish(masks).prepare()
    assert str(folder.home()) not in str(raised.value)


def test_the_stage_escapes_and_draws(page_modules):
    stage = page_modules.stage
    assert "<script" not in stage.problem("`a`: <script>alert(1)</script>")
    assert "<code>a</code>" in stage.problem("`a`: b")
    assert "<script" not in stage.banner("<script>")
    drawn = stage.curve([(0, 10.0), (0, 1.0), (1, 4.0), (1, math.nan)])
    assert drawn.count("<line") == 1 and "nan" not in drawn
    assert stage.curve([(0, 1.0)]) == ""


# The server


# Where nobody listens, one that needs another package, too.
PROXIES = dict.fromkeys(
    ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"),
    "http://127.0.0.1:9",
)
PROXIES |= dict.fromkeys(("ALL_PROXY", "all_proxy"), "socks5://127.0.0.1:9")


@pytest.fixture(scope="module")
def server():
    """Address and process of a page on the tiny network, behind proxies."""
    process = subprocess.Popen(
        [sys.executable, SERVER, "max_steps=3000"],
        env={**os.environ, **PROXIES, "NO_PROXY": "", "no_proxy": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process.stdout.readline().strip(), process
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()


@pytest.fixture(scope="module")
def client(server):
    import gradio_client

    return gradio_client.Client(server[0], verbose=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory, pictures):
    place = tmp_path_factory.mktemp("pictures")
    for name, picture in zip(("content", "style"), pictures, strict=True):
        record.write(place / f"{name}.png", encoding.encode(picture, ".png"))
    return place


def handed(path):
    import gradio_client

    return gradio_client.handle_file(path)


def test_a_program_paints(client, files, pictures):
    given = {
        "content": handed(files / "content.png"),
        "style": handed(files / "style.png"),
    }
    path = client.predict(**given, max_size=48, steps=3, api_name="/paint")
    recipe = record.read_recipe(path)
    assert recipe["options"]["steps"] == 3
    assert images.read(path).rgb.shape == (36, 48, 3)
    other = client.predict(
        **given, style_2=given["content"], style_blend="2,1", preset="fast",
        max_size=48, steps=2, format="webp", api_name="/paint",
    )  # fmt: skip
    assert Path(other).suffix == ".webp"
    recipe = record.read_recipe(other)
    assert recipe["options"]["style_blend"] == [2, 1]
    assert recipe["options"]["scales"] == 2
    assert len(recipe["inputs"]["styles"]) == 2


def test_a_program_paints_a_part(client, files, pictures, tmp_path):
    mask = tmp_path / "left.png"
    record.write(mask, encoding.encode((half() == 0).astype("float32"), ".png"))
    path = client.predict(
        content=handed(files / "content.png"),
        style=handed(files / "style.png"),
        mask=handed(mask),
        max_size=64,
        steps=2,
        strength=0.6,
        api_name="/paint",
    )
    found = images.to_uint8(images.read(path).rgb)
    before = images.to_uint8(images.read(files / "content.png").rgb)
    np.testing.assert_array_equal(found[:, 32:], before[:, 32:])
    assert (found[:, :32] != before[:, :32]).any()
    recipe = record.read_recipe(path)
    assert recipe["options"]["strength"] == 0.6
    assert recipe["inputs"]["mask"]["path"] is None


def test_a_program_follows_and_stops(client, files):
    job = client.submit(
        content=handed(files / "content.png"),
        style=handed(files / "style.png"),
        steps=3000,
        scales="1",
        api_name="/paint",
    )
    seen = set()
    ends = time.monotonic() + 180
    while time.monotonic() < ends and len(seen) < 3:
        data = job.status().progress_data
        if data and "Step" in data[0].desc:
            seen.add(data[0].desc)
        time.sleep(0.1)
    assert client.predict(api_name="/stop") == 1
    assert record.read_recipe(job.result(timeout=180))["step"] < 3000
    assert len(seen) >= 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 3001}, "`steps`: the page was started for 3000"),
        ({"steps": "many"}, "`steps`: it should be a number"),
        ({"init": "/etc/passwd"}, "reads no file of the server"),
        ({"preset": "fsat"}, 'Did you mean "fast"'),
        ({"format": "exe"}, "`format` should end in"),
        ({"style": None}, "`style` is missing"),
        ({"style": {"path": "/etc/passwd"}}, "sent to this page"),
        ({"mask": {"path": "/etc/passwd"}}, "`mask` should be a picture that"),
        ({"mask": "alpha"}, "`mask` should be a picture that"),
        ({"strength": 0.4, "style_weight": 3}, "`strength` sets"),
        ({"optimizer": "adam", "history": 3}, "`history` belongs to lbfgs"),
    ],
)
def test_a_program_gets_the_words(client, files, changes, words):
    given = {
        "content": handed(files / "content.png"),
        "style": handed(files / "style.png"),
    }
    with pytest.raises(Exception, match=words):
        client.predict(**{**given, **changes}, api_name="/paint")


def bad_pictures(place):
    """Files that are no picture to paint with."""
    import zlib

    def chunk(kind, data):
        body = kind + data
        return (
            len(data).to_bytes(4, "big") + body
            + zlib.crc32(body).to_bytes(4, "big")
        )  # fmt: skip

    size = (30000).to_bytes(4, "big") * 2
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size + b"\x08\x02\x00\x00\x00")
        + chunk(b"IDAT", zlib.compress(b"\0" * 10**6))
        + chunk(b"IEND", b"")
    )
    dot = encoding.encode(np.zeros((1, 1, 3), np.uint8), ".png")
    cases = {
        "text.jpg": (b"no picture", "cannot be read|not one that"),
        "empty.png": (b"", "is empty"),
        "bomb.png": (bomb, "megapixels"),
        "dot.png": (dot, "at least 16 x 16"),
    }
    for name, (data, words) in cases.items():
        record.write(place / name, data)
        yield place / name, words


def test_bad_pictures_are_a_message(client, files, tmp_path):
    for path, words in bad_pictures(tmp_path):
        with pytest.raises(Exception, match=words):
            client.predict(
                content=handed(path),
                style=handed(files / "style.png"),
                api_name="/draft",
            )


def fetched(address, path, data=None):
    """Status of a request, sent as it is: no client tidies the path."""
    import http.client
    from urllib.parse import urlsplit

    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, 60)
    try:
        body = None if data is None else json.dumps(data)
        method = "GET" if data is None else "POST"
        kind = {"Content-Type": "application/json"}
        connection.request(method, path, body, kind)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_name_that_is_not_utf8_goes_in(server, client, files):
    picture = (files / "content.png").read_bytes()
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="'
    body = part + b'caf\xe9.png"\r\n\r\n' + picture + b"\r\n--x--\r\n"
    request = urllib.request.Request(
        f"{server[0]}gradio_api/upload",
        body,
        {"Content-Type": "multipart/form-data; boundary=x"},
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request) as answer:
        (path,) = json.load(answer)
    sent = {"path": path, "orig_name": "caf\udce9.png"}
    painted = client.predict(
        content={**sent, "meta": {"_type": "gradio.FileData"}},
        style=handed(files / "style.png"),
        max_size=48,
        steps=1,
        api_name="/paint",
    )
    assert record.read_recipe(painted)["inputs"]["content"]["path"] is None


def test_nothing_outside_the_folder_is_served(server, tmp_path):
    record.write(tmp_path / "secret.png", b"secret")
    secret = str(tmp_path / "secret.png")
    here = str(Path(__file__).resolve())
    for wanted in (
        secret,
        here,
        "/etc/passwd",
        "../../../../../../etc/passwd",
        "..%2f..%2f..%2f..%2fetc%2fpasswd",
        "%252e%252e%252fetc%252fpasswd",
        "file:///etc/passwd",
        "http://127.0.0.1/",
        "setup.cfg",
    ):
        for route in ("/gradio_api/file=", "/gradio_api/file/"):
            assert fetched(server[0], route + wanted)[0] in (403, 404, 307)
    for route in (
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/monitoring",
        "/gradio_api/deep_link",
        "/static/../../../../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    ):
        status, body = fetched(server[0], route)
        assert status >= 400 and b"root:" not in body


def test_it_listens_on_this_machine_only(server):
    """The kernel's list of listening sockets has 127.0.0.1 alone."""
    table = Path(f"/proc/{server[1].pid}/net/tcp")
    if not table.is_file():
        pytest.skip("no /proc/PID/net/tcp on this system")
    port = int(server[0].rstrip("/").rpartition(":")[2])
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    six = Path(f"/proc/{server[1].pid}/net/tcp6").read_text()
    local = [row[1] for row in rows if row[3] == "0A"]
    ours = [one for one in local if one.endswith(f":{port:04X}")]
    assert ours == [f"0100007F:{port:04X}"]
    assert f":{port:04X} 0000000000000000" not in six


def resident(process):
    """MB that a process has in memory."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


RUBBISH = (
    {"data": []},
    {"data": [None] * 99},
    {"data": "x" * 1000},
    {"data": [{"path": "/etc/passwd"}, {"path": "../x"}]},
    {"data": [[1, [2, [3]]], {"a": {"b": 1}}, float("1e308"), -1, "\0"]},
    {"nothing": 1},
)


def test_an_idle_page_rests(server):
    """How often it wakes: 20 times a second; at Gradio's own pace 880."""
    tasks = Path(f"/proc/{server[1].pid}/task")
    if not tasks.is_dir():
        pytest.skip("no /proc/PID/task on this system")

    def woken():
        said = "".join(path.read_text() for path in tasks.glob("*/status"))
        return sum(map(int, re.findall(r"\nvoluntary\D*(\d+)", said)))

    rates = []
    for _ in range(5):  # the least of: something may just have ended
        before = woken()
        time.sleep(0.2)
        rates.append((woken() - before) / 0.2)
    assert min(rates) < 200, rates


def test_rubbish_leaves_the_memory_flat(server, client, files):
    if not Path(f"/proc/{server[1].pid}/status").is_file():
        pytest.skip("no /proc/PID/status on this system")

    def calls(count):
        for number in range(count):
            body = RUBBISH[number % len(RUBBISH)]
            name = ("draft", "paint", "nothing")[number % 3]
            status, _ = fetched(server[0], f"/gradio_api/call/{name}", body)
            assert status in (200, 400, 404, 422, 500, 503)

    calls(100)  # until as many sessions are remembered as will be
    before = resident(server[1])
    calls(200)
    grown = resident(server[1]) - before
    assert grown < 20, f"{grown:.1f} MB"
    path = client.predict(
        content=handed(files / "content.png"),
        style=handed(files / "style.png"),
        max_size=48,
        steps=1,
        api_name="/paint",
    )
    assert record.read_recipe(path)


def test_users_are_read_and_nobody_is_named(tmp_path):
    from nst_tf.page import server

    path = tmp_path / "users"
    path.write_text("# who\nann:secret:er\n\n bob:x\n")
    assert server.read_users(path) == [("ann", "secret:er"), ("bob", "x")]
    path.write_text("ann\n")
    with pytest.raises(ValueError, match="line 1 .* should be name:password"):
        server.read_users(path)
    path.write_text("\n")
    with pytest.raises(ValueError, match="names nobody"):
        server.read_users(path)


def test_it_starts_behind_any_proxy(server, monkeypatch):
    """See `PROXIES`: it did, and what was set is as it was."""
    from nst_tf.page.server import _unproxied

    assert fetched(server[0], "/")[0] == 200
    monkeypatch.setenv("NO_PROXY", "example.org")
    monkeypatch.delenv("no_proxy", raising=False)
    for share, words in ((False, "*"), (True, "localhost,127.0.0.1,::1,")):
        with _unproxied(share):
            assert os.environ["no_proxy"].startswith(words)
            assert os.environ["NO_PROXY"].startswith(words)
        assert os.environ["NO_PROXY"] == "example.org"
        assert "no_proxy" not in os.environ


def test_a_taken_port_is_one_line_of_ours():
    from nst_tf.page import launch

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"`port`: .*:{port} ") as raised:
            launch(port=port)
        assert "GRADIO" not in str(raised.value)
    with pytest.raises(ValueError, match="`host`: 192.0.2.1 cannot be"):
        launch(host="192.0.2.1")
