#!/usr/bin/env python3
"""Draw the sample pictures: two photographs and three works of art.

Everything is computed here, from noise, light and geometry, and comes
out the same every time. Usage: draw_samples.py [FOLDER]
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

OVERSAMPLING = 2


# Building blocks ---------------------------------------------------------


def lattice():
    """Return, for each cell, the four numbers that make its patch of noise."""
    chance = np.random.default_rng(11)
    corner = 2 * chance.random((256, 256), dtype=np.float32) - 1
    right, below = np.roll(corner, -1, 1), np.roll(corner, -1, 0)
    across, down = right - corner, below - corner
    twist = np.roll(below, -1, 1) - right - down
    return [part.ravel() for part in (corner, across, down, twist)]


PATCHES = lattice()


def mix(first, second, amount):
    return first + (second - first) * amount


def blend(first, second, mask):
    """Mix two colours, or two pictures, by a mask without channels."""
    first, second = np.float32(first), np.float32(second)
    return mix(first, second, np.asarray(mask, np.float32)[..., None])


def smoothstep(low, high, value):
    ramp = np.clip((value - low) / (high - low), 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def cell_of(column, row):
    return (row.astype(np.int32) & 255) << 8 | column.astype(np.int32) & 255


def noise(x, y):
    """Return smooth noise in -1..1 with its two slopes."""
    column, row = np.floor(x), np.floor(y)
    u, v = x - column, y - row
    cell = cell_of(column, row)
    corner, across, down, twist = (part.take(cell) for part in PATCHES)
    fade_u, fade_v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    value = corner + across * fade_u + (down + twist * fade_u) * fade_v
    slope_x = 6 * u * (1 - u) * (across + twist * fade_v)
    slope_y = 6 * v * (1 - v) * (down + twist * fade_u)
    return value, slope_x, slope_y


def fractal(x, y, octaves=5, gain=0.5, erosion=0.0):
    """Sum octaves of noise; erosion calms the fine ones on steep ground."""
    total, strength, steep_x, steep_y = 0.0, 1.0, 0.0, 0.0
    for _ in range(octaves):
        value, slope_x, slope_y = noise(x, y)
        steep_x, steep_y = steep_x + slope_x, steep_y + slope_y
        steepness = steep_x * steep_x + steep_y * steep_y
        total = total + strength * value / (1 + erosion * steepness)
        strength *= gain
        x, y = 1.6 * x + 1.2 * y + 5.3, 1.6 * y - 1.2 * x + 9.1
    return total


def lay(planes, inside, *values):
    """Cover the planes, in order, with new values where the mask is set."""
    for plane, value in zip(planes, values, strict=False):
        np.copyto(plane, value, where=inside, casting="unsafe")


def blur(plane, radius):
    rows = np.fft.fftfreq(plane.shape[0])[:, None]
    columns = np.fft.rfftfreq(plane.shape[1])
    damping = np.exp(-2 * (np.pi * radius) ** 2 * (rows**2 + columns**2))
    return np.fft.irfft2(np.fft.rfft2(plane) * damping, plane.shape)


def pixels(width, height):
    """Return the oversampled column and row of every pixel."""
    rows, columns = np.mgrid[: height * OVERSAMPLING, : width * OVERSAMPLING]
    return columns.astype(np.float32), rows.astype(np.float32)


def save(path, picture, quality=92):
    """Average the oversampled picture down and write it."""
    height, width, *channels = picture.shape
    height, width = height // OVERSAMPLING, width // OVERSAMPLING
    shape = height, OVERSAMPLING, width, OVERSAMPLING, *channels
    levels = np.clip(picture.reshape(shape).mean((1, 3)) * 255 + 0.5, 0, 255)
    Image.fromarray(levels.astype(np.uint8)).save(path, quality=quality)


# Photographs -------------------------------------------------------------


def cast(elevation, distance, eye, horizon, focal, rows):
    """Return how far each pixel sees before it meets the ground."""
    screen = horizon - focal * (elevation - eye) / distance[:, None]
    skyline, rows = -np.minimum.accumulate(screen, axis=0), -rows
    depth = np.full((rows.size, elevation.shape[1]), np.inf, np.float32)
    for column, line in enumerate(skyline.T):
        step = np.searchsorted(line, rows)
        seen = step < distance.size
        after = step[seen]
        before = np.maximum(after - 1, 0)
        rise = line[after] - line[before] + 1e-6
        part = np.clip((rows[seen] - line[before]) / rise, 0, 1)
        depth[seen, column] = mix(distance[before], distance[after], part)
    return depth


def shadows(terrain, sun, reach):
    """Return a function telling how sunlit a place is, from 0 to 1."""
    grid = np.linspace(-reach, reach, 640, dtype=np.float32)
    spacing = grid[1] - grid[0]
    ground = terrain(grid[None, :], grid[:, None] + reach, False)
    ceiling = np.full_like(ground, -np.inf)
    level = np.hypot(sun[0], sun[2])
    for step in range(1, 90):
        shift = -step * np.array([sun[2], sun[0]]) / level
        moved = np.roll(ground, np.rint(shift).astype(int), (0, 1))
        drop = step * spacing * sun[1] / level
        ceiling = np.maximum(ceiling, moved - drop)
    light = blur(smoothstep(1.5, -1.5, (ceiling - ground) / spacing), 0.8)

    def sunlit(x, z):
        column = np.clip((x + reach) / spacing, 0, 639).astype(int)
        row = np.clip(z / spacing, 0, 639).astype(int)
        return light[row, column].astype(np.float32)

    return sunlit


def develop(light, seed):
    """Turn light into a picture: film curve, vignette and grain."""
    film = light * (2.51 * light + 0.03)
    film = film / (light * (2.43 * light + 0.59) + 0.14)
    picture = np.clip(film, 0, 1) ** (1 / 2.2)
    picture = mix(picture, smoothstep(0, 1, picture), 0.5)
    x, y = (axis / axis.max() - 0.5 for axis in pixels(640, 427))
    grain = np.random.default_rng(seed).normal(0, 0.014, x.shape)
    return picture * (1 - 0.35 * (x * x + y * y))[..., None] + grain[..., None]


def weather(sun, low, high, warmth, sunlight, dark, bright, drift):
    """Return the sky as a function of the direction one looks in."""

    def sky(side, up, clouded=True):
        up = np.maximum(up, 0.002)
        apart = np.hypot(side - sun[0], up - sun[1])
        glow = np.exp(-6 * apart)[..., None]
        air = blend(low, high, smoothstep(-0.09, 0.32, up))
        air = air + glow * np.float32(warmth)
        if not clouded:
            return air
        disc = smoothstep(0.02, 0.014, apart) + 0.12 * np.exp(-28 * apart)
        air = air + disc[..., None] * np.float32(sunlight)
        x, z = side / (up + 0.11) * 1.3 + drift, 2.3 / (up + 0.11)
        cloud = fractal(x, z, 8, 0.55)
        behind = fractal(x + 0.5 * sun[0], z + 0.2, 5, 0.55)
        cover = smoothstep(-0.18, 0.6, cloud) * smoothstep(0.01, 0.11, up)
        lit = smoothstep(-0.4, 0.4, cloud - behind + 0.05)
        shone = np.float32(bright) * (0.6 + 1.6 * glow)
        return blend(air, blend(dark, shone, lit), cover)

    return sky


def landscape(terrain, ground, sky, water, eye, horizon, sun, far, haze):
    """Photograph land, water and sky with a level camera at height eye.

    Returns the light, and where there is nothing but sky.
    """
    columns, rows = pixels(640, 427)
    focal = columns.shape[1]
    side, up_there = columns / focal - 0.5, (horizon - rows) / focal
    distance = np.geomspace(0.004 * far, far, 1500, dtype=np.float32)
    elevation = terrain(side[0] * distance[:, None], distance[:, None], True)
    sunlit = shadows(terrain, sun, far / 2)

    def look(height, solid, step):
        """Look at every so many pixels; see the light and how far it is."""
        aside, up = side[::step, ::step], up_there[::step, ::step]
        picture = sky(aside, up)
        solid, lines = solid[:, ::step], rows[::step, 0]
        depth = cast(solid, distance, height, horizon, focal, lines)
        land = np.isfinite(depth)
        z, x = depth[land], depth[land] * aside[land]
        small = np.maximum(z / focal, 4e-5 * far)
        here = terrain(x, z, True)
        slope_x = (terrain(x + small, z, True) - here) / small
        slope_z = (terrain(x, z + small, True) - here) / small
        normal = np.stack([-slope_x, np.ones_like(x), -slope_z], -1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        direct = np.clip(normal @ sun, 0, 1) * sunlit(x, z)
        light = direct[:, None] * np.float32([3.0, 2.0, 1.15])
        light += (0.55 + 0.45 * normal[:, 1:2]) * np.float32([0.16, 0.24, 0.4])
        colour = ground(x, z, here, normal) * light
        veil = 1 - np.exp(-z * haze * np.exp(-np.maximum(here, 0) * 0.5))
        air = sky(aside[land], np.full_like(z, 0.03), False)
        picture[land] = blend(colour, air * 0.9, veil)
        return picture, depth

    picture, depth = look(eye, elevation, 1)
    mirror, _ = look(-eye, np.where(elevation > 0, elevation, -far), 2)
    surface = focal * eye / np.maximum(rows - horizon, 0.01)
    wet = (surface < np.minimum(depth, far)) & (rows > horizon)
    below = np.maximum(rows - horizon, 0)

    def reflect(rise, shift):
        source = np.clip(horizon - below - rise, 0, horizon).astype(int)
        across = np.clip(columns + shift, 0, focal - 1).astype(int)
        return mirror[source // 2, across // 2]

    picture[wet] = water(reflect, side * surface, surface, below)[wet]
    return picture, ~wet & ~np.isfinite(depth)


def forest(x, z, size, height):
    """Return the height of pointed trees, one to a cell."""
    column, row = np.floor(x / size), np.floor(z / size)
    chance = PATCHES[0].take(cell_of(column, row))
    other = PATCHES[0].take(cell_of(row, column))
    apart_x = x / size - column - 0.5 - 0.2 * chance
    apart_z = z / size - row - 0.5 - 0.2 * other
    apart = np.hypot(apart_x, apart_z) * 2.2
    ragged = 0.25 * noise(x / size * 9, z / size * 9)[0]
    crown = np.clip(1 - apart * (1 + ragged), 0, 1)
    return height * (0.72 + 0.28 * other) * crown


def alpine(x, z, detailed):
    wander = fractal(x * 1.1 + 7, z * 1.1, 4)
    shore = np.hypot((x - 0.1) / 0.62, (z - 0.85) / 0.88) - 1 + 0.6 * wander
    ridge = fractal(x * 0.42 + 3.1, z * 0.42 + 1.7, 10, 0.5, 0.9)
    valley = np.exp(-(((x - 0.06 * z) / (0.35 + 0.1 * z)) ** 2))
    peak = smoothstep(0.2, 7, shore) * (1.45 + 1.5 * np.tanh(ridge))
    height = 0.04 * np.minimum(shore, 2) + peak * (1 - 0.7 * valley)
    if detailed:
        wooded = smoothstep(0.62, 0.4, height + 0.3 * wander)
        wooded *= smoothstep(0.002, 0.006, height)
        wooded *= smoothstep(-0.5, 0.1, fractal(x * 5, z * 5, 3))
        height = height + forest(x, z, 0.013, 0.03) * wooded
    return height


def alpine_ground(x, z, height, normal):
    patch = fractal(x * 9, z * 9, 6)[:, None]
    fine = fractal(x * 60, z * 60, 4)[:, None]
    rock = np.float32([0.2, 0.18, 0.165]) * (1 + 0.35 * patch + 0.3 * fine)
    meadow = np.float32([0.035, 0.05, 0.018]) * (1 + 0.4 * fine)
    green = smoothstep(0.85, 0.5, height + 0.2 * patch[:, 0])
    colour = blend(rock, meadow, green)
    cold = smoothstep(0.62, 0.95, height + 0.25 * patch[:, 0])
    flat = smoothstep(0.42, 0.66, normal[:, 1] + 0.1 * fine[:, 0])
    return blend(colour, [0.86, 0.88, 0.93], cold * flat)


def calm_water(reflect, x, z, below):
    breeze = smoothstep(-0.2, 0.6, fractal(x * 2, z * 1.5, 4))
    ripple = fractal(x * 200, z * 330, 5, 0.6) * np.sqrt(below / 400 + 0.02)
    amount = (3 + 24 * breeze) * ripple
    mirrored = reflect(10 * breeze - amount, 0.25 * amount)
    clear = 0.35 + 0.6 * np.exp(-below / 320)
    return blend([0.02, 0.06, 0.07], mirrored, clear)


def overlay(light, layer, exposure):
    cover = np.asarray(layer, np.float32) / 255
    return blend(light, cover[..., :3] * exposure, cover[..., 3])


def pine(draw, x, foot, height, chance):
    """Draw one pine, branch by branch and needle by needle."""
    draw.line((x, foot, x, foot - height), "#1a120e", 5)
    for level in np.sqrt(np.linspace(0.0004, 1, int(height / 3))):
        for direction in (-1, 1):
            reach = height * 0.21 * level * chance.uniform(0.45, 1)
            droop = chance.uniform(0.15, 0.5)
            for part in np.linspace(0, 1, 3 + int(reach / 3)):
                tone = chance.uniform(0.6, 1.3) * (1 + 0.25 * direction * part)
                ink = *(int(tone * level) for level in (16, 22, 11)), 255
                needle_x = x + direction * reach * part
                needle_y = foot - height * (1 - 0.9 * level)
                needle_y += droop * reach * part
                fall = reach * chance.uniform(0.04, 0.18) * (1.2 - part) + 4
                tip = needle_x + direction * 3, needle_y + fall
                draw.line((needle_x, needle_y, *tip), ink, 2)


def bank(draw, x, width, top, foot, chance):
    """Draw a grassy bank, blade by blade."""
    edges = x - 0.9 * width, top + 12, x + 0.9 * width, 2 * foot - top
    draw.ellipse(edges, "#0d0d06")
    for place in chance.uniform(-1, 1, int(width * 6)):
        depth = chance.uniform()
        y = foot - (foot - top) * (1 - place * place) * (1 - depth)
        root = x + width * place
        tip = root + chance.normal(0, 6), y - chance.uniform(6, 26)
        tone = chance.uniform(0.4, 1.4) * (1.3 - 0.6 * depth)
        ink = *(int(tone * level) for level in (34, 30, 11)), 255
        draw.line((root, y, *tip), ink, 2)


def draw_lake(path):
    sky = weather(
        sun=(0.07, 0.125), low=(0.27, 0.36, 0.48), high=(0.025, 0.14, 0.37),
        warmth=(1.2, 0.62, 0.14), sunlight=(9, 6.5, 3), drift=5,
        dark=(0.24, 0.28, 0.38), bright=(0.95, 0.66, 0.42),
    )  # fmt: skip
    sun = np.float32([0.8, 0.46, 0.08])
    light, above = landscape(
        alpine, alpine_ground, sky, calm_water, 0.014, 450, sun, 13, 0.018
    )
    chance = np.random.default_rng(5)
    layer = Image.new("RGBA", light.shape[1::-1])
    draw = ImageDraw.Draw(layer)
    places = (215, -20, 60, 150, 1240, 1150, 1090)
    heights = (250, 560, 700, 430, 520, 300, 190)
    for x, height in zip(places, heights, strict=True):
        pine(draw, x, 840, height, chance)
    bank(draw, 60, 330, 770, 860, chance)
    bank(draw, 1240, 300, 800, 860, chance)
    save(path, develop(overlay(light, layer, 0.35), 3))
    above = above * (1 - np.asarray(layer)[..., 3] / np.float32(255))
    for name, mask in (("sky", above), ("land", 1 - above)):
        save(path.with_name(f"mask_{name}.png"), mask)


def coast(x, z, detailed):
    wander = fractal(x * 1.3 + 20, z * 1.3 + 4, 8 if detailed else 5, 0.55)
    edge = 1.7 - 1.75 * np.exp(-(((z - 1.9) / 0.45) ** 2))
    edge = edge - 4.2 * np.exp(-(((z - 8) / 1.1) ** 2)) + 0.3 * wander
    inland = x - edge
    broken = inland + 0.16 * fractal(x * 2.7, z * 2.7, 6 if detailed else 3)
    cliff = smoothstep(-0.03, 0.24, broken)
    height = cliff * (0.22 + 0.06 * np.clip(inland, 0, 4) + 0.05 * wander)
    ledge = 0.03 * fractal(x * 6, z * 6, 6) if detailed else 0
    stacks = smoothstep(0.55, 0.9, wander) * 0.12
    return height + ledge * cliff + stacks + np.clip(inland, -1, 0) - 0.005


def coast_ground(x, z, height, normal):
    fine = fractal((x + z) * 16, height * 30 + (x - z) * 4, 5)[:, None]
    band = noise(height * 60 + 2 * x, x * 3)[0][:, None]
    rock = np.float32([0.16, 0.125, 0.1]) * (1 + 0.3 * band + 0.5 * fine)
    wet = smoothstep(0.05, 0.0, height)
    rock = blend(rock, [0.03, 0.03, 0.03], 0.8 * wet)
    grass = np.float32([0.1, 0.12, 0.035]) * (1 + 0.5 * fine)
    flat = smoothstep(0.6, 0.8, normal[:, 1] + 0.1 * fine[:, 0])
    return blend(rock, grass, flat * smoothstep(0.08, 0.15, height))


def rough_water(reflect, x, z, below):
    swell = fractal(x * 5 + 0.5 * z, z * 14, 6, 0.6)
    rise = 150 * (swell + 0.6) * smoothstep(-20, 300, below)
    clear = np.clip(0.75 - 0.5 * below / 400 - 0.3 * swell, 0.1, 1)
    sea = blend([0.012, 0.05, 0.065], reflect(rise, 30 * swell), clear)
    froth = fractal(x * 16, z * 16, 5, 0.7)
    foam = smoothstep(-0.1, 0.02, coast(x, z, False) + 0.07 * froth)
    foam = foam * smoothstep(-0.3, 0.5, froth)
    crest = smoothstep(1.0, 1.4, swell + 0.5 * noise(x * 30, z * 60)[0])
    return blend(sea, [0.55, 0.5, 0.52], np.maximum(0.8 * foam, 0.5 * crest))


def lit_colour(paint, lit):
    light = np.float32([0.1, 0.11, 0.18]) + lit * np.float32([0.85, 0.5, 0.3])
    return *(int(level) for level in 255 * light * paint), 255


def cylinder(draw, x, low, high, wide, narrow, paint):
    """Draw a standing round wall, strip by strip, lit from the left."""
    for turn in np.linspace(-1, 1, 41)[:-1]:
        lit = max(0, np.cos(np.arcsin(turn) + 0.9))
        bow = np.sqrt(1 - turn * turn)
        below, above = low + 0.05 * wide * bow, high - 0.12 * narrow * bow
        left, right = turn, turn + 0.05
        lower = (x + wide * left, below), (x + wide * right, below)
        upper = (x + narrow * right, above), (x + narrow * left, above)
        draw.polygon(lower + upper, lit_colour(paint, lit))


def lighthouse(draw, x, foot, tall):
    white, red, iron = [0.95, 0.92, 0.86], [0.72, 0.09, 0.06], [0.12, 0.1, 0.1]
    for band in range(7):
        low, high = band / 7, (band + 1) / 7
        wide, narrow = (tall * 0.1 * (1 - 0.42 * h**0.8) for h in (low, high))
        low, high = foot - tall * low, foot - tall * high
        cylinder(draw, x, low, high, wide, narrow, red if band % 2 else white)
        if band % 2:
            draw.rectangle((x - 8, high + 14, x - 2, high + 28), "#0a0a0e")
    top, size = foot - tall, tall * 0.058
    cylinder(draw, x, top, top - 8, size * 1.1, size * 1.5, iron)
    draw.rectangle((x - size, top - 50, x + size, top - 8), "#ffbe5a")
    for place in np.linspace(-1.5, 1.5, 11):
        bar, high = x + place * size, 50 if abs(place) < 1 else 24
        draw.line((bar, top - high, bar, top - 8), "#14100f", 2)
    cylinder(draw, x, top - 50, top - 74, size * 1.2, size * 0.3, red)
    draw.line((x, top - 100, x, top - 70), "#1e0c0a", 4)


def cottage(draw, x, foot, size):
    """Draw a house by its gable, its long wall and its roof."""
    roof, wall = [0.3, 0.12, 0.08], [0.9, 0.86, 0.8]
    eave, peak = foot - 0.55 * size, foot - 1.05 * size
    end, middle = x + 0.8 * size, x + 0.4 * size
    back = x + 2.6 * size
    gable = (x, foot), (x, eave), (middle, peak), (end, eave), (end, foot)
    draw.polygon(gable, lit_colour(wall, 0.8))
    side = (end, foot), (end, eave), (back, eave), (back, foot)
    draw.polygon(side, lit_colour(wall, 0.22))
    slope = (end + 3, eave + 4), (middle, peak - 3)
    slope += (back - 0.4 * size, peak - 3), (back + 4, eave + 4)
    draw.polygon(slope, lit_colour(roof, 0.45))
    chimney = x + 1.9 * size
    draw.rectangle((chimney, peak - 16, chimney + 12, peak), "#3c221a")
    for place in (1.1, 1.6, 2.1):
        left, top = x + place * size, eave + 0.14 * size
        pane = left, top, left + 0.2 * size, top + 0.24 * size
        draw.rectangle(pane, "#ffaa46")


def draw_lighthouse(path):
    sky = weather(
        sun=(-0.32, 0.03), low=(0.36, 0.23, 0.25), high=(0.015, 0.075, 0.2),
        warmth=(1.3, 0.48, 0.05), sunlight=(6, 2.4, 0.6), drift=31,
        dark=(0.09, 0.09, 0.16), bright=(0.85, 0.36, 0.22),
    )  # fmt: skip
    sun = np.float32([-0.92, 0.36, -0.1])
    light, _ = landscape(
        coast, coast_ground, sky, rough_water, 0.2, 500, sun, 16, 0.02
    )
    layer = Image.new("RGBA", light.shape[1::-1])
    draw = ImageDraw.Draw(layer)
    cottage(draw, 905, 476, 50)
    lighthouse(draw, 850, 474, 270)
    columns, rows = pixels(640, 427)
    apart = np.hypot(columns - 850, rows - 175)
    glow = 1.2 * np.exp(-apart / 18) + 0.25 * np.exp(-apart / 90)
    light = overlay(light, layer, 1) + glow[..., None] * [1.0, 0.75, 0.4]
    save(path, develop(light, 4))


# Painting of brush strokes ------------------------------------------------


CURLS = (0.33, 0.24, 0.19, 1), (0.68, 0.11, 0.12, -1), (0.05, 0.42, 0.11, -1)
SUN = 0.95, 0.29, 0.17, -1
CROWNS = (  # each a centre, a size and the way it turns
    (0.11, 0.57, 0.105, 1), (0.29, 0.57, 0.065, 1), (0.4, 0.57, 0.04, 1),
    (1.2, 0.58, 0.09, 1), (1.05, 0.58, 0.05, 1),
)  # fmt: skip


def hills(x):
    return 0.5 + 0.04 * np.sin(x * 5.3 + 2.4) + 0.015 * np.sin(x * 13)


def river(x, y):
    bend = 0.74 + (0.75 * y - 0.38) * np.sin(5.6 / (y + 0.06) - 1.5)
    reach = 0.035 + 0.6 * np.maximum(y - 0.58, 0) ** 1.3
    return (np.abs(x - bend) < reach) * smoothstep(0.575, 0.585, y)


def away(x, y, centre):
    """Return the offset from a centre, and the distance in its sizes."""
    apart_x, apart_y = x - centre[0], y - centre[1]
    return apart_x, apart_y, np.hypot(apart_x, apart_y) / centre[2] + 1e-4


def wind(x, y):
    """Return the direction in which the brush moves."""
    angle = 0.45 * np.sin(x * 4 + 2.5 * y) + 0.5 * noise(x * 2, y * 3)[0]
    furrow = np.arctan2(y - 0.45, x - 0.7) + 0.5 * np.sin(x * 6 + y * 9)
    angle = np.where(y > hills(x), 0.7 * np.cos(x * 5.3 + 2.4), angle)
    angle = mix(angle, furrow, smoothstep(0.58, 0.7, y))
    angle = angle * (1 - river(x, y))
    flow_x, flow_y = np.cos(angle), np.sin(angle)
    for centre in (*CURLS, SUN, *CROWNS):
        apart_x, apart_y, apart = away(x, y, centre)
        pull = 5 * np.exp(-(apart**4)) * centre[3] / apart / centre[2]
        flow_x = flow_x - pull * (apart_y + 0.25 * apart_x)
        flow_y = flow_y + pull * (apart_x - 0.25 * apart_y)
    angle = np.arctan2(flow_y, flow_x)
    return np.cos(angle), np.sin(angle)


def scene(x, y):
    """Return what the painter sees: sun, wind, hills, trees and wheat."""
    high = smoothstep(0.5, 0.0, y + 0.1 * noise(x * 4, y * 4)[0])
    sky = blend([0.45, 0.72, 0.78], [0.05, 0.16, 0.5], high)
    streak = fractal(x * 1.6 + 4, y * 8 - 2 * np.sin(x * 4 + 1), 3)
    sky = blend(sky, [0.95, 0.82, 0.68], 0.8 * smoothstep(0.1, 0.6, streak))
    sky = blend(sky, [0.06, 0.2, 0.55], 0.8 * smoothstep(0.1, 0.6, -streak))
    for centre in CURLS:
        apart_x, apart_y, apart = away(x, y, centre)
        turn = np.arctan2(apart_y, apart_x) * centre[3]
        arm = smoothstep(-0.2, 0.8, np.cos(turn * 2 - 7 * np.log(apart + 0.25)))
        near = np.exp(-(apart**4))
        sky = blend(sky, [0.07, 0.22, 0.58], near)
        sky = blend(sky, [0.93, 0.86, 0.8], 0.85 * near * arm)
    apart = away(x, y, SUN)[2]
    ring = np.exp(-(((apart - 0.75) * 7) ** 2))
    sky = blend(sky, [0.98, 0.72, 0.22], np.exp(-(apart**2)) * 0.9)
    sky = blend(sky, [0.93, 0.42, 0.2], ring * 0.8)
    sky = blend(sky, [1.0, 0.93, 0.5], smoothstep(0.55, 0.45, apart))
    deep = y - hills(x)
    near = smoothstep(0, 0.1, deep + 0.04 * noise(x * 9, y * 20)[0])
    far = blend([0.2, 0.24, 0.55], [0.2, 0.5, 0.42], near)
    picture = blend(sky, far, deep > 0)
    ripe = noise(x * 6, y * 9)[0]
    poppy = smoothstep(0.5, 0.6, noise(x * 32, y * 44)[0]) * (y > 0.7)
    glint = smoothstep(0.1, 0.4, noise(x * 7, y * 55)[0])
    gold = smoothstep(-0.4, 0.5, ripe)
    wheat = blend([0.87, 0.6, 0.12], [0.99, 0.86, 0.38], gold)
    wheat = blend(wheat, [0.6, 0.3, 0.1], 0.8 * smoothstep(0.2, 0.8, -ripe))
    wheat = blend(wheat, [0.85, 0.16, 0.1], 0.9 * poppy)
    water = blend([0.1, 0.32, 0.62], [0.98, 0.85, 0.55], glint)
    picture = blend(picture, wheat, y > 0.635 + 0.03 * np.sin(x * 3 + 2))
    picture = blend(picture, water, river(x, y))
    for centre in CROWNS:
        _, apart_y, apart = away(x, y, centre)
        apart = apart * (1 + 0.25 * noise(x * 14, y * 14)[0])
        lit = smoothstep(0.5, -0.9, apart_y / centre[2])
        leaf = blend([0.07, 0.2, 0.22], [0.5, 0.62, 0.22], lit)
        picture = blend(picture, leaf, smoothstep(1, 0.85, apart))
    return picture


def brush(draw, path, width, colour, chance):
    """Draw one stroke as bristles; the alpha channel holds the paint height."""
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-6
    normal = along[:, ::-1] * (-1, 1)
    load = chance.normal(0, 1, 60)
    count = max(4, int(width / 2.9))
    for bristle in chance.permutation(count):
        place = 2 * bristle / (count - 1) - 1
        short = 1 + 4 * (1 - np.sqrt(1 - place * place))
        first, last = (chance.uniform(0, 1, 2) * (1, 2) * short).astype(int)
        part = slice(first, len(path) - last)
        line = path[part] + normal[part] * place * width / 2
        ridge = 110 + 75 * abs(place) ** 3 + 35 * load[bristle]
        shade = colour * (1 + 0.07 * load[bristle]) + 0.02 * load[bristle + 1]
        ink = np.clip([*(shade * 255), ridge], 1, 255).astype(int)
        draw.line([tuple(point) for point in line], tuple(ink), 5)


def cover(draw, scale, width, length, spacing, chance):
    """Cover the canvas with strokes of one size, in random order."""
    places = np.mgrid[0:1:spacing, 0:1.3:spacing].reshape(2, -1).T[:, ::-1]
    places = places + chance.uniform(-0.7, 0.7, places.shape) * spacing
    chance.shuffle(places)
    colours = scene(*places.T)
    hues = chance.normal(0, 0.045, colours.shape)
    lights = chance.normal(1, 0.12, (len(colours), 1))
    paths = [places]
    for direction in (1, -1):
        spots = places
        for _ in range(8):
            flow = np.stack(wind(*spots.T), -1) * direction
            spots = spots + flow * length / 16
            paths.insert(len(paths) if direction == 1 else 0, spots)
    paths = np.stack(paths, 1) * scale
    for path, colour in zip(paths, colours * lights + hues, strict=True):
        brush(draw, path, width * chance.uniform(0.7, 1.2), colour, chance)


def draw_strokes(path):
    chance = np.random.default_rng(21)
    canvas = Image.new("RGBA", (1280, 1000), (60, 80, 120, 20))
    draw = ImageDraw.Draw(canvas)
    cover(draw, 1000, 44, 0.15, 0.034, chance)
    cover(draw, 1000, 26, 0.11, 0.024, chance)
    cover(draw, 1000, 16, 0.07, 0.021, chance)
    paint = np.asarray(canvas, np.float32) / 255
    height = blur(paint[..., 3], 1.2) + 0.04 * fractal(*pixels(640, 500), 3)
    slope_y, slope_x = np.gradient(height)
    light = np.clip(-slope_x * 0.8 - slope_y, -0.12, 0.16) * 2.6
    picture = paint[..., :3] * (1 + light[..., None])
    shine = smoothstep(0.05, 0.16, -slope_x - slope_y) * 0.2
    save(path, blend(picture, [1, 1, 0.95], shine))


# Woodcut -----------------------------------------------------------------


PAPER, NIGHT, RUST, OCHRE, SLATE = range(5)
INKS = np.float32([
    (0.95, 0.9, 0.79), (0.09, 0.09, 0.12), (0.8, 0.27, 0.15),
    (0.9, 0.66, 0.27), (0.24, 0.46, 0.5),
])  # fmt: skip
CLOUDS = (
    (0.2, 0.14, 0.11), (0.33, 0.19, 0.09), (0.1, 0.21, 0.1),
    (0.52, 0.1, 0.06), (0.6, 0.12, 0.045), (1.22, 0.18, 0.09),
)  # fmt: skip
FIELDS = (
    (0.66, 0.035, 0.5, OCHRE), (0.72, 0.05, 3.6, RUST),
    (0.8, 0.06, 1.4, SLATE), (0.9, 0.05, 4.4, OCHRE),
)  # fmt: skip
CLUMPS = (
    (0.22, 0.33, 0.1), (0.12, 0.4, 0.1), (0.31, 0.4, 0.1), (0.06, 0.5, 0.08),
    (0.21, 0.45, 0.1), (0.37, 0.49, 0.07), (0.14, 0.53, 0.07),
    (0.28, 0.52, 0.07),
)  # fmt: skip


def carve(phase, along, tone):
    """Return where ink stays between gouged lines that swell and break."""
    phase = phase + 0.35 * noise(phase * 0.1, along * 1.5)[0]
    line = np.floor(phase)
    swell = noise(along * 9 + line * 17.3, line * 9.7)[0]
    swell = swell + 0.5 * noise(along * 40, phase * 3)[0]
    width = np.clip(tone + 0.27 * swell, 0, 1)
    return smoothstep(-0.08, 0.08, width - np.abs(2 * (phase - line) - 1))


def plan_sky(plan, x, y):
    away_x, away_y = x - 0.86, y - 0.33
    apart, angle = np.hypot(away_x, away_y), np.arctan2(away_y, away_x)
    tone = (0.25 + 0.6 * apart) * smoothstep(0.15, 0.5, apart)
    fade = smoothstep(0.85, 0.2, apart)
    lay(plan, apart > 0.15, OCHRE, SLATE, angle * 38, apart * 2, tone, fade)
    lay(plan, apart < 0.13, PAPER, RUST, y * 75, x, 0.68 - 1.6 * away_y)
    for cloud_x, cloud_y, size in CLOUDS:
        puff = np.hypot(x - cloud_x, (y - cloud_y) * 1.5)
        inside = (puff < size) & (y < cloud_y + 0.02)
        tone = 0.7 * (puff / size) ** 2 - 0.1
        lay(plan, inside, PAPER, NIGHT, puff * 85, x * 2, tone, 1)


def plan_land(plan, x, y):
    """Lay mountains, then the lake below them, then the fields."""
    for height, rough, seed, slant in (
        (0.46, 0.2, 3.3, 0.5),
        (0.53, 0.12, 8, -0.6),
    ):
        deep = y - height - rough * fractal(x * 1.6 + seed, 0 * x + seed, 7)
        fold = (x + slant * deep) * 5 + seed
        side = fractal(fold, deep * 2, 4) - fractal(fold - 0.4, deep * 2, 4)
        ground = np.where(side > -0.1, SLATE, PAPER)
        phase = (x + np.where(side > 0, 1.3, -1.1) * deep) * 62
        tone = np.clip(0.15 + 1.1 * side - 0.6 * deep, 0.03, 0.93)
        tone = np.where(deep < 0.004, 2, tone)
        lay(plan, deep > -0.004, ground, NIGHT, phase, deep * 3 + x, tone, 1)
    glitter = 1 - np.abs(x - 0.86) / 0.11 + 0.8 * noise(x * 9, y * 85)[0]
    ink = np.where(glitter > 0, RUST, SLATE)
    lay(plan, y > 0.55, PAPER, ink, y * 85, x, 0.7)
    for height, swing, shift, ground in FIELDS:
        deep = y - height - swing * np.sin(x * 3.4 + shift)
        phase = (deep + 0.04 * np.sin(x * 9)) * 95
        if shift > 2:
            fan = (x - 0.7 + 0.25 * np.sin(shift)) / (np.abs(deep) + 0.12)
            phase = fan * 7
        tone = 0.45 - 0.3 * np.cos(x * 3.4 + shift) + 1.2 * deep
        tone = np.where(deep < 0.003, 2, np.clip(tone, 0.12, 0.8))
        lay(plan, deep > -0.004, ground, NIGHT, phase, x + deep, tone)


def plan_tree(plan, x, y):
    """Lay a bent trunk, then its crown clump by clump."""
    flare = 0.018 + 6 * np.maximum(y - 0.8, 0) ** 3
    trunk = np.abs(x - 0.22 - 0.02 * np.sin(y * 14)) - flare
    inside = (trunk < 0) & (y > 0.45) & (y < 0.93)
    lay(plan, inside, PAPER, NIGHT, trunk * 150, y, 2.35 - 8 * x)
    for centre_x, centre_y, size in CLUMPS:
        away_x, away_y = (x - centre_x) / size, (y - centre_y) / size
        angle = np.arctan2(away_y, away_x)
        crown = np.hypot(away_x, away_y * 1.25) + 0.06 * np.sin(9 * angle)
        shade = 0.45 - 0.4 * away_x + 0.5 * away_y
        ground = np.where(shade > 0.12, SLATE, PAPER)
        tone = np.where(crown > 0.96, 2, shade)
        lay(plan, crown < 1.03, ground, NIGHT, crown * 6, angle, tone, 1)


def draw_woodcut(path):
    columns, rows = pixels(640, 480)
    shaky = 0.004 * fractal(columns / 60, rows / 60, 3)
    x, y = columns / 960 + shaky, rows / 960 - shaky
    plan = np.zeros((6, *x.shape), np.float32)
    for lay_out in (plan_sky, plan_land, plan_tree):
        lay_out(plan, x, y)
    ground, ink, phase, along, tone, fade = plan
    fibres = fractal(columns / 25, rows / 4, 5)
    salt = fractal(columns / 5, rows / 5, 4) + 0.2 * fibres
    solid = 0.97 - 0.5 * smoothstep(0.55, 0.95, salt)
    picture = INKS[PAPER] * (1 + 0.035 * fibres[..., None])
    ground = np.roll(ground.astype(int), (2, 3), (0, 1))
    fade = np.clip(fade + 0.1 * fibres, 0, 1) * (ground != PAPER)
    picture = blend(picture, INKS[ground], fade * solid)
    lines = carve(phase, along, tone) * solid
    save(path, blend(picture, INKS[ink.astype(int)], lines), 90)


# Mosaic ------------------------------------------------------------------


GOLD, NAVY, BLUE, TEAL, LEAF, CLAY, CREAM, BROWN, MOSS = range(9)
STONES = np.float32([
    (0.88, 0.67, 0.25), (0.08, 0.14, 0.3), (0.11, 0.33, 0.62),
    (0.14, 0.52, 0.57), (0.36, 0.5, 0.22), (0.68, 0.3, 0.16),
    (0.93, 0.88, 0.74), (0.3, 0.14, 0.1), (0.2, 0.36, 0.26),
])  # fmt: skip


def plan_fan(plan, x, y):
    """Lay the spread tail and its eyes around the peacock's back."""
    apart, angle = np.hypot(x, y - 0.22), np.arctan2(x, 0.22 - y)
    scallop = 0.77 + 0.05 * np.abs(np.cos(angle * 5.82))
    fan = np.maximum(apart - scallop, np.abs(angle) - 1.85)
    lay(plan, fan > 0, GOLD, np.where(fan < 0.3, fan, apart))
    lay(plan, fan < 0.03, CREAM, fan)
    quill = np.where(np.sin(angle * 23.3) > 0, LEAF, MOSS)
    lay(plan, fan < 0, np.where(fan > -0.06, TEAL, quill), apart)
    for ring, size, turns in (
        (0.61, 0.13, (-1.62, -1.08, -0.54, 0, 0.54, 1.08, 1.62)),
        (0.38, 0.1, (-1.66, -1.17, -0.68, 0.68, 1.17, 1.66)),
    ):
        for turn in turns:
            eye_x, eye_y = ring * np.sin(turn), 0.22 - ring * np.cos(turn)
            eye = np.hypot(x - eye_x, y - eye_y) / size
            rings = [eye < 0.32, eye < 0.58, eye < 0.82]
            stone = np.select(rings, [NAVY, TEAL, GOLD], CLAY)
            lay(plan, eye < 1, stone, eye)


