import dataclasses
import itertools
from pathlib import Path

import pytest
from absl import flags as absl_flags

import nst_tf
from nst_tf.request import presets
from nst_tf.request.options import OPTIMIZERS, Options
from nst_tf.terminal import flags, tables

ROOT = Path(__file__).resolve().parent.parent
PRESETS = sorted((ROOT / "configs").glob("*.flags"))
OPTIONS = [field.name for field in dataclasses.fields(Options)]
OTHERS = [flag.name for flag in tables.STYLIZE]


def typed(*arguments):
    return flags.parse("stylize", list(arguments))


def described(text):
    """`{name: description}` of a help text, line breaks undone."""
    found = {}
    for line in text.splitlines():
        if line.startswith("  --"):
            name, _, about = line.strip().partition(" ")
            assert name not in found  # exactly once
            found[name] = about.strip()
        elif line.startswith(" " * 25):
            found[name] += " " + line.strip()
    return found


# What was typed


def test_nothing_typed_is_nothing_given():
    given = typed()
    assert given.options == {}
    assert given.flags == {flag.name: flag.default for flag in tables.STYLIZE}
    assert given.arguments == []


def test_typed_options_reach_options():
    given = typed(
        "--steps=5",
        "--style_layers=conv1_1:0.25,conv2_1",
        "--content_weight",
        "2",
        "--enlarge",
        "--optimizer=adam",
        "--beta1=0.5",
    )
    expected = Options(
        steps=5,
        style_layers="block1_conv1:0.25,block2_conv1:0.5",
        content_weight=2,
        enlarge=True,
        optimizer="adam",
        beta1=0.5,
    )
    assert Options(**given.options) == expected
    assert set(given.options) == {
        "steps",
        "style_layers",
        "content_weight",
        "enlarge",
        "optimizer",
        "beta1",
    }


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_has_a_flag(name):
    value = getattr(Options(), name)
    if isinstance(value, bool):
        assert typed(f"--{name}").options == {name: True}
        assert typed(f"--no{name}").options == {name: False}
    elif name in tables.MANY:
        twice = [f"--{name}={word}" for word in ("one", "two")]
        assert typed(*twice).options == {name: ["one", "two"]}
    else:
        assert typed(f"--{name}=word").options == {name: "word"}


@pytest.mark.parametrize("name", sorted(set(OTHERS) - {"style", "quiet"}))
def test_other_flags_are_no_options(name):
    given = typed(f"--{name}=word")
    assert given.options == {}
    assert given.flags == {**typed().flags, name: "word"}


def test_switches():
    assert typed().flags["quiet"] is False
    assert typed("--quiet").flags["quiet"] is True
    assert typed("--noquiet").flags["quiet"] is False


def test_several_styles():
    given = typed("--style=one.png", "--style", "two, three.png")
    assert given.flags["style"] == ["one.png", "two, three.png"]


def test_the_last_one_wins():
    assert typed("--steps=5", "--steps=6").options == {"steps": "6"}


def test_calls_do_not_see_each_other():
    typed("--steps=5", "--style=one.png", "--quiet")
    assert typed().options == {}
    assert typed("--style=two.png").flags["style"] == ["two.png"]
    assert typed().flags["quiet"] is False


def test_flags_may_come_from_a_file(tmp_path):
    path = tmp_path / "my.flags"
    path.write_text("# about\n\n--steps=5\n--style=ö.png\n", encoding="utf-8")
    given = typed("--seed=1", f"--flagfile={path}", "--steps=6")
    assert given.options == {"seed": "1", "steps": "6"}
    assert given.flags["style"] == ["ö.png"]


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--style_wieght=5", "style_weight"),
        ("--step=5", "steps"),
        ("--contentt=a.jpg", "content"),
        ("--colour", ""),
    ],
)
def test_unknown_flags_are_rejected_with_a_suggestion(flag, meant):
    name = flag[2:].partition("=")[0]
    message = f"'{name}'" + f".*Did you mean: {meant} ?" * bool(meant)
    with pytest.raises(absl_flags.Error, match=message):
        typed(flag)


def test_options_belong_to_one_command():
    for command in ("show", "presets"):
        with pytest.raises(absl_flags.Error, match="'steps'"):
            flags.parse(command, ["--steps=5", "result.png"])


@pytest.mark.parametrize("command", ["stylize", "presets"])
def test_stray_arguments_are_rejected(command):
    with pytest.raises(ValueError, match='"photo.jpg" is no flag; .* --'):
        flags.parse(command, ["photo.jpg"])


