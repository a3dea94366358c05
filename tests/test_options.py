import dataclasses
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from nst_tf.request import values
from nst_tf.request.networks import LAYERS, NETWORKS
from nst_tf.request.options import OPTIMIZERS, Options, steps_at

ROOT = Path(__file__).resolve().parent.parent
FIELDS = {field.name: field for field in dataclasses.fields(Options)}
NUMBERS = [n for n, f in FIELDS.items() if f.metadata["low"] is not None]
BOUNDED = [n for n in NUMBERS if FIELDS[n].metadata["high"] < math.inf]
WHOLE = [n for n in NUMBERS if "int" in str(FIELDS[n].type)]
CHOICES = [n for n, f in FIELDS.items() if f.metadata["choices"]]
ARGUMENTS = sorted(set().union(*OPTIMIZERS.values()))

# For each option: a value other than the default, with what it needs.
CHANGES = {
    "content_weight": {"content_weight": 0.1},
    "style_weight": {"style_weight": 1e4},
    "tv_weight": {"tv_weight": 1 / 3},
    "content_layers": {"content_layers": "conv4_2:0.5,conv5_2:0.25"},
    "style_layers": {"style_layers": "conv1_1,conv2_1"},
    "style_blend": {"style_blend": "2,1"},
    "style_scale": {"style_scale": 0.5},
    "color": {"color": "content"},
    "color_strength": {"color": "luminance", "color_strength": 0.5},
    "color_image": {"color_image": "palette.png"},
    "mask": {"mask": "mask.png"},
    "content_mask": {"content_mask": ["sky.png", "all"]},
    "style_mask": {"style_mask": ["all", "part.png"]},
    "strength": {"strength": 0.3},
    "style_scales": {"style_scales": "2,1"},
    "detail_weight": {"detail_weight": 1},
    "detail_mask": {"detail_mask": "face.png", "detail_weight": 1},
    "init": {"init": "noise"},
    "noise": {"init": "noise", "noise": "gaussian"},
    "noise_ratio": {"init": "noise", "noise_ratio": 0.6},
    "seed": {"seed": 7},
    "optimizer": {"optimizer": "adam"},
    "learning_rate": {"optimizer": "adam", "learning_rate": 0.3},
    "decay": {"optimizer": "sgd", "decay": 0.9},
    "beta1": {"optimizer": "adam", "beta1": 0.5},
    "beta2": {"optimizer": "adam", "beta2": 0.5},
    "epsilon": {"optimizer": "adagrad", "epsilon": 1e-3},
    "initial_accumulator": {"optimizer": "adagrad", "initial_accumulator": 1},
    "momentum": {"optimizer": "sgd", "momentum": 0},
    "history": {"history": 5},
    "range_weight": {"range_weight": 0},
    "steps": {"steps": 0},
    "max_size": {"max_size": 0},
    "enlarge": {"enlarge": True},
    "print": {"print": "60x40cm@300dpi"},
    "scales": {"scales": 3},
    "margin": {"margin": 0},
    "weights": {"weights": "elsewhere/ö.h5"},
    "network": {"network": "vgg19_slim"},
    "style_statistic": {"style_statistic": "wasserstein"},
    "pooling": {"pooling": "max"},
    "precision": {"precision": "mixed_bfloat16"},
    "tile": {"tile": 256},
    "jit": {"jit": "off"},
}


def needs(name):
    """The other options without which `name` is not allowed."""
    change = CHANGES.get(name, {})
    return {key: value for key, value in change.items() if key != name}


def make(name, value):
    return getattr(Options(**{**needs(name), name: value}), name)


def rejected(name, value, message):
    with pytest.raises(ValueError, match=f"^`{name}`: .*{message}"):
        make(name, value)


def test_changes_cover_every_option():
    assert set(CHANGES) == set(FIELDS)
    for name, change in CHANGES.items():
        before = getattr(Options(), name)
        assert getattr(Options(**change), name) != before


@pytest.mark.parametrize("name", FIELDS)
def test_every_option_says_what_it_is(name):
    about = FIELDS[name].metadata
    assert about["group"] and about["help"]