def plan_bird(plan, x, y):
    ground = y - 0.7 - 0.025 * np.sin(x * 8)
    stripe = np.where(np.sin(ground * 55) < 0.3, CLAY, BROWN)
    lay(plan, ground > 0, stripe, ground)
    foot = np.abs(np.abs(x) - 0.07)
    lay(plan, (foot < 0.02) & (np.abs(y - 0.68) < 0.08), BROWN, x)
    body = np.hypot(x / 0.21, (y - 0.42) / 0.28)
    feathers = np.where(np.sin(body * 19) > 0.2, TEAL, BLUE)
    lay(plan, body < 1, np.where(body > 0.88, NAVY, feathers), body)
    across = x - 0.05 * np.sin((y + 0.05) * 8)
    neck = np.abs(across) - 0.085 - 0.09 * smoothstep(0.05, 0.5, y)
    inside = (neck < 0) & (np.abs(y - 0.16) < 0.22)
    lay(plan, inside, np.where(neck > -0.03, NAVY, BLUE), across)
    for lean in (-0.9, -0.3, 0.3, 0.9):
        tip = np.hypot(x - 0.02 - 0.13 * lean, y + 0.265 - 0.04 * lean**2)
        lay(plan, tip < 0.03, CREAM, tip)
    beak = np.abs(y + 0.06) + 0.5 * (x - 0.25)
    lay(plan, (x > 0.05) & (beak < 0), GOLD, y)
    head = np.hypot(x - 0.02, y + 0.08)
    lay(plan, head < 0.125, np.where(head > 0.095, NAVY, BLUE), head)
    eye = np.hypot(x - 0.04, y + 0.09)
    lay(plan, eye < 0.062, np.where(eye < 0.027, NAVY, CREAM), eye)


