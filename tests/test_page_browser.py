"""The page in a real browser: the machine's own Chromium, the tiny network."""

import contextlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

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
        [sys.executable, SERVER, f"warning={WARNING}"],
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
def visit(browser, server, **settings):
    """A visitor's tab; what it asked for is in `tab.asked`."""
    context = browser.new_context(accept_downloads=True, **settings)
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE)
    tab.asked, tab.said = [], []
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.on("console", lambda line: tab.said.append((line.type, line.text)))
    tab.goto(server)
    expect(tab.locator("#paint")).to_be_visible()
    yield tab
    context.close()


def choose_samples(tab):
    for number, target in enumerate(("#content", "#style")):
        tab.locator(".thirds").nth(number).locator("button").first.click()
        expect(tab.locator(f"{target} img").first).to_be_visible()


def ask_for(tab, **options):
    for name, value in options.items():
        box = tab.locator(f"#option-{name} input").first
        box.fill(str(value))
        box.press("Tab")


def begin(tab, steps=5000, button="#paint", size=48):
    choose_samples(tab)
    ask_for(tab, max_size=size, steps=steps)
    tab.click(button)


def previews(tab, count):
    """Waits for so many different pictures on the stage."""
    image, seen = tab.locator(".stage img"), set()
    expect(image).to_be_visible()
    while len(seen) < count:
        seen.add(image.get_attribute("src"))
        tab.wait_for_timeout(100)
    return seen


def test_paint_watch_stop_download_and_drop_it_back(browser, server, tmp_path):
    with visit(browser, server) as tab:
        begin(tab, size=128)
        assert len(previews(tab, 3)) == 3
        expect(tab.locator("#stage")).to_contain_text("left")
        expect(tab.locator(".curve polyline")).to_be_attached()
        expect(tab.locator(".banner")).to_have_text(WARNING)
        tab.click("#stop")
        expect(tab.locator("#stage")).to_contain_text("Stopped: 128 x 85")
        for kind in ("png", "jpg", "webp"):
            with tab.expect_download() as download:
                tab.click(f"#download-{kind}")
            path = tmp_path / f"painted.{kind}"
            download.value.save_as(path)
            recipe = record.read_recipe(path)
            assert recipe["options"]["max_size"] == 128
            assert 0 < recipe["step"] < 5000
        expect(tab.locator("#gallery button")).to_have_count(1)
    with visit(browser, server) as tab:
        tab.locator("#what button").first.click()
        tab.set_input_files("#dropped input", tmp_path / "painted.png")
        size = tab.locator("#option-max_size input").first
        expect(size).to_have_value("128")
        expect(tab.locator("#told")).to_contain_text("The form is filled in.")
        # The samples are known by their contents.
        expect(tab.locator("#content img").first).to_be_visible()
        expect(tab.locator("#style img").first).to_be_visible()


def test_a_draft_ends_by_itself_and_nothing_is_asked_of_others(browser, server):
    with visit(browser, server) as tab:
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
            begin(second, steps=20)
            second.wait_for_timeout(1500)
            assert second.locator(".stage img").count() == 0  # it waits
            expect(second.locator("#stage")).to_contain_text("queue")
            # The stop button of one who waits stops nobody.
            expect(first.locator("#stop")).to_be_enabled()
            first.close()  # ends its run within seconds
            expect(second.locator("#stage")).to_contain_text("Done:")


def test_a_mistake_is_a_message_and_the_page_lives_on(browser, server):
    with visit(browser, server) as tab:
        tab.click("#paint")
        problem = tab.locator(".stage-problem")
        expect(problem).to_contain_text("content is missing")
        choose_samples(tab)
        ask_for(tab, max_size=48, steps=2)
        tab.click("#paint")
        expect(tab.locator("#stage")).to_contain_text("Done:")


