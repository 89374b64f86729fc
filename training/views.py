"""Augmented views of a crop, in two kinds: natural ones show that person, invented ones a person who never was.

Images are RGB uint8 of one fixed size. A view is a pure function of its seed, so a bank can be resumed or made again.
"""

import math

import cv2
import numpy as np

HEIGHT, WIDTH = 128, 64  # the size of Market-1501's crops; real surveillance crops are smaller still

_SPLIT = 0.55  # share of invented views that join two people at the waist


def natural_view(images: np.ndarray, index: int, rng: np.random.Generator) -> np.ndarray:
    """Show the crop as another camera might have seen it."""
    return degrade(colour(geometry(images[index], rng), rng, 0.55), rng)


def invented_view(images: np.ndarray, index: int, rng: np.random.Generator) -> np.ndarray:
    """Show it in other colours, on other legs or before another background; only the teacher can say who that is."""
    image = colour(geometry(images[index], rng), rng, 1.0)
    kind = rng.random()
    if kind < 0.25:  # the same person in other trousers or another shirt
        image = _blend(image, colour(image, rng, 1.2), _waist(rng))
    elif kind < 0.85:
        other = colour(geometry(images[rng.integers(len(images))], rng), rng, 1.0)
        image = _blend(image, other, _waist(rng) if kind < 0.25 + 0.6 * _SPLIT else _body(rng))
    return degrade(image, rng)


def geometry(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flip, shift, zoom, lean and aspect change; edges are repeated."""
    zoom, aspect = rng.uniform(0.85, 1.25), math.exp(rng.uniform(-0.22, 0.22))
    x_scale, y_scale = zoom * aspect * rng.choice((-1, 1)), zoom / aspect**0.3
    matrix = np.array([[x_scale, rng.normal(0, 0.03), 0], [rng.normal(0, 0.02), y_scale, 0]], np.float32)
    centre = np.array([WIDTH / 2, HEIGHT / 2])
    matrix[:, 2] = centre - matrix[:, :2] @ centre + [rng.uniform(-5, 5), rng.uniform(-8, 8)]
    return cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def colour(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Saturation, brightness, contrast, gamma, white balance and slanting light; at strength 1 also another hue."""
    if strength > 0.8 and rng.random() < 0.7:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + int(rng.normal(0, 40 * strength))) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    x = image.astype(np.float32) / 255
    grey = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None]
    saturation = 0.0 if rng.random() < 0.05 * strength else math.exp(rng.normal(0, 0.35 * strength))
    x = grey + np.float32(saturation) * (x - grey)
    mean = x.mean()
    contrast, brightness = np.exp(rng.normal(0, 0.3 * strength, 2)).astype(np.float32)
    x = (x - mean) * contrast + mean * brightness
    x *= np.exp(rng.normal(0, 0.1 * strength, 3)).astype(np.float32)
    if rng.random() < 0.3:
        x *= np.linspace(*np.exp(rng.normal(0, 0.4 * strength, 2)), HEIGHT, dtype=np.float32)[:, None, None]
    x = np.clip(x, 0, 1) ** np.float32(math.exp(rng.normal(0, 0.3 * strength)))
    return (x * 255).astype(np.uint8)


def degrade(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, few pixels, sensor noise and JPEG, each now and then, in the order a camera adds them."""
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.5))
    if small := rng.random() < 0.35:
        scale = rng.uniform(0.3, 0.85)
        image = cv2.resize(image, (int(WIDTH * scale), int(HEIGHT * scale)), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.2:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(2, 12))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 85))])[1]
        image = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    return cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) if small else image


def _waist(rng: np.random.Generator) -> np.ndarray:
    """Make a mask that keeps the upper body."""
    y = np.arange(HEIGHT, dtype=np.float32)[:, None]
    return np.broadcast_to(1 / (1 + np.exp((y - rng.uniform(0.38, 0.62) * HEIGHT) / 2)), (HEIGHT, WIDTH))


def _body(rng: np.random.Generator) -> np.ndarray:
    """Make a mask that keeps an upright ellipse, about where the person stands."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    across = (x - WIDTH / 2) / (WIDTH * rng.uniform(0.28, 0.36))
    along = (y - HEIGHT * 0.52) / (HEIGHT * rng.uniform(0.46, 0.54))
    return 1 / (1 + np.exp(np.clip((np.hypot(across, along) - 1) * 12, -30, 30)))


def _blend(image: np.ndarray, other: np.ndarray, mask: np.ndarray) -> np.ndarray:
    mask = mask[..., None].astype(np.float32)
    return (image * mask + other * (1 - mask)).astype(np.uint8)