def plan_border(plan, x, y):
    bloom = np.hypot(np.abs(x) - 0.66, y + 0.66)
    turn = np.arctan2(y + 0.66, np.abs(x) - 0.66)
    flower = np.select([bloom < 0.035, bloom < 0.075], [GOLD, CREAM], CLAY)
    lay(plan, bloom < 0.12 + 0.03 * np.cos(turn * 6), flower, bloom)
    edge = np.maximum(np.abs(x), np.abs(y))
    along = np.where(np.abs(x) > np.abs(y), y, x) / 0.143 % 1 - 0.5
    middle = np.abs(edge - 0.93)
    band = np.where(middle < 0.045, CREAM, CLAY)
    lay(plan, edge > 0.86, band, edge)
    lay(plan, middle / 0.05 + np.abs(along) * 2.2 < 1, NAVY, edge)


def nearest(labels, places, turns, steps, scale):
    """Let each pixel adopt the closest stone that its neighbours know."""
    rows, columns = np.indices(labels.shape, dtype=np.float32)
    cosine, sine = np.cos(turns), np.sin(turns)

    def apart(stones):
        x = (columns + 0.5) * scale - places[:, 0].take(stones)
        y = (rows + 0.5) * scale - places[:, 1].take(stones)
        turn_x, turn_y = cosine.take(stones), sine.take(stones)
        across, down = x * turn_x + y * turn_y, y * turn_x - x * turn_y
        return np.maximum(np.abs(across), np.abs(down))

    best = apart(labels)
    for step in steps:
        for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            other = np.roll(labels, np.multiply(shift, step), (0, 1))
            distance = apart(other)
            closer = distance < best
            labels = np.where(closer, other, labels)
            best = np.where(closer, distance, best)
    return labels, best


