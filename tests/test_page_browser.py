"""The page in a real browser: the machine's own Chromium, the tiny network."""

import contextlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from nst_tf.files import images, record

for package in ("gradio", "playwright", "axe_playwright_python"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is missing", allow_module_level=True)
BROWSER = next(
    filter(
        None,
        map(shutil.which, ("chromium", "chromium-browser", "google-chrome")),
    ),
    None,
)
if BROWSER is None:
    pytest.skip("no Chromium on this machine", allow_module_level=True)

from playwright.sync_api import expect, sync_playwright  # noqa: E402
from test_page import turned  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "default::DeprecationWarning", "default::ResourceWarning"
)
SERVER = Path(__file__).with_name("page_server.py")
PATIENCE = 180_000  # ms: the machine may be busy with other tests
WARNING = "NO WEIGHTS: painting with something else. <b>Fetch</b> them."
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def server():
    """Address of a page on the tiny network, without ImageNet's weights."""
    process = subprocess.Popen(
        [sys.executable, SERVER, "grace=6", f"warning={WARNING}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process.stdout.readline().strip()
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=BROWSER,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
            ],
        )
        yield chromium
        chromium.close()


@contextlib.contextmanager
def opened(browser, **settings):
    """A visitor's tab; what it asked for is in `tab.asked`."""
    context = browser.new_context(accept_downloads=True, **settings)
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE)
    tab.asked, tab.said = [], []
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.on("console", lambda line: tab.said.append((line.type, line.text)))
    yield tab
    context.close()


def come(tab, server):
    tab.goto(server)
    expect(tab.locator("#paint")).to_be_visible()


def leave(tab):
    """For good: who comes next is somebody else."""
    tab.evaluate("localStorage.clear()")
    tab.goto("about:blank")


@contextlib.contextmanager
def visit(browser, server, **settings):
    """A tab of its own."""
    with opened(browser, **settings) as tab:
        come(tab, server)
        yield tab


@pytest.fixture(scope="module")
def kept(browser):
    """A desktop's tab: the page's program is compiled once, not each time."""
    with opened(browser) as tab:
        yield tab


@pytest.fixture
def tab(kept, server):
    """The tab that is kept, of a new visitor."""
    kept.said.clear()
    kept.emulate_media(color_scheme="light")  # a test may have changed it
    come(kept, server)
    yield kept
    leave(kept)


def choose_samples(tab):
    for number, target in enumerate(("#content", "#style")):
        tab.locator(".samples").nth(number).locator("button").first.click()
        expect(tab.locator(f"{target} img").first).to_be_visible()


def unfold(tab, name):
    tab.locator(f"#{name} button").first.click()


def ask_for(tab, **options):
    unfold(tab, "more")
    for name, value in options.items():
        box = tab.locator(f"#option-{name} input").first
        box.fill(str(value))
        box.press("Tab")
    unfold(tab, "more")


def begin(tab, steps=5000, button="#paint", size=64):
    choose_samples(tab)
    ask_for(tab, max_size=size, steps=steps)
    tab.click(button)


def previews(tab, count):
    """Waits for a picture on the stage, and what is told of so many."""
    expect(tab.locator(".stage img")).to_be_visible()
    seen = set()
    while len(seen) < count:
        seen.add(tab.locator(".stage figcaption").inner_text())
        tab.wait_for_timeout(100)
    return seen


def in_sight(tab, *names):
    """Whether all of each is seen without scrolling."""
    for name in names:
        expect(tab.locator(name)).to_be_in_viewport(ratio=0.99)


NEEDED = "#content", "#style", "#look", "#paint", "#draft"


def test_a_desktops_first_screen_has_all_that_one_needs(tab):
    for chosen in (False, True):
        if chosen:
            choose_samples(tab)
        for width, height in ((1440, 900), (1024, 768)):
            tab.set_viewport_size({"width": width, "height": height})
            in_sight(tab, *NEEDED, "#stage")
            assert tab.evaluate("scrollY") == 0
            assert across(tab) <= width