# Numbers


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "nan"])
def test_numbers_are_finite(name, value):
    rejected(name, value, "should be finite; received")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [True, False, "three", "", [], "1,5"])
def test_numbers_are_numbers(name, value):
    rejected(name, value, "should be a number; received")


def test_numbers_beyond_floats_are_no_numbers():
    rejected("seed", 10**400, "should be a number")


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_have_a_low_bound(name):
    low = FIELDS[name].metadata["low"]
    assert make(name, low) == low
    rejected(name, low - 1, "should be .*received")


@pytest.mark.parametrize("name", BOUNDED)
def test_numbers_have_a_high_bound(name):
    high = FIELDS[name].metadata["high"]
    assert make(name, high) == high
    message = f"should be .* to {high:.12g}; received {high + 1:.12g}"
    rejected(name, high + 1, message)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_are_whole(name):
    rejected(name, 1.5, "expected a whole number; received 1.5")
    for value in (7, 7.0, "7"):
        assert make(name, value) == 7
        assert isinstance(make(name, value), int)


@pytest.mark.parametrize("name", sorted(set(NUMBERS) - set(WHOLE)))
def test_other_numbers_are_floats(name):
    for value in (0.25, "0.25", "25e-2"):
        assert make(name, value) == 0.25
    low, high = (FIELDS[name].metadata[bound] for bound in ("low", "high"))
    for whole in {0, 1} if low <= 0 else {1}:
        if whole <= high:
            assert isinstance(make(name, whole), float)


@pytest.mark.parametrize("name", NUMBERS)
def test_only_what_has_no_default_may_be_none(name):
    if FIELDS[name].default is None:
        assert make(name, None) == getattr(Options(), name)
    else:
        rejected(name, None, "should be a number")


# Words


@pytest.mark.parametrize("name", CHOICES)
def test_unknown_choices_are_rejected_with_a_suggestion(name):
    choice = FIELDS[name].metadata["choices"][-1]
    typo = choice[:-1] + "_" if len(choice) < 5 else choice[1:]
    rejected(name, typo, f'received "{typo}"\\. Did you mean "{choice}"')


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["", "zzzzzzzz", 3, True])
def test_choices_name_all_that_is_known(name, value):
    known = ", ".join(FIELDS[name].metadata["choices"])
    rejected(name, value, f'expected one of {known}; received "{value}"')


@pytest.mark.parametrize("name", ["init", "weights"])
@pytest.mark.parametrize("value", ["", None, 5])
def test_paths_are_words(name, value):
    rejected(name, value, "expected a word or a path; received")


@pytest.mark.parametrize("value", ["true", 1, 0, None])
def test_enlarge_is_true_or_false(value):
    rejected("enlarge", value, "expected true or false; received")


# Layers


@pytest.mark.parametrize(
    "word", ["block4_conv2", "conv4_2", "relu4_2", "Conv4_2", " RELU4_2 "]
)
def test_layers_have_several_names(word):
    assert values.layer_name(word) == "block4_conv2"


def test_every_layer_has_every_name():
    assert len(LAYERS) == 16
    for layer in LAYERS:
        block, conv = layer[5], layer[-1]
        assert values.layer_name(layer) == layer
        assert values.layer_name(f"conv{block}_{conv}") == layer
        assert values.layer_name(f"relu{block}_{conv}") == layer


@pytest.mark.parametrize(
    "word", ["blok4_conv2", "block4conv2", "bloc4_conv2", "block4_con2"]
)
def test_unknown_layers_are_rejected_with_a_suggestion(word):
    message = f'received "{word}"\\. Did you mean "block4_conv2"'
    with pytest.raises(ValueError, match=message):
        values.layer_name(word)


@pytest.mark.parametrize("word", ["", "conv1_3", "conv6_1", "fc1", "conv4_2_1"])
def test_layers_that_are_not_in_the_network_are_rejected(word):
    with pytest.raises(ValueError, match="block1_conv1 to block5_conv4"):
        values.layer_name(word)


