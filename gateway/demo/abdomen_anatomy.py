"""The abdomen of the phantom: shapes in patient coordinates, a little different for every seed.

Every shape is given in millimetres relative to the middle of the scan along the patient's own axes
(LPS: +x left, +y posterior, +z head, PS3.3 C.7.6.2.1.1). Densities are those of a portal venous
phase, about 70 seconds after contrast.

What makes it a task: the liver lies against the abdominal wall, diaphragm, stomach and right
kidney, the spleen against stomach and left kidney; vessels as bright as the kidneys lead into
every organ; loops of bowel hold gas, fluid and contrast. **Labels**: `LIVER` (with its vessels,
cysts and the portal branches inside), `SPLEEN`, `RIGHT_KIDNEY`, `LEFT_KIDNEY` (parenchyma, without
the fat of the sinus).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.demo.phantom_anatomy import Ellipsoid, Tube

LIVER: Final = 1
SPLEEN: Final = 2
RIGHT_KIDNEY: Final = 3
LEFT_KIDNEY: Final = 4
ORGANS: Final = {
    "liver": LIVER,
    "spleen": SPLEEN,
    "right-kidney": RIGHT_KIDNEY,
    "left-kidney": LEFT_KIDNEY,
}

FAT_HU: Final = -95.0
MUSCLE_HU: Final = 58.0
STOMACH_HU: Final = 62.0
BONE_HU: Final = 320.0
LUNG_HU: Final = -850.0
LIVER_HU: Final = 112.0
SPLEEN_HU: Final = 122.0
KIDNEY_HU: Final = 188.0
PANCREAS_HU: Final = 92.0
AORTA_HU: Final = 165.0
VEIN_HU: Final = 160.0
BILE_HU: Final = 8.0
FLUID_HU: Final = 18.0
CYST_HU: Final = 12.0
GAS_HU: Final = -1000.0
BOWEL_WALL_HU: Final = 50.0
BOWEL_HU: Final = (25.0, 45.0, -1000.0, 240.0)

BODY_AXES: Final = (170.0, 118.0)
WALL_OUTER: Final = 0.92
WALL_INNER: Final = 0.84
LUNG_FROM_Z: Final = 42.0
DIAPHRAGM_MM: Final = 4.0
PERIRENAL_MM: Final = 3.5
STOMACH_WALL_MM: Final = 3.0
SPINE: Final = (0.0, 64.0)


@dataclass(frozen=True)
class Organ:
    """One labelled organ: what it is made of, and the fat collar around it in millimetres."""

    name: str
    label: int
    hu: float
    parts: tuple[Ellipsoid, ...]
    collar: float = 0.0


@dataclass(frozen=True)
class Patient:
    """The shapes of one patient, in the order in which they are painted."""

    scale: float
    domes: tuple[Ellipsoid, ...]
    liver: Organ
    spleen: Organ
    kidneys: tuple[Organ, ...]
    sinuses: tuple[Ellipsoid, ...]
    heart: Ellipsoid
    stomach: Ellipsoid
    gallbladder: Ellipsoid
    pancreas: Ellipsoid
    cysts: tuple[Ellipsoid, ...]
    liver_vessels: tuple[Tube, ...]
    vessels: tuple[Tube, ...]
    muscles: tuple[Tube, ...]
    bowel: tuple[tuple[Ellipsoid, float], ...]


def patient(seed: int) -> Patient:
    """Make the patient of a seed: organs up to 6 percent larger or smaller, some mm away."""
    random = np.random.default_rng([seed, 11])
    vary = _Vary(random)
    right, left = vary((-64, 47, -26), (27, 26, 50)), vary((64, 46, -12), (27, 26, 52))
    spleen = vary((94, 34, 46), (36, 46, 46))
    return Patient(
        scale=float(random.uniform(0.96, 1.04)),
        domes=(
            Ellipsoid((-72.0, -5.0, 32.0), (98.0, 108.0, 76.0)),
            Ellipsoid((75.0, 0.0, 25.0), (92.0, 108.0, 74.0)),
        ),
        liver=Organ(
            "liver",
            LIVER,
            LIVER_HU,
            (vary((-72, -5, 38), (76, 86, 64)), vary((-6, -46, 52), (66, 36, 38))),
        ),
        spleen=Organ("spleen", SPLEEN, SPLEEN_HU, (spleen,)),
        kidneys=(
            Organ("right-kidney", RIGHT_KIDNEY, KIDNEY_HU, (right,), PERIRENAL_MM),
            Organ("left-kidney", LEFT_KIDNEY, KIDNEY_HU, (left,), PERIRENAL_MM),
        ),
        sinuses=tuple(
            Ellipsoid(_moved(kidney.centre, side * 17.0, -4.0, 0.0), (15.0, 10.0, 20.0))
            for kidney, side in ((right, 1), (left, -1))
        ),
        heart=Ellipsoid((14.0, -34.0, 134.0), (48.0, 42.0, 36.0)),
        stomach=vary((54, -26, 50), (40, 42, 40)),
        gallbladder=vary((-42, -58, 0), (16, 14, 24)),
        pancreas=vary((38, 4, 6), (36, 10, 11)),
        cysts=tuple(
            Ellipsoid(centre, (radius,) * 3)
            for centre, radius in (
                ((-100.0, 10.0, 55.0), float(random.uniform(4, 9))),
                ((-60.0, -40.0, 40.0), float(random.uniform(4, 7))),
            )
        ),
        liver_vessels=_liver_vessels(random),
        vessels=_vessels(spleen, right, left),
        muscles=tuple(
            tube
            for side in (-1.0, 1.0)
            for tube in (
                Tube((side * 27, 62, 30), (side * 40, 60, -140), 14.0),
                Tube((side * 30, 88, -140), (side * 30, 88, 140), 13.0),
            )
        ),
        bowel=_bowel(random),
    )


class _Vary:
    """Moves and scales an ellipsoid at random, by little."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random

    def __call__(
        self, centre: tuple[float, float, float], axes: tuple[float, float, float]
    ) -> Ellipsoid:
        moved = np.add(centre, self._random.uniform(-3.0, 3.0, 3))
        scaled = np.multiply(axes, self._random.uniform(0.94, 1.06, 3))
        x, y, z = (float(value) for value in moved)
        a, b, c = (float(value) for value in scaled)
        return Ellipsoid((x, y, z), (a, b, c))