def test_a_phones_first_screen_has_all_that_one_needs(browser, server):
    size = {"width": 390, "height": 844}
    with visit(browser, server, viewport=size, is_mobile=True) as tab:
        in_sight(tab, *NEEDED)
        choose_samples(tab)
        in_sight(tab, *NEEDED)
        assert tab.evaluate("scrollY") == 0
        expect(tab.locator("#stage")).to_be_in_viewport(ratio=0.1)
        assert across(tab) <= 390
        ask_for(tab, max_size=64, steps=2)
        tab.click("#paint")
        expect(tab.locator("#stage")).to_contain_text("Done:")
        expect(tab.locator("#stage")).to_be_in_viewport()
        tab.click("#paint")  # nothing lies over it


def across(tab):
    """How wide the page is."""
    return tab.evaluate("document.documentElement.scrollWidth")


def test_watch_load_anew_stop_download_and_drop_it_back(tab, server, tmp_path):
    begin(tab, size=128)
    assert len(previews(tab, 3)) == 3
    expect(tab.locator("#stage")).to_contain_text("left")
    expect(tab.locator(".curve polyline")).to_be_attached()
    expect(tab.locator(".banner")).to_have_text(WARNING)
    tab.reload()  # the run goes on, and the form is as it was
    assert len(previews(tab, 3)) == 3
    expect(tab.locator("#content img").first).to_be_visible()
    expect(tab.locator("#option-max_size input").first).to_have_value("128")
    tab.click("#stop")
    expect(tab.locator("#stage")).to_contain_text("Stopped: 128 x 85")
    for kind in ("png", "jpg", "webp", "deep"):
        path = downloaded(tab, f"#download-{kind}", tmp_path)
        recipe = record.read_recipe(path)
        assert recipe["options"]["max_size"] == 128
        assert 0 < recipe["step"] < 5000
    expect(tab.locator("#gallery button")).to_have_count(1)
    expect(tab.locator("#downloads")).to_contain_text("1.1 x 0.7 cm")
    tab.reload()  # what was finished is there still
    expect(tab.locator("#download-png")).to_be_visible()
    expect(tab.locator("#gallery button")).to_have_count(1)
    unfold(tab, "made")
    expect(tab.locator("#command textarea")).to_have_value(
        re.compile("^nst-tf stylize --content=content_lake.jpg --style=")
    )
    # The same for a paper, from the recipe.
    tab.locator("#paper input").fill("1x1in@90dpi")
    tab.locator("#paper input").press("Enter")
    tab.click("#enlarge")
    previews(tab, 1)
    tab.click("#stop")
    expect(tab.locator("#stage")).to_contain_text("Stopped: 90 x 60")
    leave(tab)
    come(tab, server)
    unfold(tab, "what")
    tab.set_input_files("#dropped input", tmp_path / "painted.png")
    size = tab.locator("#option-max_size input").first
    expect(size).to_have_value("128")
    expect(tab.locator("#told")).to_contain_text("The form is filled in.")
    # The samples are known by their contents.
    expect(tab.locator("#content img").first).to_be_visible()
    expect(tab.locator("#style img").first).to_be_visible()


def test_a_draft_ends_by_itself_and_nothing_is_asked_of_others(tab, server):
    begin(tab, steps=2, button="#draft")
    expect(tab.locator("#stage")).to_contain_text("Done:")
    expect(tab.locator("#result")).to_be_visible()
    origins = {
        urlsplit(url)[:2]
        for url in tab.asked
        if urlsplit(url).scheme not in ("data", "blob")
    }
    assert origins == {urlsplit(server)[:2]}
    assert [s for s in tab.said if s[0] == "error"] == []


def test_two_visitors_and_a_closed_tab(browser, server):
    with visit(browser, server) as first:
        begin(first, size=128)
        previews(first, 2)
        with visit(browser, server) as second:
            begin(second, steps=2)
            stage = second.locator("#stage")
            expect(stage).to_contain_text("yours is next, and begins in about")
            # Who waits stops nobody, and leaves the line.
            second.click("#stop")
            expect(stage).to_contain_text("Taken out of the line.")
            expect(first.locator("#stop")).to_be_enabled()
            second.click("#paint")
            expect(stage).to_contain_text("yours is next")
            first.close()  # ends its run within seconds
            expect(stage).to_contain_text("Done:")


def test_a_mistake_is_a_message_and_the_page_lives_on(tab, tmp_path):
    tab.click("#paint")
    problem = tab.locator("#stage .stage-problem")
    expect(problem).to_contain_text("content is missing")
    record.write(tmp_path / "no.png", b"no picture")
    tab.set_input_files("#content input", tmp_path / "no.png")
    trouble = tab.locator(".trouble .stage-problem")
    expect(trouble).to_contain_text("photograph should be a picture")
    choose_samples(tab)
    expect(trouble).to_have_count(0)
    ask_for(tab, max_size=64, steps=2)
    tab.click("#paint")
    expect(tab.locator("#stage")).to_contain_text("Done:")


