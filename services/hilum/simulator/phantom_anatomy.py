"""The thorax of a phantom: lungs, pleural air, bones, heart, vessels, as sums of attenuation."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hilum.simulator.phantom_strokes import Profile, smooth_noise, soft_step, stroke

Plane = NDArray[np.float32]
Grid = tuple[Plane, Plane]
Side = Literal["right", "left"]
_SIGN = {"right": -1.0, "left": 1.0}


@dataclass(frozen=True)
class Collapse:
    """A pneumothorax: widths of the rim of air above the apex, along the side, and its share towards the base."""

    side: Side
    apical: float
    lateral: float
    basal: float


@dataclass(frozen=True)
class Anatomy:
    """One patient's proportions, in fractions of the image's height."""

    apex: float
    base: tuple[float, float]
    outer: float
    taper: float
    inner: float
    heart: tuple[float, float]
    body: float
    shift: float
    female: bool
    habitus: float
    collapse: Collapse | None

    @classmethod
    def of(cls, rng: np.random.Generator, collapse: Collapse | None, rotation: float) -> "Anatomy":
        left_base = rng.uniform(0.74, 0.82)
        return cls(
            apex=float(rng.uniform(0.09, 0.13)),
            base=(float(left_base - rng.uniform(0.005, 0.035)), float(left_base)),
            outer=float(rng.uniform(0.335, 0.385)),
            taper=float(rng.uniform(2.2, 3.2)),
            inner=float(rng.uniform(0.05, 0.065)),
            heart=(float(rng.uniform(0.12, 0.165)), float(rng.uniform(0.12, 0.15))),
            body=float(rng.uniform(0.43, 0.49)),
            shift=rotation,
            female=bool(rng.random() < 0.5),
            habitus=float(rng.uniform(0.85, 1.2)),
            collapse=collapse,
        )

    def turned(self, y: NDArray[np.floating]) -> NDArray[np.floating]:
        """How far a turned patient's midline lies aside at height ``y``."""
        return np.asarray(self.shift * np.exp(-(((y - 0.5) / 0.4) ** 2)), y.dtype)

    def chest_wall(self, y: Plane, side: Side) -> Plane:
        """The inner chest wall's distance from the midline at height ``y``."""
        base = self.base[0 if side == "right" else 1] + 0.06
        up = np.clip((base - y) / (base - self.apex), 0, 1)
        return np.asarray(self.outer * np.maximum(1 - up**self.taper, 0) ** 0.5 * (1 - 0.07 * (1 - up)), np.float32)

    def medial(self, y: Plane, side: Side) -> Plane:
        """The mediastinal border's distance from the midline: great vessels above, the heart below."""
        width, height = self.heart
        reach = width * (0.62 if side == "right" else 1.25) - (0.02 if side == "right" else 0.0)
        heart = reach * np.sqrt(np.clip(1 - ((y - 0.66) / height) ** 2, 0, 1))
        knob = (0.03 if side == "left" else 0.008) * np.exp(-(((y - 0.34) / 0.045) ** 2))
        return np.asarray(np.maximum(self.inner + knob - 0.02 * np.clip(0.3 - y, 0, 1), heart), np.float32)

    def dome(self, distance: Plane, side: Side) -> Plane:
        """The diaphragm's height at a ``distance`` from the midline: a dome with a sharp lateral angle."""
        base = self.base[0 if side == "right" else 1]
        across = np.clip((distance - 0.45 * self.outer) / (0.62 * self.outer), -1.2, 1.05)
        return np.asarray(base - 0.035 + 0.07 * np.abs(across) ** 2.4, np.float32)


def draw_anatomy(rng: np.random.Generator, anatomy: Anatomy, grid: Grid) -> tuple[Plane, Plane, Plane]:
    """(attenuation, pleural air 0..1, lung fields 0..1), each of the grid's shape."""
    x, y = grid
    rows = x.shape[0]
    centred = x - anatomy.turned(y)
    edge = np.float32(0.0035)
    attenuation = _body(anatomy, x, y)
    air = np.zeros_like(x)
    fields = np.zeros_like(x)
    aerated = np.zeros_like(x)
    pleura = np.zeros_like(x)
    for side in ("right", "left"):
        distance = centred * np.float32(_SIGN[side])
        thorax, depth = _lung_field(anatomy, side, distance, y, edge)
        lung = thorax
        if anatomy.collapse is not None and anatomy.collapse.side == side:
            lung, line = _collapsed(rng, anatomy, anatomy.collapse, (distance, y), thorax)
            air += thorax - lung
            pleura += line
        attenuation -= 0.78 * thorax * depth * np.float32(1 / anatomy.habitus)
        fields += thorax
        aerated += lung
    attenuation += _mediastinum(anatomy, centred, y) * (1 - 0.15 * fields)
    attenuation += _bones(rng, anatomy, grid)
    texture = smooth_noise(rng, x.shape, rows * 0.006) * 0.6 + smooth_noise(rng, x.shape, rows * 0.018)
    markings = _vessels(rng, anatomy, grid) + 0.022 * texture + 0.05
    attenuation += aerated * markings - 0.035 * air
    attenuation += np.float32(rng.uniform(0.07, 0.13)) * pleura
    attenuation += 0.03 * smooth_noise(rng, x.shape, rows * 0.06)
    if anatomy.collapse is not None:
        attenuation += 0.5 * anatomy.collapse.apical * (aerated * (fields > 0.5) * (air.sum() > 0))
    return attenuation.astype(np.float32), air.astype(np.float32), fields.astype(np.float32)


