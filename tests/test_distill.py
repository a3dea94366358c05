"""The training of the slim network, on a tiny teacher; the shipped file."""

import json
import re
import zlib
from pathlib import Path
from typing import NamedTuple

import distill
import numpy as np
import pytest
import tensorflow as tf
import training
from crops import crop, varied
from networks import (
    BITS,
    LAYERS,
    TAUGHT,
    Settings,
    as_float,
    features,
    fold,
    shortened,
    teacher_parts,
)
from training import Training, write

from nst_tf.engine import vgg
from nst_tf.formulas import losses

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "nst_tf" / "data" / "vgg19_slim.npz"


@pytest.fixture(scope="module")
def settings():
    return Settings(
        widths=(2, 3, 4, 4, 4),
        size=32,
        held_out=8,
        first=16,
        capacity=24,
        fresh=8,
        painted=8,
        paint_steps=2,
        paint_after=10,
        round_steps=10,
    )


@pytest.fixture(scope="module")
def photographs(pictures):
    return [np.uint8(255 * picture) for picture in pictures]


@pytest.fixture(scope="module", autouse=True)
def few_pairs():
    """Painters that are quick to trace."""
    few = training.DEFAULTS.replace(history=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "DEFAULTS", few)
        yield


@pytest.fixture
def exact(monkeypatch):
    """Files hold all of float16's bits: few channels even out no rounding."""
    monkeypatch.setattr("networks.BITS", 11)


def started(settings, tiny_kernels, photographs):
    training = Training(tiny_kernels, settings)
    training.begin(photographs)
    return training


class Trained(NamedTuple):
    """A training, what it told, and its errors at first and in the end."""

    training: Training
    reports: list
    before: dict
    after: dict
    checkpoint: Path  # of the fourth of six rounds


@pytest.fixture(scope="module")
def trained(settings, tiny_kernels, photographs, tmp_path_factory):
    training = started(settings, tiny_kernels, photographs)
    training.hold_out(photographs)
    before = training.held_out_errors()
    checkpoint, reports = tmp_path_factory.mktemp("trained") / "a.npz", []
    for k in range(6):
        if k == 4:
            training.save(checkpoint)
        reports.append(training.go_on(photographs, k / 6))
    after = training.held_out_errors()
    return Trained(training, reports, before, after, checkpoint)


def test_varied_crops_show_no_edge_of_a_picture():
    """Of a plain picture, turned and blended or not: the colour, and noise."""
    generator = np.random.default_rng(0)
    plain = [np.full((60, 90, 3), (90, 120, 150), "uint8")]
    for _ in range(50):
        part = varied(generator, plain, 32, drawn=0)
        assert part.shape == (32, 32, 3) and part.dtype == np.uint8
        means = sorted(part.mean((0, 1)))
        assert 0.8 * 90 < means[0] and means[-1] < 1.2 * 150
        assert part.reshape(-1, 3).std(0).max() < 0.13 * 255


def test_varied_crops_vary(photographs):
    """From one seed: the crop itself, or what no other crop is."""
    same = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        part = varied(generator, photographs, 32)
        again = varied(np.random.default_rng(seed), photographs, 32)
        np.testing.assert_array_equal(part, again)
        bare = crop(np.random.default_rng(seed), photographs, 32)
        same += np.array_equal(part, bare)
    assert 10 < same < 28  # 0.7 * 0.8 * (0.8 + 0.2 / 6) = 0.47 of them


def test_folded_embedding_keeps_the_costs():
    generator = np.random.default_rng(0)
    embedding = generator.normal(size=(5, 9))
    one, other = generator.random((2, 1, 6, 7, 5))
    projection = fold(embedding) * np.sqrt(5 / 9)
    for cost in (losses.content_cost, losses.layer_style_cost):
        np.testing.assert_allclose(
            cost(
                tf.constant(one @ projection), tf.constant(other @ projection)
            ),
            cost(tf.constant(one @ embedding), tf.constant(other @ embedding)),
            rtol=1e-9,
        )


def test_shortened_numbers_are_near_and_pack():
    generator = np.random.default_rng(0)
    array = generator.normal(0, 0.1, 4096).astype("float32")
    array = array[np.abs(array) > 2.0**-14]  # below, float16 has fewer bits
    short = shortened(array)
    assert short.dtype == np.float16
    np.testing.assert_allclose(short, array, rtol=2.0**-BITS)
    last = 2 ** (11 - BITS)
    assert not np.any(short.view("uint16") % last)
    assert len(zlib.compress(short)) < 0.85 * len(
        zlib.compress(array.astype("float16"))
    )
    np.testing.assert_array_equal(shortened(np.float32([0, 1, -2])), [0, 1, -2])


def test_teacher_features_are_the_packages(tiny_kernels, pictures):
    image = tf.constant(pictures[0][None])
    model = vgg.features_model(tiny_kernels, TAUGHT, "avg")
    parts = teacher_parts(tiny_kernels)
    seen = features(image, parts, dtype=tf.float32)
    for layer, wanted in model(image).items():
        np.testing.assert_allclose(seen[layer], wanted, rtol=1e-4, atol=1e-3)