def as_a_phone_does(picture, path):
    """A HEIC, a JPEG of 50 megapixels, or a WebP that is to be turned."""
    picture = images.to_uint8(picture)
    if path.suffix == ".heic":
        heif = pytest.importorskip("pillow_heif")
        heif.from_pillow(Image.fromarray(picture)).save(path, quality=95)
    elif path.suffix == ".jpg":
        Image.fromarray(picture).resize((8160, 6120)).save(path)
    else:
        path.write_bytes(turned(picture, "WEBP"))
    return path


def downloaded(tab, button, folder):
    """The file, under the name that the browser gives it."""
    with tab.expect_download() as download:
        tab.click(button)
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def touch(tab, *points):
    """A finger's way, as the browser gets it from a screen."""
    session = tab.context.new_cdp_session(tab)
    kinds = ["touchStart", *["touchMove"] * (len(points) - 1)]
    for kind, (x, y) in zip(kinds, points, strict=True):
        session.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": x, "y": y}]},
        )
    session.send(
        "Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []}
    )


def give(tab, name, path):
    """Gives a file; waits until the server has made its preview."""
    tab.set_input_files(f"#{name} input[type=file]", path)
    image = tab.locator(f"#{name} img").first
    expect(image).to_have_attribute("src", re.compile("shown.jpg$"))
    tab.wait_for_function(
        "(one) => one.naturalWidth", arg=image.element_handle()
    )


def shares(tab):
    """Of the canvas, left to right in fourths: how much each has of all."""
    return tab.evaluate(
        """() => {
          const canvas = document.querySelector(".brush-canvas");
          const { width, height } = canvas;
          const { data } = canvas.getContext("2d").getImageData(
            0, 0, width, height);
          const found = [0, 0, 0, 0];
          for (let k = 3; k < data.length; k += 4)
            if (data[k])
              found[Math.floor(4 * (((k - 3) / 4) % width) / width)]
                += 4 / width / height;
          return found;
        }"""
    )


PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 3}


def test_what_a_finger_draws_on_a_phone_is_painted(
    browser, server, pictures, tmp_path
):
    photograph, painting = pictures
    heic = as_a_phone_does(photograph, tmp_path / "given.heic")
    large = as_a_phone_does(photograph, tmp_path / "given.jpg")
    webp = as_a_phone_does(painting, tmp_path / "given.webp")
    phone = {**PHONE, "has_touch": True, "is_mobile": True}
    with visit(browser, server, **phone) as tab:
        give(tab, "content", large)  # 50 megapixels
        give(tab, "style", webp)
        unfold(tab, "part")
        canvas = tab.locator(".brush-canvas")
        expect(canvas).to_have_attribute("width", "1280")
        give(tab, "content", heic)
        expect(canvas).to_have_attribute("width", "64")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        x, y = box["x"] + box["width"] / 8, box["y"]
        down = [y + box["height"] * k / 4 for k in (0.2, 1, 2, 3, 3.9)]
        tab.locator(".brush-width").fill("20")
        touch(tab, *((x, one) for one in down))
        first, *others = shares(tab)
        assert first > 0.6 and max(others) < 0.1
        ask_for(tab, max_size=64, steps=3)
        tab.click("#paint")
        expect(tab.locator("#stage")).to_contain_text("Done: 64 x 48")
        painted = downloaded(tab, "#download-png", tmp_path)
        expect(tab.locator("#download-masks")).to_be_visible()
        # The shape is the photograph's, not that of a file that lies.
        expect(tab.locator("#style img").first).to_have_js_property(
            "naturalWidth", 56
        )
    found, before = images.read(painted).rgb, images.read(heic).rgb
    change = np.abs(found - before).max(-1)
    assert change[:, 24:].max() < 0.51 / 255
    assert change[:, :12].max() > 3 / 255