@pytest.mark.parametrize(
    "value",
    [
        "conv1_1:0.25,conv2_1:3",
        " relu1_1:0.25, block2_conv1:3 ",
        {"conv1_1": 0.25, "conv2_1": 3},
        [("conv1_1", 0.25), ["conv2_1", "3"]],
        (("block1_conv1", 0.25), ("block2_conv1", 3.0)),
    ],
)
@pytest.mark.parametrize("name", ["content_layers", "style_layers"])
def test_layers_with_weights(name, value):
    expected = (("block1_conv1", 0.25), ("block2_conv1", 3.0))
    assert make(name, value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "conv1_1,conv2_1",
        ["conv1_1", "conv2_1"],
        iter(["conv1_1", "conv2_1"]),
        {"conv1_1": None, "conv2_1": None},
    ],
)
def test_layers_without_weights_have_equal_shares(value):
    expected = (("block1_conv1", 0.5), ("block2_conv1", 0.5))
    assert values.parse_layers(value) == expected


def test_layers_with_and_without_weights_mix():
    expected = (("block1_conv1", 2.0), ("block2_conv1", 0.5))
    assert values.parse_layers("conv1_1:2,conv2_1") == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("conv1_1,relu1_1:2", 'give each layer once; "block1_conv1" came'),
        ("conv1_1:x", 'block1_conv1 should be a number; received "x"'),
        ("conv1_1:nan", "block1_conv1 should be finite"),
        ("conv1_1:-1", "weight of block1_conv1 should be at least 0"),
        ({"conv1_1": True}, "block1_conv1 should be a number"),
        ("", "a layer should be one of"),
        ("conv1_1,", "a layer should be one of"),
        ([], "give at least one layer; received none"),
        ({}, "give at least one layer; received none"),
        (5, "expected NAME.*received"),
        (("conv4_2", 0.5), "expected NAME.*received"),
        ([("conv4_2",)], "expected NAME.*received"),
    ],
)
@pytest.mark.parametrize("name", ["content_layers", "style_layers"])
def test_layers_that_cannot_be(name, value, message):
    rejected(name, value, message)


# Networks


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_has_layers_of_its_own(network):
    own, chosen = NETWORKS[network], Options(network=network)
    assert dict(chosen.content_layers) == own.content
    assert dict(chosen.style_layers) == own.style
    assert set(chosen.layer_names()) <= set(own.layers)
    assert Options.from_dict(chosen.to_dict()) == chosen
    assert Options().replace(network=network) == chosen
    assert chosen.replace(network="vgg19") == Options()


@pytest.mark.parametrize("network", NETWORKS)
def test_a_statistic_brings_what_it_needs(network):
    gram = Options(network=network)
    other = Options(network=network, style_statistic="wasserstein")
    assert gram.replace(style_statistic="wasserstein") == other
    assert other.replace(style_statistic="gram") == gram
    assert (other.pooling, other.content_layers[0][1]) == ("max", 1.0)
    weights = [weight for _, weight in other.style_layers]
    shares = [4.0**-depth for depth in range(len(weights))]
    for weight, share in zip(weights, shares, strict=True):
        assert weight == pytest.approx(share / sum(shares), abs=1e-4)
    typed = gram.replace(tv_weight=3.0)
    other = other.replace(tv_weight=3.0)
    assert typed.replace(style_statistic="wasserstein") == other


def test_layers_that_were_chosen_stay_with_another_network():
    chosen = Options(content_layers="conv3_3").replace(network="vgg16")
    assert chosen.content_layers == (("block3_conv3", 1.0),)


@pytest.mark.parametrize(
    ("network", "name", "value", "message"),
    [
        ("vgg16", "content_layers", "conv3_4", 'mean "block3_conv3"'),
        ("inception_v3", "style_layers", "mixd3", 'mean "mixed3"'),
        ("inception_v3", "content_layers", "conv4_2", "Usual are mixed2"),
        ("inception_v3", "tile", 256, "looks at pictures whole"),
        ("inception_v3", "mask", "a.png", "looks at pictures whole"),
        ("inception_v3", "style_mask", ("a.png",), "looks at pictures whole"),
    ],
)
def test_what_a_network_cannot_do_is_refused(network, name, value, message):
    with pytest.raises(ValueError, match=f"`{name}`.*{message}"):
        Options(network=network, **{name: value})