def test_training_learns_and_what_it_writes_is_what_it_saw(
    trained, tmp_path, exact
):
    training, reports, before, after, _ = trained
    assert np.mean([after[key] / before[key] for key in before]) < 0.97
    assert "painted" in reports[-1] and "painted" not in reports[0]
    # Embedded features in the student, projected ones from the file: the
    # same distances.
    file = tmp_path / "slim.npz"
    arrays = training.student.arrays(training.student.vector)
    write(file, {**arrays, "metadata": np.array("{}")})
    slim, _ = distill.read_network(file)
    one, other = (as_float(training.memory[""][k : k + 1]) for k in (0, 1))
    for layer in TAUGHT:
        wanted, found = (
            losses.layer_style_cost(network(one)[layer], network(other)[layer])
            for network in (training.student, slim)
        )
        # The student in training computes in half precision.
        np.testing.assert_allclose(found, wanted, rtol=0.1)


def test_resumed_is_uninterrupted(trained, tiny_kernels, photographs):
    whole = trained.training
    again = Training.load(trained.checkpoint, tiny_kernels)
    for k in (4, 5):
        again.go_on(photographs, k / 6)
    np.testing.assert_array_equal(whole.student.vector, again.student.vector)
    np.testing.assert_array_equal(whole.average, again.average)
    assert whole.curve == again.curve


def test_a_changed_setting_is_on_record(trained, tiny_kernels):
    again = Training.load(
        trained.checkpoint,
        tiny_kernels,
        **dict([distill.change_of("gram_weight=2")]),
    )
    assert again.settings.gram_weight == 2.0
    change = {"step": 40, "changed": {"gram_weight": 2.0}}
    assert again.curve == [*trained.training.curve[:4], change]
    with pytest.raises(ValueError, match="`change`"):
        distill.change_of("widths=3")


def test_a_file_is_gone_on_from_wider(
    settings, tiny_kernels, photographs, tmp_path, exact
):
    """The old channels stay, and the embeddings fit at least as well."""
    before = started(settings, tiny_kernels, photographs)
    before.go_on(photographs, 0.0)
    before.average.assign(before.student.vector)
    file = tmp_path / "slim.npz"
    arrays = before.student.arrays(before.average)
    write(file, {**arrays, "metadata": np.array('{"steps": 10}')})
    wider = settings._replace(widths=(2, 3, 5, 4, 6))
    after = started(wider, tiny_kernels, photographs)
    after.begin_with(file)
    assert after.before == {"steps": 10}
    image = tf.constant(photographs[0][None] / np.float32(255))
    old, new = (
        features(image, each.student.parts(each.student.vector), 1 / 64)
        for each in (before, after)
    )
    for layer in TAUGHT:
        width = old[layer].shape[-1]
        # The file keeps few bits.
        np.testing.assert_allclose(
            new[layer][..., :width], old[layer], rtol=0.05, atol=0.05
        )
        first = [
            float(each.judge(batch)[layer + "/features"][0].numpy().sum())
            for each in (before, after)
            for batch in [{k: a[:8] for k, a in each.memory.items()}]
        ]
        assert first[1] < 1.05 * first[0]
    narrow = settings._replace(widths=(2, 3, 4, 4, 3))
    with pytest.raises(ValueError, match="`widths`"):
        started(narrow, tiny_kernels, photographs).begin_with(file)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("train NOWHERE", "`pictures`: there is no"),
        ("train EMPTY", "which hold none"),
        ("train ONE", "`held_out`"),
        ("train TWO --resume TWO/a.png", "`resume`"),
        ("evaluate TWO/a.png", "`file`"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path, monkeypatch, capsys, photographs, arguments, complaint
):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vgg, "WIDTHS", dict.fromkeys(range(1, 6), 4))
    for folder, names in (("EMPTY", ""), ("ONE", "a"), ("TWO", "ab")):
        Path(folder).mkdir()
        for name in names:
            Image.fromarray(photographs[0]).save(f"{folder}/{name}.png")
    arguments = arguments.replace(
        "train", "train --held_out a --output o.npz --pictures"
    )
    with pytest.raises(SystemExit) as stopped:
        distill.main([*arguments.split(), "--weights", "random"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert complaint in said and said.count("\n") == 1
    assert not Path("o.npz").exists()


@pytest.mark.skipif(not SHIPPED.is_file(), reason="no slim network yet")
def test_the_shipped_file():
    assert SHIPPED.stat().st_size <= 2.5e6
    arrays = dict(np.load(SHIPPED))
    metadata = json.loads(str(arrays.pop("metadata")))
    assert set(Settings._fields) == set(metadata["settings"])
    for key in ("steps", "seconds", "pictures", "held_out", "errors", "curve"):
        assert metadata[key], key
    assert re.fullmatch("[0-9a-f]{64}", metadata["teacher_sha256"])
    widths, channels, names = metadata["settings"]["widths"], 3, set()
    for layer in LAYERS:
        width = widths[int(layer[5]) - 1]
        assert arrays[f"{layer}/kernel"].shape == (3, 3, channels, width)
        assert arrays[f"{layer}/bias"].shape == (width,)
        names |= {f"{layer}/kernel", f"{layer}/bias"}
        if layer in TAUGHT:
            assert arrays[f"{layer}/projection"].shape == (width, width)
            names.add(f"{layer}/projection")
        channels = width
    assert set(arrays) == names
    for array in arrays.values():
        assert array.dtype == np.float16 and np.isfinite(array).all()