def test_parts_by_colours_undo_save_and_load(tab, pictures, tmp_path):
    webp = as_a_phone_does(pictures[1], tmp_path / "given.webp")
    unfold(tab, "part")
    expect(tab.locator(".brush-words")).to_contain_text("Give a photograph")
    choose_samples(tab)
    give(tab, "content", webp)
    unfold(tab, "paintings")
    give(tab, "style_3", webp)
    swatches = tab.locator(".brush-colours button")
    expect(swatches).to_have_text(["All", "1", "3"])
    canvas = tab.locator(".brush-canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()

    def stroke(swatch, share):
        swatches.nth(swatch).click()
        x = box["x"] + box["width"] * share
        tab.mouse.move(x, box["y"] + 5)
        tab.mouse.down()
        tab.mouse.move(x, box["y"] + box["height"] - 5, steps=3)
        tab.mouse.up()

    tab.locator(".brush-width").fill("25")
    box = canvas.bounding_box()
    stroke(1, 0.12)
    stroke(2, 0.88)
    assert [share > 0.5 for share in shares(tab)] == [1, 0, 0, 1]
    tab.locator(".brush-undo").click()
    assert [share > 0.5 for share in shares(tab)] == [1, 0, 0, 0]
    tab.locator(".brush-rest").click()
    assert sum(shares(tab)) == pytest.approx(4)
    canvas.press("Control+z")
    stroke(2, 0.88)
    swatches.nth(0).click()
    canvas.focus()
    for _ in range(20):
        canvas.press("ArrowLeft")
    canvas.press("Space")  # where the brush is, for the keyboard
    drawn = shares(tab)
    brushed = downloaded(tab, ".brush-save", tmp_path)
    tab.locator(".brush-clear").click()
    assert sum(shares(tab)) == 0
    tab.set_input_files(".brush-load input", brushed)
    tab.wait_for_timeout(300)
    assert shares(tab) == pytest.approx(drawn)
    tab.locator("#option-strength input").first.fill("0.7")
    ask_for(tab, max_size=96, steps=3)
    tab.click("#paint")
    expect(tab.locator("#stage")).to_contain_text("Done:")
    painted = downloaded(tab, "#download-png", tmp_path)
    tab.reload()  # the drawing is kept, as the form is
    expect(tab.locator("#download-png")).to_be_visible()
    tab.click("#paint")
    expect(tab.locator("#gallery button")).to_have_count(2)
    expect(tab.locator("#download-masks")).to_be_visible()
    unfold(tab, "part")
    expect(canvas).to_have_attribute("width", "56")
    tab.wait_for_timeout(300)
    assert shares(tab) == pytest.approx(drawn)
    recipe = record.read_recipe(painted)
    assert recipe["options"]["strength"] == 0.7
    masks = recipe["options"]["content_mask"]
    assert masks == ["part_1.png", "part_2.png"]


def test_presets_fill_in_the_form(tab):
    size = tab.locator("#option-max_size input").first
    size.fill("800")
    tab.locator("#look label", has_text="Bold").click()
    unfold(tab, "more")
    expect(tab.locator("#option-content_weight input").first).to_have_value("4")
    tab.locator("#preset input").click()
    expect(size).to_have_value("800")
    tab.get_by_role("option", name="fast").click()
    expect(size).to_have_value("256")
    expect(tab.locator("#look input:checked")).to_have_count(0)


def test_the_keyboard_alone(tab):
    for number in range(2):
        sample = tab.locator(".samples").nth(number).locator("button").first
        sample.focus()
        tab.keyboard.press("Enter")
    expect(tab.locator("#style img").first).to_be_visible()
    ask_for(tab, max_size=64, steps=2)
    tab.locator("#look input").first.focus()
    focused = set()
    for _ in range(30):
        focused.add(tab.evaluate("document.activeElement.id"))
        if "paint" in focused:
            break
        tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    expect(tab.locator("#stage")).to_contain_text("Done:")


def serious(tab):
    """What axe finds."""
    from axe_playwright_python.sync_playwright import Axe

    return [
        (one["id"], [node["html"][:200] for node in one["nodes"]])
        for one in Axe().run(tab).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def test_axe_finds_nothing_serious(tab):
    begin(tab, steps=2)
    expect(tab.locator("#stage")).to_contain_text("Done:")
    for part in ("part", "paintings", "more", "made", "what"):
        unfold(tab, part)
    tab.wait_for_timeout(500)
    assert serious(tab) == []
    tab.emulate_media(color_scheme="dark")
    expect(tab.locator("body")).to_have_class(re.compile("dark"))
    tab.wait_for_timeout(500)
    assert serious(tab) == []