def settle(plan, spacing, chance):
    """Move stones apart until they pave the plan along its courses."""
    slope_y, slope_x = np.gradient(plan[1])
    angle = 4 * np.arctan2(slope_y, slope_x)
    angle = np.arctan2(blur(np.sin(angle), 2), blur(np.cos(angle), 2)) / 4
    grid = np.arange(spacing / 2, 640, spacing)
    places = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    places = (places + chance.uniform(-3, 3, places.shape)).astype(np.float32)
    cells = (np.arange(320) * 2 / spacing).astype(int).clip(0, grid.size - 1)
    labels = cells[:, None] * grid.size + cells[None, :]
    centres = np.indices(labels.shape)[::-1] * 2 + 1
    for _ in range(14):
        column, row = (places.T / 2).astype(int).clip(0, 319)
        turns = angle[row, column].astype(np.float32)
        labels, _ = nearest(labels, places, turns, (4, 2, 1, 1), 2)
        count = np.bincount(labels.ravel(), minlength=len(places))
        for axis, centre in enumerate(centres):
            total = np.bincount(labels.ravel(), centre.ravel(), len(places))
            moved = total / np.maximum(count, 1)
            places[:, axis] = np.where(count > 0, moved, places[:, axis])
    kinds = plan[0][row, column].astype(int)
    labels = labels.repeat(4, 0).repeat(4, 1)
    return kinds, *nearest(labels, places, turns, (3, 2, 1, 1), 0.5)