# Several styles


@pytest.mark.parametrize("value", ["2,1", " 2, 1", [2, 1], (2.0, "1")])
def test_style_blend(value):
    assert make("style_blend", value) == (2.0, 1.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2,-1", "blend weight should be at least 0; received -1"),
        ("2,,1", "blend weight should be a number"),
        ("2,nan", "blend weight should be finite"),
        ("0,0", "expected a positive sum; received only zeros"),
        (3, "expected numbers as in 2,1"),
        (None, "expected numbers as in 2,1"),
    ],
)
def test_style_blend_that_cannot_be(value, message):
    rejected("style_blend", value, message)


# Scales and tiles


@pytest.mark.parametrize(
    ("value", "scales"),
    [
        ("auto", "auto"),
        ("3", 3),
        (3.0, 3),
        ("256,512", (256, 512)),
        ([256, 512], (256, 512)),
        ("256", (256,)),
    ],
)
def test_scales(value, scales):
    assert make("scales", value) == scales
    assert Options.from_dict(Options(scales=value).to_dict()).scales == scales


@pytest.mark.parametrize(
    "value", ["0", "9", "2.5", "512,256", "8,256", "256,", "many", "", None]
)
def test_scales_that_cannot_be(value):
    rejected("scales", value, "expected auto, a number from 1 to 8, or rising")


@pytest.mark.parametrize(
    ("scales", "size", "factors"),
    [
        ("auto", (192, 256), [1]),
        ("auto", (384, 512), [2, 1]),
        ("auto", (768, 1024), [4, 2, 1]),
        ("auto", (1536, 2048), [8, 4, 2, 1]),
        ("auto", (40, 2048), [2, 1]),  # no side under 16 pixels
        ("auto", None, [2, 1]),
        (3, (64, 64), [4, 2, 1]),
        ((100, 400), (300, 400), [4, 1]),  # what is no smaller is left out
        ((100, 300), (300, 400), [4, 4 / 3, 1]),
    ],
)
def test_factors_go_from_coarse_to_the_result(scales, size, factors):
    assert Options(scales=scales).factors(size) == factors