def _body(anatomy: Anatomy, x: Plane, y: Plane) -> Plane:
    """Soft tissue: neck, sloping shoulders, trunk; breasts when female."""
    slope = np.clip((y - 0.015) / 0.12, 0, 1)
    half = 0.13 + (anatomy.body - 0.13) * slope**0.6
    across = np.clip(np.abs(x) / half, 0, 1)
    trunk = (1 - across**3.2) ** 0.5 * soft_step(half - np.abs(x), 0.004)
    attenuation = trunk * (0.95 + 0.28 * np.clip(y - 0.45, 0, 1)) * anatomy.habitus
    attenuation += 0.5 * soft_step(y - 0.79 - 0.6 * x**2, 0.07) * soft_step(half - np.abs(x), 0.01)
    if anatomy.female:
        for sign in (-1, 1):
            radius = np.hypot((x - sign * 0.21) / 0.15, (y - 0.66) / 0.15)
            attenuation += 0.2 * np.sqrt(np.clip(1 - radius**2, 0, 1)) * (0.7 + 0.3 * soft_step(y - 0.62, 0.1))
    return np.asarray(attenuation, np.float32)


def _lung_field(anatomy: Anatomy, side: Side, distance: Plane, y: Plane, edge: np.float32) -> tuple[Plane, Plane]:
    """A hemithorax as coverage 0..1 and the share of the chest's depth that is lung there."""
    outer, inner, dome = anatomy.chest_wall(y, side), anatomy.medial(y, side), anatomy.dome(distance, side)
    coverage = soft_step(outer - distance, edge) * soft_step(distance - inner, edge) * soft_step(dome - y, edge)
    span = np.maximum(outer - inner, 1e-3)
    across = np.clip((distance - inner) / span, 0, 1)
    rounded = np.clip(1 - np.abs(2 * across - 1) ** 3, 0.02, 1) ** 0.5
    lower = np.clip((dome - y) / 0.05, 0, 1) ** 0.5
    upper = np.clip((y - anatomy.apex) / 0.2, 0.1, 1) ** 0.35
    return coverage, np.asarray((0.45 + 0.55 * rounded) * (0.5 + 0.5 * lower) * upper, np.float32)


def _collapsed(
    rng: np.random.Generator, anatomy: Anatomy, collapse: Collapse, where: Grid, thorax: Plane
) -> tuple[Plane, Plane]:
    """The lung that stays aerated beside pleural air, and the visceral pleura's line between them."""
    distance, y = where
    base = anatomy.base[0 if collapse.side == "right" else 1]
    down = np.clip((y - anatomy.apex) / (base - anatomy.apex), 0, 1)
    share = 1 - (1 - collapse.basal) * down**1.2
    wave = 0.006 * np.sin(2 * np.pi * (rng.uniform(0.8, 2.0) * down + rng.random()))
    apex = anatomy.apex + collapse.apical
    up = np.clip((base + 0.06 - y) / (base + 0.06 - apex), 0, 1)
    wall = anatomy.outer * np.maximum(1 - up**anatomy.taper, 0) ** 0.5 * (1 - 0.07 * (1 - up))
    border = np.where(y < apex, -1.0, wall - collapse.lateral * share - wave)
    inside = border - distance
    slant = np.hypot(1.0, np.gradient(border.astype(np.float64), axis=0) / np.maximum(np.gradient(y, axis=0), 1e-6))
    away = inside / np.clip(slant, 1, 12)
    width = rng.uniform(0.0016, 0.0026)
    line = np.exp(-((away / width) ** 2)) * thorax * (y > apex)
    return np.asarray(thorax * soft_step(away.astype(np.float32), 0.002), np.float32), line.astype(np.float32)


def _mediastinum(anatomy: Anatomy, x: Plane, y: Plane) -> Plane:
    """Heart, aorta, great vessels, trachea and spine."""
    width, height = anatomy.heart
    tilted = 0.25 * (y - 0.66)
    heart = 1 - ((x - 0.035 - tilted) / (width * 1.05)) ** 2 - ((y - 0.66) / (1.05 * height)) ** 2
    heart = np.clip(heart, 0, 1) ** 0.85
    heart *= soft_step(anatomy.base[0] - 0.01 - y, 0.04)
    knob = np.clip(1 - ((x - 0.055) / 0.042) ** 2 - ((y - 0.335) / 0.045) ** 2, 0, 1) ** 0.5
    column = np.exp(-((np.abs(x) / (anatomy.inner * 1.1)) ** 4)) * soft_step(y - 0.02, 0.03)
    trachea = np.exp(-((np.abs(x) / 0.019) ** 4)) * soft_step(0.42 - y, 0.02)
    spine = np.exp(-((np.abs(x) / 0.036) ** 6)) * (0.8 + 0.2 * np.cos(2 * np.pi * y / 0.062) ** 2)
    return np.asarray(0.34 * heart + 0.12 * knob + 0.25 * column + 0.26 * spine - 0.16 * trachea, np.float32)


