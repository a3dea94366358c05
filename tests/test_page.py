"""The page's form, limits and server, without a browser."""

import base64
import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from nst_tf import Options
from nst_tf.files import images, record
from nst_tf.request import presets

if importlib.util.find_spec("gradio") is None:
    pytest.skip("gradio is missing: nst_tf[page]", allow_module_level=True)
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
        from nst_tf.page import brush, folder, form, painting, recipes, stage

    return folder, form, painting, recipes, stage, brush


@pytest.fixture(scope="module")
def form(page_modules):
    return page_modules[1]


@pytest.fixture(scope="module")
def folder(page_modules):
    return page_modules[0]


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
    assert set(form.names()) - set(grouped) <= set(form.FIRST)


def test_a_new_option_appears_by_itself(form, monkeypatch):
    own = dataclasses.field(
        default=0.5,
        metadata={
            "group": "styles",
            "help": "how gently",
            "low": 0,
            "high": 1,
            "choices": (),
        },
    )
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
    assert made.info == "how gently; 0 to 1"
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
    form, recipes = page_modules[1], page_modules[3]
    recipe = {"options": options, "inputs": {"content": None, "styles": []}}
    filled = recipes.reuse({})(recipe)
    assert len(filled) == len(form.names()) + 2 * form.STYLES + 4
    assert "cannot be read" in filled[-1]


def test_a_recipe_leaves_its_mask_out(page_modules):
    _, form, painting, recipes, _, _ = page_modules
    options = Options(mask=painting.MASK, strength=0.4).to_dict()
    recipe = {"options": options, "inputs": {"content": None, "styles": []}}
    filled = recipes.reuse({})(recipe)
    assert len(filled) == len(form.names()) + 2 * form.STYLES + 4
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


def test_limits_are_kept_before_any_work(page_modules, pictures):
    painting = page_modules[2]
    content, style = (images.encode(one, ".png") for one in pictures)
    limits = painting.Limits(max_pixels=1000, max_steps=5)
    for changes, words in (
        ({"steps": 5}, "`max_size`: this would be 0.00307 megapixels"),
        ({"steps": 6, "max_size": 24}, "`steps`: the page was started for 5"),
        ({"steps": 5, "max_size": 24, "style_scale": 9, "enlarge": True},
         "`max_size`"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            painting.prepare(content, [style], Options(**changes), limits)


def test_a_run_is_told_and_stopped(
    page_modules, pictures, tiny_weights_everywhere, folder
):
    painting = page_modules[2]
    content, style = (images.encode(one, ".png") for one in pictures)
    options = Options(max_size=48, steps=4, scales=1)
    inputs = painting.prepare(content, [style], options, painting.Limits())
    frames: list = []
    moments = list(painting.follow(inputs, threading.Event(), frames))
    assert "48 x 36 pixels" in moments[1].words
    assert moments[-1].result.last and moments[-1].done == 1
    assert [m.done for m in moments] == sorted(m.done for m in moments)
    done = painting.finish(moments[-1].result, inputs, frames)
    assert set(done.files) == {".png", ".jpg", ".webp", ".gif"}
    for path in done.files.values():
        recipe = record.read_recipe(path)
        assert recipe["options"]["steps"] == 4
        assert recipe["inputs"]["content"]["path"] is None
        assert folder.holds(path)
    stopped = threading.Event()
    stopped.set()
    moments = list(painting.follow(inputs, stopped))
    assert moments[-1].result.step == 0


# The brush


def drawn(mask):
    """What the brush sends of a mask [h, w], uint8: white on nothing."""
    white = np.full((*mask.shape, 3), 255, "uint8")
    data = images.encode(white, ".png", alpha=mask / np.float32(255))
    return "data:image/png;base64," + base64.b64encode(data).decode()


def half(height=48, width=64):
    """A mask of the left half."""
    mask = np.zeros((height, width), "uint8")
    mask[:, : width // 2] = 255
    return mask


def test_what_was_drawn_is_painted(
    page_modules, pictures, tiny_weights_everywhere
):
    painting, brush = page_modules[2], page_modules[5]
    content, style = (images.encode(one, ".png") for one in pictures)
    options = Options(
        max_size=64, steps=2, scales=1, style_layers="conv1_1,conv2_1"
    )
    mask = brush.mask(drawn(half()))
    inputs = painting.prepare(
        content, [style], options, painting.Limits(), mask
    )
    *_, moment = painting.follow(inputs, threading.Event())
    done = painting.finish(moment.result, inputs)
    found = images.to_uint8(images.read(done.files[".png"]).rgb)
    before = images.to_uint8(images.read(content).rgb)
    np.testing.assert_array_equal(found[:, 32:], before[:, 32:])
    assert (found[:, :32] != before[:, :32]).any()
    assert done.record["options"]["mask"] == painting.MASK
    digest = hashlib.sha256(mask).hexdigest()
    assert done.record["inputs"]["mask"] == {"path": None, "sha256": digest}


@pytest.mark.parametrize(
    "value", [None, "", "/gradio_api/file=/etc/passwd", "/etc/passwd", [], 7]
)
def test_a_brush_that_drew_nothing_is_no_mask(page_modules, value):
    assert page_modules[5].mask(value) is None


@pytest.mark.parametrize(
    "value, words",
    [
        ("data:image/png;base64,%%%", "what the brush drew"),
        ("data:image/png;base64,aaaa", "mask. cannot be read|`mask`"),
        (np.zeros((48, 64)), '"mask.png" is black all over'),
        (half(64, 48), '"mask.png" should have the shape of its picture'),
    ],
)
def test_no_mask_is_a_message(page_modules, pictures, folder, value, words):
    painting, brush = page_modules[2], page_modules[5]
    content, style = (images.encode(one, ".png") for one in pictures)
    sent = value if isinstance(value, str) else drawn(value.astype("uint8"))
    with pytest.raises(ValueError, match=words) as raised:
        painting.prepare(
            content, [style], Options(), painting.Limits(), brush.mask(sent)
        )
    assert str(folder.home()) not in str(raised.value)


def test_the_stage_escapes_and_draws(page_modules):
    stage = page_modules[4]
    assert "<script" not in stage.problem("`a`: <script>alert(1)</script>")
    assert "<code>a</code>" in stage.problem("`a`: b")
    assert "<script" not in stage.banner("<script>")
    drawn = stage.curve([(0, 10.0), (0, 1.0), (1, 4.0), (1, math.nan)])
    assert drawn.count("<line") == 1 and "nan" not in drawn
    assert stage.curve([(0, 1.0)]) == ""


def test_a_visitor_stops_no_other():
    from nst_tf.page.visits import Visits

    visits = Visits()
    with visits.run("ann") as first, visits.run("bob") as second:
        assert (len(visits), visits.stop("ann")) == (2, 1)
        assert first.is_set() and not second.is_set()
        visits.leave("bob")
        assert second.is_set() and visits.gone("bob")
        visits.come("bob")
        assert not visits.gone("bob")
    assert (len(visits), visits.stop("bob")) == (0, 0)
    for number in range(3000):
        visits.leave(str(number))
    assert visits.gone("2999") and not visits.gone("0")


# The server


@pytest.fixture(scope="module")
def server():
    """Address and process of a page on the tiny network."""
    process = subprocess.Popen(
        [sys.executable, SERVER, "max_steps=3000"],
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
        record.write(place / f"{name}.png", images.encode(picture, ".png"))
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
    record.write(mask, images.encode(half() / np.float32(255), ".png"))
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
    dot = images.encode(np.zeros((1, 1, 3), np.uint8), ".png")
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