def _moved(
    point: tuple[float, float, float], x: float, y: float, z: float
) -> tuple[float, float, float]:
    return point[0] + x, point[1] + y, point[2] + z


def _liver_vessels(random: np.random.Generator) -> tuple[Tube, ...]:
    """Grow portal branches from the porta hepatis into the liver."""
    porta = (-30.0, 0.0, 38.0)
    tubes = []
    for _ in range(9):
        end = np.array([-78.0, -5.0, 40.0]) + random.uniform(-1, 1, 3) * (48.0, 52.0, 40.0)
        x, y, z = (float(value) for value in end)
        tubes.append(Tube(porta, (x, y, z), float(random.uniform(2.0, 4.0))))
    return tuple(tubes)


def _vessels(spleen: Ellipsoid, right: Ellipsoid, left: Ellipsoid) -> tuple[Tube, ...]:
    """Lay aorta, cava, portal, splenic and renal vessels."""
    aorta, cava = (10.0, 36.0), (-18.0, 32.0)
    trunk = (2.0, 18.0, 20.0)
    return (
        Tube((*aorta, -150.0), (*aorta, 150.0), 11.0),
        Tube((*cava, -150.0), (*cava, 150.0), 11.0),
        Tube(trunk, (-30.0, 0.0, 38.0), 6.5),
        Tube(trunk, _moved(spleen.centre, -30.0, 2.0, 0.0), 4.0),
        Tube((*aorta, left.centre[2]), _moved(left.centre, -8.0, -4.0, 0.0), 3.5),
        Tube((*cava, right.centre[2]), _moved(right.centre, 8.0, -4.0, 0.0), 3.5),
    )


def _bowel(random: np.random.Generator) -> tuple[tuple[Ellipsoid, float], ...]:
    """Lay loops of bowel in front and below; each with what it holds in HU."""
    loops = []
    for _ in range(70):
        x, y, z = (
            float(random.uniform(-120, 120)),
            float(random.uniform(-85, 12)),
            float(random.uniform(-130, 0)),
        )
        a, b, c = (float(value) for value in random.uniform(10, 19, 3))
        loops.append((Ellipsoid((x, y, z), (a, b, c)), float(random.choice(BOWEL_HU))))
    return tuple(loops)


def grown(shape: Ellipsoid, by: float) -> Ellipsoid:
    """Make an ellipsoid larger (or smaller) by so many millimetres along each axis."""
    a, b, c = (axis + by for axis in shape.axes)
    return Ellipsoid(shape.centre, (a, b, c))
