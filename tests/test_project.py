"""What a stranger meets: metadata, links, the source distribution."""

import configparser
import re
import shutil
import subprocess
import sys
import tarfile
from importlib import util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
METADATA = SETUP["metadata"]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
# Where projects live; those that are cited are other people's.
HOSTS = re.compile(
    r"(?:github\.com|githubusercontent\.com|colab\.research\.google\.com"
    r"|gitlab\.com|readthedocs\.io|pypi\.org)/[^\s)\"'`<>]*nst[-_]tf"
)


def text_files():
    suffixes = {".md", ".py", ".cfg", ".toml", ".ipynb", ".flags"}
    folders = ("nst_tf", "docs", "scripts", "notebooks", "configs", "tests")
    inside = [path for name in folders for path in (ROOT / name).rglob("*")]
    return [p for p in [*ROOT.glob("*"), *inside] if p.suffix in suffixes]


def anchors(page):
    """What headings are called in links to them."""
    lines = page.read_text(encoding="utf-8").splitlines()
    titles = [line.lstrip("# ") for line in lines if line.startswith("#")]
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in plain}


def test_the_address_is_said_in_setup_cfg_or_nowhere():
    address = METADATA.get("url")
    for path in text_files():
        for line in path.read_text(encoding="utf-8").splitlines():
            if HOSTS.search(line) and path != Path(__file__).resolve():
                assert address and address in line, f"{path.name}: {line}"


def test_addresses_are_seen():
    for line in (
        "https://github.com/someone/nst_tf/blob/main/README.md",
        "(https://colab.research.google.com/github/a/nst-tf/x.ipynb)",
    ):
        assert HOSTS.search(line)
    assert not HOSTS.search("github.com/leongatys/PytorchNeuralStyleTransfer")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in LINK.findall(text):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_links_of_the_readme_are_absolute_once_there_is_an_address():
    if METADATA.get("url"):
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        for link in LINK.findall(text):
            assert link.startswith(("https://", "#")), link


def test_the_readme_leads_to_every_page():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        if page.name != "README.md":
            assert f"]({page.relative_to(ROOT).as_posix()})" in text


def test_metadata_say_who_and_for_which_python():
    assert METADATA["author"]
    prefix = "Programming Language :: Python :: 3."
    named = METADATA["classifiers"].split("\n")
    minors = [int(n.removeprefix(prefix)) for n in named if prefix in n]
    oldest = SETUP["options"]["python_requires"].removeprefix(">=3.")
    assert minors == list(range(int(oldest), max(minors) + 1))


def test_every_folder_of_the_package_is_packaged():
    folders = {path.parent for path in (ROOT / "nst_tf").rglob("*.py")}
    names = {".".join(f.relative_to(ROOT).parts) for f in folders}
    packages = set(SETUP["options"]["packages"].split())
    assert packages == names | {"nst_tf.configs", "nst_tf.examples"}


def test_the_source_distribution_holds_all_that_is_tracked(tmp_path):
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("no git checkout")
    if util.find_spec("setuptools") is None:
        pytest.skip("no setuptools")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    tracked = {n for n in listed.stdout.split("\0") if (ROOT / n).is_file()}
    for name in tracked:
        copy = tmp_path / "copy" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.symlink_to(ROOT / name)
    command = "import setuptools.build_meta as b; b.build_sdist('..')"
    subprocess.run(
        [sys.executable, "-c", command],
        cwd=tmp_path / "copy",
        check=True,
        capture_output=True,
    )
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    for_git = {n for n in tracked if Path(n).name == ".gitignore"}
    assert tracked - held == for_git | {".ci/run"}
