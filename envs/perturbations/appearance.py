"""Axes that change how the scene looks from the same place, and from where it is seen."""

from colorsys import hsv_to_rgb, rgb_to_hsv
from dataclasses import dataclass
from typing import ClassVar

import mink
import mujoco
import numpy as np

from envs.perturbations.edits import ModelEdits
from envs.perturbations.perturbation import Perturbation
from envs.scene import fixture_geoms
from envs.task import Assignment


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraShift(Perturbation):
    """Cameras moved, turned and zoomed; the one on the hand a fifth as far as the fixed ones."""

    axis: ClassVar[str] = "camera"
    changes: ClassVar[str] = (
        "Both cameras are moved, turned and zoomed (the wrist camera moves a fifth as far)."
    )
    ranges: ClassVar[dict[str, tuple[float, ...]]] = {
        "shift_m": (0.01, 0.02, 0.035, 0.05, 0.07),
        "turn_deg": (0.6, 1.2, 1.8, 2.5, 3.2),
        "view_angle_deg": (0.8, 1.6, 2.5, 3.5, 4.5),
    }

    def edit(self, edits: ModelEdits, assignment: Assignment, seed: int) -> None:
        """See Perturbation."""
        rng = self.rng(seed)
        position, rotation = edits.array("cam_pos"), edits.array("cam_quat")
        angle = edits.array("cam_fovy")
        for name, share in (("front", 1.0), ("wrist", 0.2), ("side", 1.0)):
            camera = edits.model.camera(name).id
            position[camera] += share * self.amount("shift_m") * _direction(rng)
            turn = mink.SO3.exp(np.deg2rad(self.amount("turn_deg")) * _direction(rng))
            if self.level:
                rotation[camera] = (mink.SO3(rotation[camera].copy()) @ turn).wxyz
            angle[camera] += rng.choice([-1.0, 1.0]) * self.amount("view_angle_deg")


@dataclass(frozen=True, kw_only=True, slots=True)
class LightShift(Perturbation):
    """The lamp comes from elsewhere; lamp and surroundings are brighter or darker, and tinted."""

    axis: ClassVar[str] = "light"
    changes: ClassVar[str] = (
        "The lamp shines from another direction; all light is darker, or brighter by half "
        "as much, and tinted."
    )
    ranges: ClassVar[dict[str, tuple[float, ...]]] = {
        "turn_deg": (8, 16, 26, 38, 50),
        "intensity_share": (0.10, 0.20, 0.32, 0.45, 0.60),
        "tint_share": (0.03, 0.06, 0.10, 0.15, 0.20),
    }

    def edit(self, edits: ModelEdits, assignment: Assignment, seed: int) -> None:
        """See Perturbation."""
        rng = self.rng(seed)
        direction = edits.array("light_dir")
        heading = rng.uniform(0, 2 * np.pi)
        axis = np.array([np.cos(heading), np.sin(heading), 0.0])
        turn = mink.SO3.exp(np.deg2rad(self.amount("turn_deg")) * axis)
        # Light from below the table's top would not be light on it.
        for light in direction if self.level else ():
            turned = turn.apply(light)
            light[:] = turned if turned[2] < -0.2 else turn.inverse().apply(light)
        # Half as far up as down: the nominal scene is bright, and what is white tells nothing.
        bright = 1.0 + rng.choice([-1.0, 0.5]) * self.amount("intensity_share")
        tint = 1.0 + self.amount("tint_share") * rng.permutation([-1.0, 0.0, 1.0])
        for name in ("light_diffuse", "vis.headlight.ambient", "vis.headlight.diffuse"):
            edits.array(name)[...] *= bright * tint