def test_stray_arguments_are_rejected_after_flags():
    with pytest.raises(ValueError, match='"photo.jpg" is no flag'):
        typed("--steps=5", "photo.jpg", "--seed=1")


def test_show_takes_arguments():
    given = flags.parse("show", ["one.png", "two.png"])
    assert given == flags.Given({}, {}, ["one.png", "two.png"])
    with pytest.raises(ValueError, match=r"expected RESULT\.\.\.; received"):
        flags.parse("show", [])


# Presets


def test_there_are_presets():
    assert presets.names().keys() == {path.stem for path in PRESETS} != set()
    assert list(presets.names()) == sorted(presets.names())


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_presets_make_options_and_nothing_else(path):
    options = presets.read(path.stem)
    assert Options(**options) != Options()
    assert typed(f"--flagfile={path}").flags == typed().flags
    assert typed(f"--flagfile={path}").options == options


def test_a_preset_is_had_from_python_and_yields():
    draft = presets.read("draft")
    assert nst_tf.preset("draft") == Options.from_dict(draft)
    wanted = Options.from_dict({**draft, "steps": 3})
    assert nst_tf.preset("draft", steps=3) == wanted
    assert nst_tf.preset("course", optimizer="lbfgs").optimizer == "lbfgs"
    with pytest.raises(ValueError, match='Did you mean "draft"'):
        nst_tf.preset("drfat")


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_presets_say_what_they_are(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    about = presets.names()[path.stem]
    assert first == f"# {about}"
    assert 10 < len(about) <= 67  # 12 more: one line of `nst-tf presets`


def test_a_preset_sets_nothing_but_options(tmp_path, monkeypatch):
    monkeypatch.setattr(presets, "_folder", lambda: tmp_path)
    for line, expected in (
        ("--enlarge", {"enlarge": True}),
        ("--noenlarge", {"enlarge": False}),
        ("--steps=5", {"steps": "5"}),
    ):
        (tmp_path / "one.flags").write_text(f"# one\n\n{line}\n")
        assert presets.read("one") == expected
        assert typed(f"--flagfile={tmp_path / 'one.flags'}").options == expected
    for line in ("--output=a.png", "--steps", "--nosteps"):
        (tmp_path / "one.flags").write_text(f"# one\n{line}\n")
        with pytest.raises(ValueError, match="which sets no option"):
            presets.read("one")


def test_the_courses_preset_is_the_courses():
    options = Options(**presets.read("course"))
    assert (options.content_weight, options.style_weight) == (10, 40)
    assert [weight for _, weight in options.style_layers] == [0.2] * 5
    assert options.content_layers == (("block4_conv2", 1),)
    assert options.tv_weight == 0
    assert options.init == "noise" and 0 < options.noise_ratio < 1


def test_unknown_presets_are_rejected_with_a_suggestion():
    with pytest.raises(ValueError, match='no "cuorse". Did you mean "course"'):
        presets.read("cuorse")
    with pytest.raises(ValueError, match='no "zzzz". Known: .*course'):
        presets.read("zzzz")


# Typed over preset


ADAM = {"optimizer": "adam", "learning_rate": "0.01", "beta1": "0.9"}
NOISE = {"init": "noise", "noise": "gaussian", "noise_ratio": "0.6"}
PALE = {"color": "luminance", "color_strength": "0.5"}
THIRD = {"color_image": "palette.png"}


@pytest.mark.parametrize(
    ("base", "given", "expected"),
    [
        ({}, {}, {}),
        ({"steps": "5"}, {}, {"steps": "5"}),
        ({"steps": "5"}, {"steps": "6"}, {"steps": "6"}),
        (ADAM, {"beta1": "0.5"}, {**ADAM, "beta1": "0.5"}),
        (ADAM, {"optimizer": "adam"}, ADAM),
        (ADAM, {"optimizer": "lbfgs"}, {"optimizer": "lbfgs"}),
        (
            ADAM,
            {"optimizer": "sgd", "learning_rate": "1"},
            {"optimizer": "sgd", "learning_rate": "1"},
        ),
        ({"history": "5"}, {"optimizer": "adam"}, {"optimizer": "adam"}),
        (
            {"history": "5"},
            {"optimizer": "lbfgs"},
            {"history": "5", "optimizer": "lbfgs"},
        ),
        (NOISE, {"seed": "1"}, {**NOISE, "seed": "1"}),
        (NOISE, {"init": "noise"}, NOISE),
        (NOISE, {"init": "content"}, {"init": "content"}),
        (NOISE, {"init": "photo.jpg"}, {"init": "photo.jpg"}),
        (NOISE, {"noise_ratio": "1"}, {**NOISE, "noise_ratio": "1"}),
        (PALE, {"color": "style"}, {"color": "style"}),
        (PALE, {"color": "content"}, {**PALE, "color": "content"}),
        (PALE, THIRD, {**THIRD, "color_strength": "0.5"}),
        (THIRD, {"color": "content"}, {"color": "content"}),
    ],
)
def test_what_is_typed_wins(base, given, expected):
    kept = dict(base)
    merged = presets.merge(base, given)
    assert merged == expected
    assert base == kept
    Options(**merged)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_any_optimizer_and_start_go_with_any_preset(path, optimizer):
    base = presets.read(path.stem)
    for init in ("content", "style", "noise"):
        given = {"optimizer": optimizer, "init": init}
        options = Options(**presets.merge(base, given))
        assert (options.optimizer, options.init) == (optimizer, init)


def test_a_contradiction_that_was_typed_stays_one():
    merged = presets.merge({}, {"optimizer": "lbfgs", "beta1": "0.5"})
    with pytest.raises(ValueError, match="`beta1` belongs to adam"):
        Options(**merged)


# Help


def test_full_help_names_every_flag_once():
    names = [f"--{name}" for name in OPTIONS + OTHERS]
    text = flags.help_text("stylize", full=True)
    assert sorted(described(text)) == sorted(names)
    assert "--helpfull" not in text


@pytest.mark.parametrize(
    "command",
    [
        name
        for name, own in tables.FLAGS.items()
        if "preset" in {flag.name for flag in own}
    ],
)
def test_help_names_what_matters_first_and_counts_the_rest(command):
    short = flags.help_text(command)
    every = described(flags.help_text(command, full=True))
    first = described(short)
    assert first.items() <= every.items()
    if first != every:
        assert "--preset" in first and "--strength" in first
        assert 5 <= len(first) <= 12
        assert short.endswith(f"--helpfull shows all {len(every)} flags.")


def test_help_that_hides_nothing_points_nowhere():
    for command in ("show", "presets"):
        assert "--helpfull" not in flags.help_text(command)


@pytest.mark.parametrize("command", ["stylize", "show", "presets"])
@pytest.mark.parametrize("full", [True, False])
def test_help_fits_the_terminal(command, full):
    lines = flags.help_text(command, full).splitlines()
    assert lines[0].startswith(f"nst-tf {command}")
    assert max(map(len, lines)) <= 80


def test_help_says_what_flags_are_for():
    about = described(flags.help_text("stylize", full=True))
    for field in dataclasses.fields(Options):
        text = about[f"--{field.name}"]
        assert text.startswith(field.metadata["help"])
        for choice in field.metadata["choices"]:
            assert choice in text
    for flag in tables.STYLIZE:
        assert about[f"--{flag.name}"].startswith(flag.help)


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("content_weight", "(10)"),
        ("style_weight", "(40)"),
        ("content_layers", "(block4_conv2:1)"),
        ("style_scale", "(1)"),
        ("init", "(content)"),
        ("seed", "(0)"),
        ("optimizer", "(lbfgs)"),
        ("learning_rate", "(adam 0.02, adagrad 0.1, sgd 1e-06)"),
        ("history", "(lbfgs auto)"),
        ("enlarge", "(false)"),
        ("steps", "(100)"),
        ("output", "(stylized.png)"),
        ("quiet", "(false)"),
        ("frame_rate", "(12)"),
    ],
)
def test_help_shows_defaults(name, default):
    assert described(flags.help_text("stylize", full=True))[
        f"--{name}"
    ].endswith(default)


def test_defaults_shown_are_those_taken():
    about = described(flags.help_text("stylize", full=True))
    for field in dataclasses.fields(Options):
        if field.default is None or field.default == ():
            continue
        shown = about[f"--{field.name}"].rpartition("(")[2].rstrip(")")
        if isinstance(field.default, bool):
            shown = shown == "true"
        given = Options(**{field.name: shown})
        assert given == Options(), field.name


def test_flags_have_a_known_group():
    groups = {field.metadata["group"] for field in dataclasses.fields(Options)}
    groups |= {flag.group for flag in tables.STYLIZE}
    for table in itertools.chain(*tables.TABLES.values()):
        groups |= {f.metadata["group"] for f in dataclasses.fields(table)}
    for own in tables.FLAGS.values():
        groups |= {flag.group for flag in own}
    assert groups == set(tables.GROUPS)
