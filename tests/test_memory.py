"""What a run takes and the tile that fits: the model's own invariants."""

from pathlib import Path

import pytest

from nst_tf.machine import devices, memory
from nst_tf.request.networks import NETWORKS
from nst_tf.request.options import Options

SIZE = (3000, 4000)
SCALES = [(*SIZE, 100)]
GIGA = 1e9


@pytest.fixture
def free(monkeypatch):
    """Sets how much memory there is."""
    return lambda amount: monkeypatch.setattr(
        devices, "available_memory", lambda: amount
    )


def test_a_picture_that_fits_is_not_cut(free):
    free(64 * GIGA)
    assert memory.choose([(384, 512, 100)], Options()).tile == 0
    free(None)  # not known
    assert memory.choose(SCALES, Options()).tile == 0


def test_a_limit_of_the_address_space_is_seen(monkeypatch):
    """As `ulimit -v` sets it; what the process has already taken is gone."""
    resource = pytest.importorskip("resource")
    free = devices.available_memory()
    statm = Path("/proc/self/statm")
    if free is None or not statm.exists():
        pytest.skip("the system does not tell its memory")
    taken = int(statm.read_text().split()[0]) * resource.getpagesize()
    monkeypatch.setattr(
        resource, "getrlimit", lambda kind: (taken + 10**9, taken + 10**10)
    )
    assert 0 < devices.available_memory() < 10**9
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (taken // 2, taken))
    assert devices.available_memory() == 0


def test_less_memory_means_smaller_tiles_and_they_fit(free):
    options, before = Options(optimizer="adam"), 10**6
    for gigabytes in (40, 20, 14, 10, 8, 4):
        free(gigabytes * GIGA)
        tile, history, peak = memory.choose(SCALES, options)
        assert peak <= gigabytes * GIGA and not history
        side = tile or max(SIZE)
        assert side <= before
        before = side
    assert before < 1000


def test_less_memory_means_fewer_pairs_once_tiles_are_small(free):
    scales = [(600, 800, 100), *SCALES]
    free(40 * GIGA)
    first = before = memory.choose(scales, Options())
    for gigabytes in (10, 7, 6, 5.5, 5):
        free(gigabytes * GIGA)
        chosen = memory.choose(scales, Options())
        assert chosen.peak <= min(gigabytes * GIGA, before.peak)
        assert (chosen.tile or 9999) <= (before.tile or 9999)
        assert chosen.history <= before.history and chosen.history[0] == 10
        assert chosen.history == first.history or chosen.tile <= memory.SMALL
        before = chosen
    assert before.history[-1] < memory.FEW
    fixed = memory.choose(scales, Options(history=1))
    assert fixed.history == (1, 1)


def test_a_large_picture_keeps_fewer_pairs_wherever_it_is_painted(free):
    for amount in (None, 1000 * GIGA):
        free(amount)
        scales = [(side, side, 100) for side in (500, 2000, 4000, 8000)]
        history = memory.choose(scales, Options()).history
        assert history[0] == 10 and history[-1] == memory.FEW
        assert sorted(history, reverse=True) == list(history)
        assert 2 * 12 * history[2] * 4000**2 <= memory.ROOM
        scales[-1] = 8000, 8000, 1  # whose one step makes no pair
        one, many = (
            memory.choose(scales, Options(history=n, tile=512)).peak
            for n in (1, 70)
        )
        assert one < many == memory.peak((4000, 4000), Options(), 512, 71)


@pytest.mark.parametrize("tile", [0, 256, 1024])
def test_the_peak_grows_with_all_that_takes_memory(tile):
    peak = memory.peak(SIZE, Options(), tile)
    assert memory.peak((3000, 5000), Options(), tile) > peak
    assert memory.peak(SIZE, Options(), tile, 20) > peak
    assert memory.peak(SIZE, Options(optimizer="adam"), tile) < peak
    whole, half, scaled = (
        memory.peak(SIZE, Options(precision=precision), tile)
        for precision in ("float32", "mixed_bfloat16", "mixed_float16")
    )
    assert half < whole <= scaled  # float16 hands out float32
    slim = Options(network="vgg19_slim", precision="float32")
    assert memory.peak(SIZE, slim, tile) < whole


def test_at_a_fixed_tile_only_the_picture_itself_grows():
    options = Options(optimizer="adam", margin=0)
    small, large = (memory.peak((s, s), options, 512) for s in (2000, 6000))
    pixels = 6000**2 - 2000**2
    assert (large - small) / pixels < 400  # bytes: its images


@pytest.mark.parametrize(
    ("options", "tile", "gigabytes", "hint"),
    [
        ({"tile": "off"}, 0, 12, "--tile=1536"),
        ({"tile": 2048}, 2048, 9, "--tile=1024"),
        ({"history": 10}, 128, 6, "--history=auto"),
        ({}, 128, 4, "--optimizer=adam"),
        ({"optimizer": "adam"}, 128, 2, "--max_size="),
    ],
)
def test_what_does_not_fit_is_told_what_would(
    free, options, tile, gigabytes, hint
):
    free(gigabytes * GIGA)
    options = Options(**options)
    with pytest.raises(ValueError, match=f"out of memory.*{hint}"):
        memory.choose(SCALES, options)
    message = memory.out_of_memory(SIZE, options, tile)
    name, _, value = message.rstrip(".").rpartition("--")[2].partition("=")
    mended = {name: int(value) if value.isdigit() else value}
    size = SIZE
    if name == "max_size":
        size = (int(value) * 3 // 4, int(value))
        mended = {}
    memory.choose([(*size, 100)], options.replace(**mended))


def test_where_no_run_fits_that_is_said(free):
    for amount in (0, GIGA / 2):
        free(amount)
        with pytest.raises(ValueError, match="Any run takes .* GB: free some"):
            memory.choose(SCALES, Options())


@pytest.mark.parametrize("network", NETWORKS)
def test_the_contents_features_take_memory_of_every_network(network):
    deep = NETWORKS[network].layers[-1]
    one = Options(network=network, content_layers=deep)
    two = one.replace(content_layers=",".join(NETWORKS[network].layers[-2:]))
    none = one.replace(content_weight=0)
    peaks = [memory.peak(SIZE, options, 0) for options in (none, one, two)]
    assert peaks == sorted(set(peaks))