@dataclass(frozen=True, kw_only=True, slots=True)
class TextureChange(Perturbation):
    """A patterned, coloured cloth on the table, and another colour of what lies behind it."""

    axis: ClassVar[str] = "texture"
    changes: ClassVar[str] = (
        "The table gets a pattern (checks, stripes, grain or blotches) and another colour, "
        "the floor behind it another colour."
    )
    ranges: ClassVar[dict[str, tuple[float, ...]]] = {
        "contrast_share": (0.12, 0.22, 0.32, 0.45, 0.60),
        "colour_share": (0.15, 0.30, 0.45, 0.60, 0.80),
    }

    def prepare(self, spec: mujoco.MjSpec) -> None:
        """See Perturbation."""
        for index, pattern in enumerate(draw_patterns()):
            grey = 1.0 - self.amount("contrast_share") * pattern
            pixels = np.repeat((255 * grey).astype(np.uint8)[..., None], 3, axis=2)
            texture = spec.add_texture(
                name=f"cloth{index}",
                type=mujoco.mjtTexture.mjTEXTURE_2D,
                width=pixels.shape[1],
                height=pixels.shape[0],
                nchannel=3,
            )
            texture.data = pixels.tobytes()
            cloth = spec.add_material(name=f"cloth{index}", specular=0.05, shininess=0.1)
            cloth.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = f"cloth{index}"

    def edit(self, edits: ModelEdits, assignment: Assignment, seed: int) -> None:
        """See Perturbation."""
        rng = self.rng(seed)
        colours = [_TABLE_COLOURS[i] for i in rng.permutation(len(_TABLE_COLOURS))[:2]]
        cloth = int(rng.integers(len(draw_patterns())))
        share = self.amount("colour_share")
        for name, colour in zip(("table", "floor"), colours, strict=True):
            geom = edits.model.geom(name).id
            rgba = edits.array("geom_rgba")[geom]
            rgba[:3] += share * (np.array(colour) - rgba[:3])
        if self.level:
            material = edits.model.material(f"cloth{cloth}").id
            edits.array("geom_matid")[edits.model.geom("table").id] = material


@dataclass(frozen=True, kw_only=True, slots=True)
class ColourShift(Perturbation):
    """Other shades of things, pads and fixtures that still bear the same colour's name."""

    axis: ClassVar[str] = "object_colour"
    changes: ClassVar[str] = (
        "Each object and pad gets another shade for which its colour's name stays true."
    )
    ranges: ClassVar[dict[str, tuple[float, ...]]] = {
        "hue_deg": (1, 2, 3, 4.5, 6),
        "saturation_share": (0.06, 0.12, 0.18, 0.24, 0.30),
        "value_share": (0.04, 0.08, 0.12, 0.16, 0.20),
    }

    def edit(self, edits: ModelEdits, assignment: Assignment, seed: int) -> None:
        """See Perturbation."""
        rng = self.rng(seed)
        layout, model = assignment.layout, edits.model
        names = [f"object{slot}_{thing.shape}" for slot, thing in enumerate(layout.things)]
        names += [f"pad{index}" for index in range(len(layout.pads))]
        for name in names:
            signs = rng.choice([-1.0, 1.0], size=3)
            if self.level:
                rgba = edits.array("geom_rgba")[model.geom(name).id]
                rgba[:3] = self._shift(rgba[:3], signs)
        for index in range(len(layout.fixtures)):
            signs = rng.choice([-1.0, 1.0], size=3)
            for geom in fixture_geoms(model, index, "paint") if self.level else ():
                rgba = edits.array("geom_rgba")[geom]
                rgba[:3] = self._shift(rgba[:3], signs)

    def _shift(self, rgb: np.ndarray, signs: np.ndarray) -> tuple[float, float, float]:
        hue, saturation, value = rgb_to_hsv(*map(float, rgb))
        hue = (hue + signs[0] * self.amount("hue_deg") / 360) % 1.0
        # Paler or darker only: more of either would leave the range of colours.
        saturation *= 1.0 - self.amount("saturation_share") * (signs[1] > 0)
        value *= 1.0 - self.amount("value_share") * (signs[1] < 0)
        return hsv_to_rgb(hue, saturation, value)


# Clear of the hues of objects and pads.
_TABLE_COLOURS = (
    (0.36, 0.26, 0.20),  # walnut
    (0.22, 0.55, 0.56),  # teal
    (0.52, 0.36, 0.60),  # purple
    (0.24, 0.25, 0.28),  # slate
    (0.93, 0.92, 0.90),  # white
)


def draw_patterns(size: int = 128) -> list[np.ndarray]:
    """Checks, stripes, wood grain and blotches: float (size, size) in 0 (light) to 1 (dark)."""
    y, x = np.mgrid[0:size, 0:size] / size
    waves = np.random.default_rng(0).uniform(-1, 1, (12, 3)) * [5, 5, np.pi]
    blotches = sum(np.sin(2 * np.pi * (round(a) * x + round(b) * y) + c) for a, b, c in waves)
    return [
        ((np.floor(8 * x) + np.floor(8 * y)) % 2),
        (np.floor(14 * x) % 2),
        0.5 + 0.5 * np.sin(2 * np.pi * (9 * x + 0.6 * np.sin(2 * np.pi * y))),
        1.0 * (blotches > 0),
    ]


def _direction(rng: np.random.Generator) -> np.ndarray:
    """A random unit vector (3,)."""
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)