def draw_mosaic(path):
    chance, spacing = np.random.default_rng(8), 8.3
    half = (np.arange(320, dtype=np.float32) - 159.5) / 160
    plan = np.zeros((2, 320, 320), np.float32)
    for lay_out in (plan_fan, plan_bird, plan_border):
        lay_out(plan, *np.meshgrid(half, half))
    kinds, labels, distance = settle(plan, spacing, chance)
    colours = STONES[kinds] * chance.normal(1, 0.14, (len(kinds), 1))
    colours += chance.normal(0, 0.025, colours.shape)
    sparkle = chance.uniform(0.7, 1.3, (len(kinds), 1))
    colours *= np.where(kinds[:, None] == GOLD, sparkle, 1)
    gap = distance > spacing * 0.53
    for axis in (0, 1):
        for step in (1, 2):
            gap |= labels != np.roll(labels, step, axis)
    solid = blur(1 - gap.astype(np.float32), 1.0)
    x, y = pixels(640, 640)
    grit = fractal(x / 9, y / 9, 5)
    dome = blur(solid, 2) + 0.03 * grit
    slope_y, slope_x = np.gradient(dome)
    tilt = (
        0.12 - (x + y) / 9000 + chance.normal(0, 0.08, len(kinds)).take(labels)
    )
    light = 1 + tilt - 1.7 * (slope_x + slope_y) + 0.06 * grit
    picture = colours.take(labels, 0) * light[..., None]
    grout = np.float32([0.34, 0.29, 0.24]) * (1 + 0.2 * grit[..., None])
    save(path, blend(grout, picture, smoothstep(0.35, 0.75, solid)), 90)


def main():
    beside = Path(__file__).resolve().parent.parent / "examples"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else beside
    folder.mkdir(parents=True, exist_ok=True)
    drawings = {
        "content_lake": draw_lake, "content_lighthouse": draw_lighthouse,
        "style_strokes": draw_strokes, "style_woodcut": draw_woodcut,
        "style_mosaic": draw_mosaic,
    }  # fmt: skip
    paths = [folder / f"{name}.jpg" for name in drawings]
    with ProcessPoolExecutor(2) as workers:
        jobs = list(map(workers.submit, drawings.values(), paths))
    for job in jobs:
        job.result()


if __name__ == "__main__":
    main()