def test_what_is_drawn_is_painted(browser, server, tmp_path):
    with visit(browser, server) as tab:
        tab.locator("#part button").first.click()
        expect(tab.locator(".brush-words")).to_contain_text("Give a photograph")
        choose_samples(tab)
        canvas = tab.locator(".brush-canvas")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        middle = box["x"] + box["width"] / 4
        tab.mouse.move(middle, box["y"] + 10)
        tab.mouse.down()
        tab.mouse.move(middle, box["y"] + box["height"] - 10, steps=5)
        tab.mouse.up()
        canvas.press("Space")  # where the brush is, for the keyboard
        tab.locator("#option-strength input").first.fill("0.7")
        expect(tab.locator("#as-usual input")).not_to_be_checked()
        ask_for(tab, max_size=96, steps=3)
        tab.click("#paint")
        expect(tab.locator("#stage")).to_contain_text("Done:")
        painted, whole = tmp_path / "painted.png", tmp_path / "whole.jpg"
        with tab.expect_download() as download:
            tab.click("#download-png")
        download.value.save_as(painted)
        photograph = tab.locator("#content img").get_attribute("src")
        whole.write_bytes(tab.request.get(photograph).body())
        assert drawn(tab)
        # Another photograph takes the drawing away.
        tab.locator(".thirds").first.locator("button").nth(1).click()
        expect(tab.locator(".brush-photograph")).not_to_have_attribute(
            "src", photograph
        )
        assert not drawn(tab)
    recipe = record.read_recipe(painted)
    assert recipe["options"]["strength"] == 0.7
    assert recipe["inputs"]["mask"]["sha256"]
    found, before = images.read(painted).rgb, images.read(whole).rgb
    before = images.resize(before, found.shape[:2])
    change = np.abs(found - before).max(-1)
    third = found.shape[1] // 3
    assert change[:, third:].max() < 0.51 / 255
    assert change[:, :third].max() > 3 / 255


def drawn(tab):
    """Whether anything is drawn."""
    return tab.evaluate(
        """() => {
          const canvas = document.querySelector(".brush-canvas");
          const { width, height } = canvas;
          const pen = canvas.getContext("2d");
          return pen.getImageData(0, 0, width, height).data.some(Boolean);
        }"""
    )


def test_presets_fill_in_the_form(browser, server):
    with visit(browser, server) as tab:
        tab.locator("#preset input").click()
        tab.get_by_role("option", name="fast:").click()
        size = tab.locator("#option-max_size input").first
        expect(size).to_have_value("256")


def test_a_phone(browser, server):
    phone = {"width": 390, "height": 844}
    with visit(browser, server, viewport=phone, is_mobile=True) as tab:
        begin(tab, steps=5)
        expect(tab.locator("#stage")).to_contain_text("Done:")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        expect(tab.locator("#stage")).to_be_in_viewport()


def test_the_keyboard_alone(browser, server):
    with visit(browser, server) as tab:
        for number in range(2):
            sample = tab.locator(".thirds").nth(number).locator("button").first
            sample.focus()
            tab.keyboard.press("Enter")
        expect(tab.locator("#style img").first).to_be_visible()
        ask_for(tab, max_size=48, steps=2)
        focused = set()
        for _ in range(60):
            focused.add(tab.evaluate("document.activeElement.id"))
            if "paint" in focused:
                break
            tab.keyboard.press("Tab")
        assert {"draft", "paint"} <= focused
        tab.keyboard.press("Enter")
        expect(tab.locator("#stage")).to_contain_text("Done:")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, server, scheme):
    from axe_playwright_python.sync_playwright import Axe

    with visit(browser, server, color_scheme=scheme) as tab:
        begin(tab, steps=2)
        expect(tab.locator("#stage")).to_contain_text("Done:")
        for part in ("#part", "#more", "#what"):
            tab.locator(f"{part} button").first.click()
        tab.wait_for_timeout(500)
        found = Axe().run(tab).response["violations"]
        serious = [
            (one["id"], [node["html"][:200] for node in one["nodes"]])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert serious == []
