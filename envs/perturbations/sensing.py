"""Axes that change what reaches the policy, not the scene."""

from dataclasses import dataclass
from io import BytesIO
from typing import ClassVar
from zlib import crc32

import numpy as np

from envs.perturbations.perturbation import Perturbation
from vla.types import Float32, Uint8


@dataclass(frozen=True, kw_only=True, slots=True)
class SensorNoise(Perturbation):
    """Blurred, noisy pictures and a noisy state; other noise at every instant."""

    axis: ClassVar[str] = "sensor_noise"
    changes: ClassVar[str] = (
        "Pictures are blurred and noisy; joint angles and the tool's pose are noisy "
        "(standard deviations; the blur's is a share of the picture's width)."
    )
    ranges: ClassVar[dict[str, tuple[float, ...]]] = {
        "image_noise_of_255": (4, 8, 14, 22, 32),
        "blur_share": (0.002, 0.004, 0.007, 0.010, 0.014),
        "joint_noise_rad": (0.002, 0.004, 0.008, 0.014, 0.02),
        "tool_noise_m_or_rad": (0.001, 0.002, 0.004, 0.007, 0.010),
    }

    def see(self, image: Uint8, camera: str, seed: int, tick: int) -> Uint8:
        """See Perturbation."""
        from scipy.ndimage import gaussian_filter

        blur = self.amount("blur_share") * image.shape[1]
        soft = gaussian_filter(image.astype(np.float32), sigma=(blur, blur, 0.0))
        noise = self.rng(seed, tick, crc32(camera.encode())).standard_normal(image.shape)
        return _to_pixels(soft + self.amount("image_noise_of_255") * noise)

    def sense(self, state: Float32, seed: int, tick: int) -> Float32:
        """See Perturbation."""
        noise = self.rng(seed, tick).standard_normal(state.size)
        noise[:7] *= self.amount("joint_noise_rad")
        noise[7:13] *= self.amount("tool_noise_m_or_rad")
        noise[13:] = 0.0
        return state + noise.astype(np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class VisualMatching(Perturbation):
    """The colours of another camera: gamma, contrast, saturation, white balance and JPEG.

    One grading per episode, the same for both cameras.
    """

    axis: ClassVar[str] = "visual_matching"
    changes: ClassVar[str] = (
        "Pictures are graded as another camera would: gamma, contrast, saturation, white "
        "balance, and JPEG (100 minus its quality)."
    )
    ranges: ClassVar[dict[str, tuple[float, ...]]] = {
        "gamma_octaves": (0.08, 0.16, 0.25, 0.36, 0.50),
        "contrast_share": (0.05, 0.10, 0.16, 0.23, 0.30),
        "saturation_share": (0.08, 0.16, 0.26, 0.38, 0.50),
        "balance_share": (0.02, 0.04, 0.06, 0.08, 0.10),
        "jpeg_loss": (20, 40, 55, 70, 82),
    }

    def see(self, image: Uint8, camera: str, seed: int, tick: int) -> Uint8:
        """See Perturbation."""
        if not self.level:
            return image
        rng = self.rng(seed)
        signs = rng.choice([-1.0, 1.0], size=2)
        colours = image.astype(np.float32) / 255
        colours = colours ** (2.0 ** (signs[0] * self.amount("gamma_octaves")))
        middle = colours.mean()  # about it, so that contrast does not also brighten
        colours = middle + (colours - middle) * (1.0 + signs[1] * self.amount("contrast_share"))
        grey = colours.mean(axis=2, keepdims=True)
        colours = grey + (colours - grey) * (1.0 - self.amount("saturation_share"))
        colours *= 1.0 + self.amount("balance_share") * rng.permutation([-1.0, 0.0, 1.0])
        return self._compress(_to_pixels(255 * colours))

    def _compress(self, image: Uint8) -> Uint8:
        from PIL import Image

        file = BytesIO()
        quality = 100 - int(self.amount("jpeg_loss"))
        Image.fromarray(image).save(file, format="jpeg", quality=quality)
        return np.array(Image.open(file))


def _to_pixels(values: np.ndarray) -> Uint8:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
