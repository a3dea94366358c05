"""Optimisers against keras.optimizers and SciPy, and their invariants."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import minimize

from nst_tf.formulas import curvature, optimizers


def rosenbrock(x):
    first, second = x[:-1], x[1:]
    return tf.reduce_sum(100.0 * (second - first**2) ** 2 + (1.0 - first) ** 2)


def ellipse(x):
    """A quadratic of condition 1e6."""
    exponents = tf.linspace(tf.zeros([], x.dtype), 6.0, tf.size(x))
    return tf.reduce_sum(10.0**exponents * (x - 1.0) ** 2)


def bowl(x):
    return tf.reduce_sum(tf.range(1, tf.size(x) + 1, dtype=x.dtype) * x**2)


def style_cost(dtype):
    """Gram cost of three random convolutions; a flat image to start from."""
    random = np.random.default_rng(5)
    shapes = [(3, 3, 3, 8), (3, 3, 8, 16), (3, 3, 16, 16)]
    kernels = [
        tf.constant(random.normal(0, (2 / np.prod(s[:3])) ** 0.5, s), dtype)
        for s in shapes
    ]

    def grams(x):
        found, x = [], tf.reshape(x, [1, 32, 32, 3]) - 0.5
        for kernel in kernels:
            x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))
            rows = tf.reshape(x, [-1, kernel.shape[-1]])
            size = tf.cast(tf.shape(rows)[0], dtype)
            found.append(tf.matmul(rows, rows, transpose_a=True) / size)
            x = tf.nn.avg_pool2d(x, 2, 2, "SAME")
        return found

    style, image = random.uniform(size=(2, 32 * 32 * 3)).astype(dtype)
    targets = grams(tf.constant(style))

    def cost(x):
        pairs = zip(grams(x), targets, strict=True)
        return 1e6 * tf.add_n([tf.reduce_sum((g - t) ** 2) for g, t in pairs])

    return cost, image


def value_and_gradient(cost, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = cost(x)
    return value, tape.gradient(value, x)


def follow(optimizer, cost, image, slots, steps):
    """`steps` evaluations in a graph: image, slots, the values seen."""

    def body(step, image, slots, values):
        value, gradient = value_and_gradient(cost, image)
        values = values.write(step, value)
        image, slots = optimizer.update(image, value, gradient, slots)
        return step + 1, image, slots, values

    values = tf.TensorArray(image.dtype, steps)
    _, image, slots, values = tf.while_loop(
        lambda step, *_: step < steps, body, (0, image, slots, values)
    )
    return image, slots, values.stack()


def run(optimizer, cost, image, steps, **how):
    """From fresh slots, in a graph that knows no spatial size but for XLA."""
    shape = image.shape if how else [None, *image.shape[1:]]

    def all_steps(image):
        return follow(optimizer, cost, image, optimizer.init(image), steps)

    signature = [tf.TensorSpec(shape, image.dtype)]
    return tf.function(all_steps, signature, autograph=False, **how)(image)


@functools.cache
def lbfgs(history, dtype=np.float64):
    """L-BFGS, its update a graph for images of any length."""
    optimizer = optimizers.lbfgs(history)
    image = tf.zeros([99], dtype)
    arguments = (image, image[0], image, optimizer.init(image))
    signature = tf.nest.map_structure(
        lambda x: tf.TensorSpec([None] if len(x.shape) else [], x.dtype),
        arguments,
    )
    slots = signature[-1]
    numbers = tf.TensorSpec(arguments[-1].numbers.shape, tf.float64)
    slots = slots._replace(numbers=numbers)
    return optimizer._replace(
        update=tf.function(
            optimizer.update, (*signature[:-1], slots), autograph=False
        )
    )


def walk(optimizer, evaluate, image, steps):
    """Steps where `evaluate(x, k)` gives the k-th value and gradient."""
    image = tf.convert_to_tensor(image)
    slots, values = optimizer.init(image), []
    for k in range(steps):
        value, gradient = evaluate(image, k)
        values.append(float(value))
        image, slots = optimizer.update(image, value, gradient, slots)
        for x in tf.nest.flatten((image, slots)):
            assert np.isfinite(x).all(), k
    return image, slots, np.array(values)


def plain(cost):
    """The arguments are a point and a counter; the graph is traced once."""
    graph = tf.function(
        functools.partial(value_and_gradient, cost),
        autograph=False,
        reduce_retracing=True,
    )
    return lambda x, k: graph(x)


def scipy_values(evaluate, image, steps, history):
    """The values that SciPy's L-BFGS-B sees in `steps` evaluations."""
    values = []

    def flat(x):
        value, gradient = evaluate(tf.constant(x, image.dtype), 0)
        values.append(float(value))
        return values[-1], gradient.numpy().astype(float)

    limits = dict(maxcor=history, maxfun=steps, maxiter=steps, ftol=0, gtol=0)
    start = image.astype(float)
    minimize(flat, start, jac=True, method="L-BFGS-B", options=limits)
    return np.array(values[:steps])