def _bones(rng: np.random.Generator, anatomy: Anatomy, grid: Grid) -> Plane:
    """Ribs behind and in front, clavicles and the shoulder blades."""
    x, _ = grid
    posterior, anterior, girdle = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    pitch, first = rng.uniform(0.066, 0.076), anatomy.apex + rng.uniform(0.0, 0.02)
    t = np.linspace(0, 1, 13)
    for sign in (-1.0, 1.0):
        side: Side = "right" if sign < 0 else "left"
        for number in range(10):
            start = first + number * pitch
            fall = 0.02 + 0.012 * number
            wall = float(anatomy.chest_wall(np.array([start + fall + 0.03], np.float32), side)[0]) + 0.012
            reach = max(wall, 0.09)
            px = sign * (0.02 + (reach - 0.02) * np.sin(t * np.pi / 2))
            py = start - 0.022 * np.sin(np.pi * t) + fall * t + 0.075 * t**5
            stroke(
                posterior, grid, px + anatomy.turned(py), py, width=rng.uniform(0.0115, 0.0145), profile=Profile.TUBE
            )
            if 1 <= number < 8:
                end = start + fall + 0.05
                qx = sign * (reach - (reach - 0.13) * t**1.1)
                qy = end + (0.16 + 0.012 * number) * t**0.9 - 0.03 * t**3
                stroke(
                    anterior, grid, qx + anatomy.turned(qy), qy, width=rng.uniform(0.011, 0.014), profile=Profile.TUBE
                )
        lift = rng.uniform(-0.015, 0.02)
        cx = sign * (0.045 + 0.36 * t)
        cy = 0.185 - lift * t + 0.022 * np.sin(2 * np.pi * t) - 0.055 * t
        stroke(girdle, grid, cx, cy, width=0.0145, profile=Profile.TUBE)
        bx = sign * (np.array([0.40, 0.355, 0.335, 0.345]) + rng.uniform(-0.01, 0.03))
        by = np.array([0.17, 0.27, 0.36, 0.47])
        stroke(girdle, grid, bx, by, width=0.006, profile=Profile.SHEET, weight=0.45)
        stroke(girdle, grid, bx + sign * 0.04, by - 0.02, width=0.045, profile=Profile.SHEET, weight=0.28)
    fade = 1 - 0.55 * np.clip(1 - np.abs(x) / 0.3, 0, 1)
    posterior *= 1 - 0.75 * np.exp(-((x / 0.05) ** 4))
    return np.asarray(0.15 * posterior + 0.085 * anterior * fade + 0.2 * girdle, np.float32)


def _vessels(rng: np.random.Generator, anatomy: Anatomy, grid: Grid) -> Plane:
    """Pulmonary vessels: from each hilum outwards, branching and thinning, as far as the outer third."""
    x, _ = grid
    layer = np.zeros_like(x)
    for sign in (-1.0, 1.0):
        hilum = (sign * (0.085 + rng.uniform(-0.005, 0.01)) + anatomy.shift, 0.46 - 0.012 * sign)
        angles = np.linspace(-1.35, 1.35, 9) + rng.normal(0, 0.1, 9)
        pending = [(hilum[0], hilum[1], float(a), float(rng.uniform(0.008, 0.0125)), 0) for a in angles]
        while pending:
            px, py, angle, width, depth = pending.pop()
            length = rng.uniform(0.045, 0.085) * 0.93**depth
            bend = angle + rng.normal(0, 0.18)
            xs = px + sign * length * np.array([0, 0.5 * np.cos(angle), np.cos(bend)])
            ys = py + length * np.array([0, 0.5 * np.sin(angle), np.sin(bend)])
            stroke(
                layer, grid, xs, ys, width=width, profile=Profile.SOFT, weight=float(np.clip(width / 0.0105, 0.32, 1.1))
            )
            if depth < 5 and width > 0.0022:
                spread = rng.uniform(0.2, 0.5)
                tip = (float(xs[-1]), float(ys[-1]))
                pending.append(
                    (*tip, bend + spread * rng.uniform(0.3, 0.8), width * rng.uniform(0.66, 0.84), depth + 1)
                )
                if depth < 4:
                    pending.append((*tip, bend - spread, width * rng.uniform(0.55, 0.78), depth + 1))
    return np.asarray(0.22 * layer, np.float32)
