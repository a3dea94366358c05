"""The crops that `distill.py` trains on: photographs, drawings, noise."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from nst_tf.files import encoding, images

VARIED = {"turned": 0.3, "blended": 0.2, "recoloured": 0.2}  # shares of crops


def read_pictures(folders) -> dict[str, np.ndarray]:
    """`{name: [h, w, 3] uint8}` of the pictures in folders, or files."""
    found: dict[str, np.ndarray] = {}
    for folder in map(Path, folders):
        if not folder.exists():
            raise ValueError(f'`pictures`: there is no "{folder}".')
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            if path.suffix.lower() in encoding.SUFFIXES:
                rgb = images.read(path, "pictures").rgb
                found[path.name] = images.to_uint8(rgb)
    if not found:
        raise ValueError(
            "`pictures` should be folders of pictures; received "
            f"{', '.join(map(str, folders))}, which hold none."
        )
    return found


def coloured_noise(generator, size: int) -> np.ndarray:
    """Noise with a natural spectrum, 1 / f^slope, its channels alike."""
    rows, columns = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1
    spectrum = frequency ** -generator.uniform(0.3, 2.0)
    white = generator.normal(size=(3, size, size))
    noise = np.fft.irfft2(np.fft.rfft2(white) * spectrum, (size, size))
    noise /= noise.std()
    mixed = np.tensordot(generator.normal(size=(3, 3)), noise, 1)
    mixed *= generator.uniform(0.05, 0.3) / mixed.std()
    return np.moveaxis(mixed, 0, -1) + generator.random(3)


def drawing(generator, size: int) -> np.ndarray:
    """Leaves, strokes or hatching over one another, drawn at random."""
    palette = generator.integers(0, 256, (generator.integers(2, 12), 3))
    colours = [tuple(map(int, colour)) for colour in palette]
    image = Image.new("RGB", (2 * size, 2 * size), colours[0])
    draw = ImageDraw.Draw(image)
    kind = generator.choice(["leaves", "strokes", "hatching"])
    reach, turn = generator.uniform(0.2, 1), generator.uniform(0, np.pi)
    for _ in range(generator.integers(100, 700)):
        x, y = generator.uniform(-0.1, 2.1, 2) * size
        radius = size * min(reach, 0.02 / generator.random() ** 0.7)
        colour = colours[generator.integers(len(colours))]
        if kind == "leaves":
            tall = radius * generator.uniform(0.4, 1)
            box = x - radius, y - tall, x + radius, y + tall
            shape = generator.choice([draw.ellipse, draw.rectangle])
            shape(box, fill=colour)
            continue
        if kind == "strokes":
            angles = turn + generator.normal(0, 1.5, 4).cumsum() / 2
            length, thick = 2 * radius, 0.1 * size * reach
        else:
            angles = np.full(4, turn + generator.normal(0, 0.015))
            length, thick = 6 * radius, 0.03 * size * reach
        path = length * np.cumsum([np.cos(angles), np.sin(angles)], 1).T
        points = [(x, y), *map(tuple, path + (x, y))]
        draw.line(points, colour, max(1, int(thick * generator.random())))
    return np.asarray(image.reduce(2), "float64") / 255


def crop(generator, pictures, size: int, drawn: float = 0.2) -> np.ndarray:
    """A square of some picture at some scale, varied: `[size, size, 3]`."""
    chance = generator.random()
    if chance < 0.3 * drawn:
        part = coloured_noise(generator, size)
    elif chance < drawn:
        part = drawing(generator, size)
    else:
        picture = pictures[generator.integers(len(pictures))]
        short = min(picture.shape[:2])
        side = short * min(1, size / short) ** generator.random()
        left = generator.uniform(0, picture.shape[1] - side)
        top = generator.uniform(0, picture.shape[0] - side)
        box = left, top, left + side, top + side
        whole, lanczos = Image.fromarray(picture), Image.Resampling.LANCZOS
        part = np.float64(whole.resize((size, size), lanczos, box)) / 255
    if generator.random() < 0.5:
        part = part[:, ::-1]
    if generator.random() < 0.2:
        part = part.swapaxes(0, 1)
    mean = part.mean((0, 1))
    contrast = generator.uniform(0.6, 1.3) * generator.uniform(0.9, 1.1, 3)
    part = (part - mean) * contrast + mean * generator.uniform(0.85, 1.15, 3)
    if generator.random() < 0.3:
        noise = generator.uniform(0, 0.12) * generator.random()
        part = part + generator.normal(0, noise, part.shape)
    return images.to_uint8(part.clip(0, 1).astype("float32"))


def varied(generator, pictures, size: int, drawn: float = 0.2) -> np.ndarray:
    """A crop; some are turned, or blended with another, or of other colours.

    Pictures are few; the teacher labels whatever is made of them.
    """
    part = crop(generator, pictures, size, drawn)
    if generator.random() < VARIED["turned"]:
        edge = size // 4  # 1.5 > sqrt(2): no corner is seen
        large = crop(generator, pictures, size + 2 * edge, drawn)
        turned = Image.fromarray(large).rotate(
            generator.uniform(0, 360), Image.Resampling.BICUBIC
        )
        part = np.asarray(turned)[edge : edge + size, edge : edge + size]
    if generator.random() < VARIED["blended"]:
        other = crop(generator, pictures, size, drawn)
        share = generator.uniform(0.2, 0.8)
        part = np.uint8(np.rint(share * part + (1 - share) * other))
    if generator.random() < VARIED["recoloured"]:
        part = part[..., generator.permutation(3)]
    return part