# --- First-order methods: the oracle is Keras. ---

KERAS = {
    "sgd": (optimizers.sgd, keras.optimizers.SGD, {}),
    "adam": (
        optimizers.adam,
        keras.optimizers.Adam,
        {"beta1": "beta_1", "beta2": "beta_2"},
    ),
    "adagrad": (
        optimizers.adagrad,
        keras.optimizers.Adagrad,
        {"initial_accumulator": "initial_accumulator_value"},
    ),
}
FIRST_ORDER = [optimizers.sgd, optimizers.adam, optimizers.adagrad]


@pytest.mark.parametrize(
    "name, rate, options",
    [
        ("sgd", 0.01, {}),
        ("sgd", 0.02, {"momentum": 0.9}),
        ("sgd", 0.01, {"momentum": 0.5, "decay": 0.8}),
        ("adam", 0.02, {}),
        ("adam", 0.05, {"beta1": 0.9}),
        ("adam", 0.05, {"beta2": 0.9}),
        ("adam", 0.02, {"epsilon": 1e-7}),
        ("adam", 0.02, {"epsilon": 10.0, "decay": 0.9}),
        ("adagrad", 0.1, {}),
        ("adagrad", 0.3, {"initial_accumulator": 2.0}),
        ("adagrad", 0.1, {"initial_accumulator": 0.0, "epsilon": 1e-2}),
        ("adagrad", 0.2, {"decay": 0.7}),
    ],
)
def test_equals_keras(name, rate, options):
    ours, theirs, names = KERAS[name]
    defaults = {"adam": {"epsilon": 1e-8}}.get(name, {})
    given = {names.get(k, k): v for k, v in (defaults | options).items()}
    decay = given.pop("decay", 1.0)
    schedule = keras.optimizers.schedules.ExponentialDecay(rate, 1, decay)
    oracle = theirs(learning_rate=schedule, **given)
    optimizer = ours(rate, **options)
    image = tf.random.stateless_uniform([1, 4, 5, 3], [3, 4])
    variable = tf.Variable(image)
    slots = optimizer.init(image)
    for _ in range(8):
        value, gradient = value_and_gradient(bowl_of_image, image)
        image, slots = optimizer.update(image, value, gradient, slots)
        gradient = value_and_gradient(bowl_of_image, tf.identity(variable))[1]
        oracle.apply([gradient], [variable])
        np.testing.assert_allclose(image, variable, rtol=0, atol=1e-6)
    assert slots.step == 8


def bowl_of_image(x):
    return 0.1 * bowl(tf.reshape(x, [-1]))


