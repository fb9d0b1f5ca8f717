"""How one camera or depth frame becomes bytes and back: the only place that knows.

A store keeps one payload per frame. `pipeline` describes it to zarr, so that any
zarr v3 reader opens the same file; `decode` is the fast path and must give the
same pixels. Training and evaluation share one JPEG decoder on purpose: decoders
differ by up to 17 grey levels.
"""

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from vla.embodiment import Camera
from vla.errors import DataError, choose
from vla.types import Uint8

Uint16 = NDArray[np.uint16]

SMALL_IMAGE = 128
"""Up to this side length (pixels) colour is kept at full resolution (4:4:4) and quality 95."""


class ImageCodec(Protocol):
    """Encodes single RGB frames. Raises DataError for a payload it cannot use."""

    def encode(self, frame: Uint8) -> bytes:
        """The payload of a frame, uint8 (H, W, 3)."""
        ...

    def adopt(self, jpeg: bytes, camera: Camera) -> bytes:
        """The payload for an existing JPEG file, the same bytes where that is possible."""
        ...

    def decode(self, payload: bytes, out: Uint8) -> None:
        """Write the frame into `out`, uint8 (H, W, 3), C-contiguous. Releases the GIL."""
        ...

    def pipeline(self) -> list[dict[str, Any]]:
        """Zarr v3 codecs of one payload, serializer first."""
        ...

    def to_json(self) -> dict[str, Any]:
        """What `restore_codec` needs to rebuild it."""
        ...


@dataclass(frozen=True, kw_only=True)
class JpegCodec:
    """JPEG files, readable through zarr with `imagecodecs-zarr`.

    Attributes:
        quality: 1 to 100.
        subsampling: "444" (full colour resolution) or "420" (half).
    """

    quality: int = 95
    subsampling: str = "444"

    def encode(self, frame: Uint8) -> bytes:
        """The JPEG file of a frame."""
        return simplejpeg.encode_jpeg(
            np.ascontiguousarray(frame), quality=self.quality, colorsubsampling=self.subsampling
        )

    def adopt(self, jpeg: bytes, camera: Camera) -> bytes:
        """The same bytes, once they have been decoded without complaint."""
        decode_jpeg(jpeg, np.empty((camera.height, camera.width, 3), np.uint8))
        return bytes(jpeg)

    def decode(self, payload: bytes, out: Uint8) -> None:
        """Decode with libjpeg-turbo (simplejpeg)."""
        decode_jpeg(payload, out)

    def pipeline(self) -> list[dict[str, Any]]:
        """One array-to-bytes codec; the level is informative, decoding does not need it."""
        return [{"name": "imagecodecs_jpeg", "configuration": {"level": self.quality}}]

    def to_json(self) -> dict[str, Any]:
        """Name and parameters."""
        return {"name": "jpeg", **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class ZstdCodec:
    """Lossless pixels, about ten times the bytes of JPEG, readable by plain zarr v3.

    Attributes:
        level: 1 (fast) to 22 (small).
    """

    level: int = 3

    def encode(self, frame: Uint8 | Uint16) -> bytes:
        """The compressed raw pixels, little-endian."""
        raw = np.ascontiguousarray(frame).tobytes()
        return bytes(imagecodecs.zstd_encode(raw, level=self.level))

    def adopt(self, jpeg: bytes, camera: Camera) -> bytes:
        """The decoded pixels; the source file's bytes are not kept."""
        pixels = np.empty((camera.height, camera.width, 3), np.uint8)
        decode_jpeg(jpeg, pixels)
        return self.encode(pixels)

    def decode(self, payload: bytes, out: Uint8 | Uint16) -> None:
        """Decompress and reshape."""
        try:
            raw = imagecodecs.zstd_decode(payload)
        except imagecodecs.ZstdError as error:
            raise DataError(f"A frame is not a zstd payload: {error}.") from error
        if len(raw) != out.nbytes:
            raise DataError(f"A frame holds {len(raw)} bytes; {out.shape} needs {out.nbytes}.")
        out[...] = np.frombuffer(raw, out.dtype.newbyteorder("<")).reshape(out.shape)

    def pipeline(self) -> list[dict[str, Any]]:
        """Raw bytes, then zstd. Zarr drops the byte order where a value is one byte."""
        zstd = {"name": "zstd", "configuration": {"level": self.level, "checksum": False}}
        return [{"name": "bytes", "configuration": {"endian": "little"}}, zstd]

    def to_json(self) -> dict[str, Any]:
        """Name and parameters."""
        return {"name": "zstd", **asdict(self)}


DEPTH_CODEC = ZstdCodec()
"""Depth is always lossless: an error of one level is a millimetre, and edges must stay edges."""

CODECS: dict[str, type[JpegCodec] | type[ZstdCodec]] = {"jpeg": JpegCodec, "zstd": ZstdCodec}


def build_codec(name: str, cameras: dict[str, Camera]) -> ImageCodec:
    """The codec "jpeg" or "zstd" with settings that suit the largest camera.

    JPEG: quality 95 at 4:4:4 up to `SMALL_IMAGE` pixels a side, where a coloured block is a
    few pixels wide and half colour resolution would smear it; quality 90 at 4:2:0 above.
    """
    kind = choose("image codec", name, CODECS)
    sides = [side for camera in cameras.values() for side in (camera.height, camera.width)]
    if kind is JpegCodec and max(sides, default=0) > SMALL_IMAGE:
        return JpegCodec(quality=90, subsampling="420")
    return kind()


def restore_codec(value: dict[str, Any]) -> ImageCodec:
    """Rebuild from `to_json`'s value. Raises UnknownChoice or DataError."""
    parameters = dict(value)
    kind = choose("image codec", parameters.pop("name", ""), CODECS)
    try:
        return kind(**parameters)
    except TypeError as error:
        raise DataError(f"Image codec {value} is not understood: {error}.") from error


def decode_jpeg(payload: bytes, out: Uint8) -> None:
    """Decode an RGB JPEG of exactly `out.shape` into `out`. Raises DataError otherwise."""
    try:
        height, width, colour, _ = simplejpeg.decode_jpeg_header(payload)
        if (height, width) != out.shape[:2] or colour not in ("YCbCr", "RGB"):
            raise DataError(
                f"A JPEG frame is {height}x{width} {colour}; the camera is declared "
                f"{out.shape[0]}x{out.shape[1]} in colour. Resize the source, or declare its size."
            )
        simplejpeg.decode_jpeg(payload, "RGB", buffer=out)
    except ValueError as error:
        raise DataError(f"A frame is not an intact JPEG: {error}.") from error