def test_further_scales_take_half_the_steps_each():
    assert [steps_at(scale, 100) for scale in range(5)] == [
        100,
        100,
        50,
        25,
        13,
    ]
    assert [steps_at(scale, 0) for scale in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("value", ["auto", "off", 64, 1024])
def test_tile(value):
    assert make("tile", value) == make("tile", str(value)) == value


@pytest.mark.parametrize("value", ["on", 0, 48, 100, "2.5", None])
def test_tiles_that_cannot_be(value):
    rejected("tile", value, "expected auto, off, or a multiple of 16 from 64")


def test_xla_and_a_tile_do_not_go_together():
    with pytest.raises(ValueError, match="`jit` cannot be on with a `tile`"):
        Options(jit="on", tile=256)
    assert Options(jit="on", tile="auto").jit == "on"


# What goes together


@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_take_their_own_arguments_alone(optimizer, argument):
    value = next(a[argument] for a in OPTIMIZERS.values() if argument in a)
    given = {"optimizer": optimizer, argument: value}
    if argument in OPTIMIZERS[optimizer]:
        assert Options(**given).optimizer_arguments()[argument] == value
        return
    users = [name for name, own in OPTIMIZERS.items() if argument in own]
    message = f"`{argument}` belongs to {', '.join(users)}; .*{optimizer}"
    with pytest.raises(ValueError, match=message):
        Options(**given)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizer_arguments_fill_in_the_defaults(optimizer):
    expected = OPTIMIZERS[optimizer]
    assert Options(optimizer=optimizer).optimizer_arguments() == expected


def test_zero_is_not_left_out():
    given = Options(optimizer="sgd", momentum=0)
    assert given.optimizer_arguments()["momentum"] == 0


@pytest.mark.parametrize("init", ["content", "style", "picture.png"])
@pytest.mark.parametrize("name", ["noise", "noise_ratio"])
def test_noise_needs_to_be_started_from(init, name):
    given = {**CHANGES[name], "init": init}
    with pytest.raises(ValueError, match=f"`{name}` needs `init` to be noise"):
        Options(**given)


def test_whose_colours_is_said_once():
    with pytest.raises(ValueError, match="`color_strength` needs `color`"):
        Options(color_strength=0.5)
    for color in ("content", "luminance"):
        with pytest.raises(ValueError, match="Give one of them"):
            Options(color=color, color_image="palette.png")


@pytest.mark.parametrize(
    ("given", "share"),
    [
        ({}, 0),
        ({"color": "content"}, 1),
        ({"color": "luminance", "color_strength": 0.25}, 0.25),
        ({"color_image": "palette.png"}, 1),
        ({"color_image": "palette.png", "color_strength": 0}, 0),
    ],
)
def test_how_far_colours_go(given, share):
    assert Options(**given).color_share() == share


def test_something_to_optimise_towards():
    with pytest.raises(ValueError, match="both 0: nothing to optimise"):
        Options(content_weight=0, style_weight=0)


# As a value


@pytest.mark.parametrize("name", FIELDS)
def test_options_survive_json(name):
    given = Options(**CHANGES[name])
    text = json.dumps(given.to_dict(), allow_nan=False)
    assert Options.from_dict(given.to_dict()) == given
    assert Options.from_dict(json.loads(text)) == given


def test_to_dict_names_every_option_in_order():
    assert list(Options().to_dict()) == list(FIELDS)


def test_from_an_empty_dict_come_the_defaults():
    assert Options.from_dict({}) == Options()


def test_unknown_options_are_rejected_with_a_suggestion():
    message = '`style_wieght` is not an option. Did you mean "style_weight"'
    with pytest.raises(ValueError, match=message):
        Options.from_dict({"style_wieght": 1})
    with pytest.raises(ValueError, match=message):
        Options().replace(style_wieght=1)


def test_replace_changes_a_copy_and_validates_it():
    given = Options(optimizer="adam", learning_rate=0.3)
    changed = given.replace(steps="5")
    assert (changed.steps, changed.learning_rate) == (5, 0.3)
    assert given.steps == Options().steps
    with pytest.raises(ValueError, match="`learning_rate` belongs to"):
        given.replace(optimizer="lbfgs")


def test_fingerprints_are_equal_if_and_only_if_options_are():
    given = [Options(), Options(style_layers="conv2_1,conv1_1")]
    given += [Options(**change) for change in CHANGES.values()]
    for one, other in itertools.combinations(given, 2):
        assert one != other
        assert one.fingerprint() != other.fingerprint()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"steps": Options().steps}),
        ({"content_weight": 1}, {"content_weight": "1.0"}),
        ({"tv_weight": 0.0}, {"tv_weight": -0.0}),
        ({"style_layers": "conv1_1"}, {"style_layers": {"relu1_1": 1}}),
        ({"style_blend": "2,1"}, {"style_blend": [2, 1]}),
    ],
)
def test_equal_options_in_other_words(one, other):
    one, other = Options(**one), Options(**other)
    assert one == other
    assert hash(one) == hash(other)
    assert one.fingerprint() == other.fingerprint()


def test_fingerprints_are_hexadecimal_sha256():
    assert len(Options().fingerprint()) == 64
    assert int(Options().fingerprint(), 16)


@pytest.mark.parametrize("name", FIELDS)
def test_options_are_frozen(name):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(Options(), name, 1)


def test_options_are_given_by_name():
    with pytest.raises(TypeError):
        Options(10.0)


@pytest.mark.parametrize(
    "module", ["nst_tf", "nst_tf.request.options", "nst_tf.terminal.flags"]
)
def test_importing_does_not_import_tensorflow(module):
    heavy = "{'tensorflow', 'keras', 'numpy', 'PIL'} & set(sys.modules)"
    code = f"import sys, {module}; print(sorted({heavy}))"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "[]"