@pytest.mark.parametrize("method", FIRST_ORDER)
def test_learning_rate_may_be_a_tensor(method):
    image = tf.random.stateless_uniform([1, 4, 5, 3], [3, 4])

    @tf.function(autograph=False)
    def three(rate):
        return run(method(rate, decay=0.9), bowl_of_image, image, 3)[0]

    expected = run(method(0.05, decay=0.9), bowl_of_image, image, 3)[0]
    for rate in [tf.constant(0.05), tf.constant(0.05, tf.float64)]:
        np.testing.assert_allclose(three(rate), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", FIRST_ORDER)
def test_float64_rates_are_not_rounded(method):
    image = tf.constant([0.5], tf.float64)
    optimizer = method(0.1)
    moved, _ = optimizer.update(
        image, 0.0, image * 0 + 1, optimizer.init(image)
    )
    change = {
        "sgd": 0.1,
        "adam": 0.1 * 0.001**0.5 / (0.001**0.5 + 1e-8),
        "adagrad": 0.1 / 1.1000001**0.5,
    }[method.__name__]
    np.testing.assert_allclose(0.5 - moved, [change], rtol=1e-12)


# --- L-BFGS: the oracle is SciPy's L-BFGS-B. ---


START = np.tile([-1.2, 1.0], 50)
SINGLE = np.float32


@pytest.mark.parametrize(
    "cost, image, steps, history",
    [
        (rosenbrock, START[:2], 44, 10),
        (rosenbrock, START, 80, 10),
        (ellipse, np.zeros(100), 120, 10),
        (ellipse, np.zeros(50), 100, 3),
        (rosenbrock, START[:2].astype(SINGLE), 30, 10),
        (bowl, np.ones(100, SINGLE), 30, 10),
        (*style_cost(np.float64), 80, 10),
        (*style_cost(SINGLE), 80, 10),
    ],
    ids="rosenbrock2 rosenbrock100 ellipse100 ellipse50 "
    "rosenbrock2-single bowl-single style style-single".split(),
)
def test_lbfgs_is_as_quick_as_scipy(cost, image, steps, history):
    """Evaluations for the costs SciPy has after steps / 4, steps / 2, ..."""
    evaluate, most = plain(cost), int(1.15 * steps)
    theirs = scipy_values(evaluate, image, steps, history)
    ours = walk(lbfgs(history, image.dtype.type), evaluate, image, most)[2]
    for count in np.linspace(steps / 4, len(theirs), 4).astype(int):
        goal = theirs[:count].min()
        needed = 1 + int(np.argmax(ours <= goal))
        assert ours[needed - 1] <= goal, count
        assert needed <= 1.15 * count, (needed, count)
    # In single precision rounding, another on each CPU, grows with the steps.
    same = 1e-9 if image.dtype == float else 1e-2
    np.testing.assert_allclose(ours[:12], theirs[:12], rtol=same)


def two_loops(slots):
    """-H g by the recursion of Nocedal (Math. Comp. 35, 1980), in NumPy."""
    pairs = [
        (s.numpy(), y.numpy(), 1 / np.sum(s * y))
        for s, y in zip(slots.steps, slots.changes, strict=True)
        if np.any(s)
    ]
    result, weights = -slots.gradient.numpy(), []
    for s, y, rho in pairs:
        weights.append(rho * np.sum(s * result))
        result = result - weights[-1] * y
    result = slots.known.pairs.scale.numpy() * result
    for (s, y, rho), weight in zip(
        reversed(pairs), reversed(weights), strict=True
    ):
        result = result + (weight - rho * np.sum(y * result)) * s
    return result


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("history", [1, 3, 9])
def test_lbfgs_goes_where_the_two_loop_recursion_does(history, at_once):
    optimizer = optimizers.lbfgs(history, at_once)
    image = tf.constant(START[:40].reshape(1, 4, 5, 2))
    slots, compared = optimizer.init(image), 0
    for _ in range(14):
        found = value_and_gradient(
            lambda x: rosenbrock(x[0, :, 0, 0]) + tf.reduce_sum(x**4), image
        )
        before = slots.known.search.start.slope
        image, slots = optimizer.update(image, *found, slots)
        if slots.known.search.start.slope != before:  # a new direction
            np.testing.assert_allclose(
                slots.direction, two_loops(slots), rtol=1e-7, atol=1e-12
            )
            compared += 1
    assert compared > 8


def test_lbfgs_at_once_is_lbfgs():
    evaluate = plain(rosenbrock)
    one, other = (
        walk(optimizers.lbfgs(5, at_once), evaluate, START[:20], 25)
        for at_once in (False, True)
    )
    np.testing.assert_allclose(one[0], other[0], rtol=1e-6)


# --- Invariants of all four. ---

METHODS = {
    "sgd": optimizers.sgd(0.01, momentum=0.9, decay=0.99),
    "adam": optimizers.adam(0.02),
    "adagrad": optimizers.adagrad(0.1),
    "lbfgs": optimizers.lbfgs(2),
}


@pytest.mark.parametrize("name", METHODS)
def test_thirty_steps_are_one_and_nine_and_twenty(name):
    optimizer, (cost, image) = METHODS[name], style_cost(SINGLE)
    image = tf.reshape(image, [1, 32, 32, 3])

    @tf.function(autograph=False, reduce_retracing=True)
    def go(image, slots, steps):
        return follow(optimizer, cost, image, slots, steps)[:2]

    once = go(image, optimizer.init(image), tf.constant(30))
    parts = image, optimizer.init(image)
    for steps in [1, 9, 20]:
        parts = go(*parts, tf.constant(steps))
        tf.nest.assert_same_structure(parts, once)
    for a, b in zip(tf.nest.flatten(parts), tf.nest.flatten(once), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", METHODS)
def test_graph_and_xla_equal_eager(name):
    optimizer = METHODS[name]
    image = start = tf.constant([-1.2, 1.0, 0.3], tf.float64)
    slots, values = optimizer.init(image), []
    for _ in range(10):
        value, gradient = value_and_gradient(bowl, image)
        values.append(value)
        image, slots = optimizer.update(image, value, gradient, slots)
    for how in [{}, {"jit_compile": True}]:
        graph = run(optimizer, bowl, start, 10, **how)
        np.testing.assert_allclose(graph[2], values, rtol=1e-6, atol=1e-20)
        tf.nest.assert_same_structure(graph[1], slots)
        for a, b in zip(
            tf.nest.flatten(graph[1]), tf.nest.flatten(slots), strict=True
        ):
            assert a.dtype == b.dtype and a.shape == b.shape


def test_who_may_be_clipped():
    boxed = {name: method.boxed for name, method in METHODS.items()}
    assert boxed == {"sgd": True, "adam": True, "adagrad": True, "lbfgs": False}


# --- L-BFGS when things go wrong. ---


@pytest.mark.parametrize(
    "where, bad",
    [
        ("value", np.nan),
        ("value", -np.inf),
        ("gradient", np.nan),
        ("gradient", np.inf),
        ("both", np.inf),
    ],
)
def test_lbfgs_survives_a_trial_without_a_number(where, bad):
    def evaluate(x, k):
        value, gradient = value_and_gradient(rosenbrock, x)
        if k in (1, 2, 9, 12):
            if where != "gradient":
                value = tf.constant(bad, x.dtype)
            if where != "value":
                gradient = gradient * [1.0, bad]
        return value, gradient

    _, slots, values = walk(lbfgs(3), evaluate, START[:2], 50)
    assert slots.search.start.value < 1e-6
    assert np.isfinite(values[13:]).all()


def test_lbfgs_stays_where_the_cost_is_a_number():
    def barrier(x):  # the minimum lies at 1e-2, the first trial at -0.5
        return tf.reduce_sum(x - 1e-2 * tf.math.log(x))

    _, slots, _ = walk(lbfgs(3), plain(barrier), np.array([0.5]), 30)
    np.testing.assert_allclose(slots.image, [1e-2], rtol=1e-5)


def test_lbfgs_waits_for_a_first_number():
    image = start = tf.constant([0.3, 0.6], tf.float64)
    optimizer = lbfgs(3)
    slots = optimizer.init(image)
    nothing = tf.constant(np.nan, tf.float64)
    for _ in range(25):
        image, slots = optimizer.update(image, nothing, image * nothing, slots)
        np.testing.assert_array_equal(image, start)
    for _ in range(15):
        found = value_and_gradient(bowl, image)
        image, slots = optimizer.update(image, *found, slots)
    assert slots.search.start.value < 1e-6


def test_lbfgs_with_an_uphill_gradient_keeps_the_image():
    def evaluate(x, k):
        value, gradient = value_and_gradient(bowl, x)
        return value, -gradient

    start = tf.constant([0.5, -0.25], tf.float64)
    _, slots, values = walk(lbfgs(3), evaluate, start, 50)
    assert slots.search.start.value <= values[0]


@pytest.mark.parametrize("grain", [1e-2, 1.0])
def test_lbfgs_survives_a_cost_rounded_off(grain):
    def evaluate(x, k):
        value, gradient = value_and_gradient(rosenbrock, x)
        return grain * tf.round(value / grain), gradient

    start = START[:10]
    _, slots, values = walk(lbfgs(3), evaluate, start, 90)
    # The last image may still be on trial.
    assert slots.search.start.value <= min(values[:-1])


@pytest.mark.parametrize("wrong", [-1e9, np.nan, np.inf])
def test_lbfgs_leaves_a_history_that_points_uphill(wrong):
    start = tf.constant([0.5, -0.25], tf.float64)
    image, slots, _ = walk(lbfgs(3), plain(rosenbrock), start, 6)
    mixed = tf.linalg.diag(tf.fill([3], tf.constant(wrong, tf.float64)))
    pairs = slots.known.pairs._replace(mixed=mixed)
    known = slots.known._replace(pairs=pairs)
    slots = slots._replace(numbers=curvature.packed(known))
    for _ in range(60):
        found = value_and_gradient(rosenbrock, image)
        image, slots = lbfgs(3).update(image, *found, slots)
        assert np.isfinite(image).all()
    assert slots.search.start.value < 1e-6


def test_lbfgs_rests_at_the_minimum():
    image = np.zeros(12)
    _, slots, _ = walk(lbfgs(3), plain(bowl), image, 10)
    np.testing.assert_array_equal(slots.image, image)


def test_lbfgs_errors():
    with pytest.raises(ValueError, match="`history` must be .* received 0"):
        optimizers.lbfgs(0)
    image, optimizer = tf.zeros([2], tf.float16), optimizers.lbfgs(1)
    with pytest.raises(ValueError, match="received float16"):
        optimizer.update(image, 0.0, image, optimizer.init(image))
