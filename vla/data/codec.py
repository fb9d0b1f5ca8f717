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
Payload = bytes | memoryview
Size = tuple[int, ...]
"""(height, width) in pixels."""

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

    def decode(self, payload: Payload, out: Uint8, stored: Size | None = None) -> None:
        """Write the frame into `out`, uint8 (H, W, 3), C-contiguous. Releases the GIL.

        `stored` is the frame's own (height, width) where it differs from that of `out`; the
        picture is then resized to fit, without aliasing.
        """
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

    def decode(self, payload: Payload, out: Uint8, stored: Size | None = None) -> None:
        """Decode with libjpeg-turbo (simplejpeg)."""
        if stored in (None, out.shape[:2]):
            _decode_trusted(payload, out)
        else:
            _resize_jpeg(payload, out, stored)

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

    def decode(self, payload: Payload, out: Uint8 | Uint16, stored: Size | None = None) -> None:
        """Decompress in place, or aside and resize."""
        fits = stored in (None, out.shape[:2])
        pixels = out if fits else np.empty((*stored, *out.shape[2:]), out.dtype)
        try:
            raw = imagecodecs.zstd_decode(
                payload, out=memoryview(pixels.reshape(-1).view(np.uint8))
            )
        except imagecodecs.ZstdError as error:
            raise DataError(
                f"A frame is not a zstd payload of at most {pixels.nbytes} bytes: {error}."
            ) from error
        if len(raw) != pixels.nbytes:
            raise DataError(
                f"A frame holds {len(raw)} bytes; {pixels.shape} needs {pixels.nbytes}."
            )
        if not fits:
            _resize(pixels, out)

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


def decode_jpeg(payload: Payload, out: Uint8) -> None:
    """Decode an RGB JPEG of exactly `out.shape` into `out`. Raises DataError otherwise."""
    _check_jpeg(payload, out.shape[:2])
    _decode_trusted(payload, out)


def _check_jpeg(payload: Payload, size: Size) -> None:
    """Raise DataError unless the header tells of a colour picture of this size."""
    try:
        height, width, colour, _ = simplejpeg.decode_jpeg_header(payload)
    except ValueError as error:
        raise DataError(f"A frame is not an intact JPEG: {error}.") from error
    if (height, width) != size or colour not in ("YCbCr", "RGB"):
        raise DataError(
            f"A JPEG frame is {height}x{width} {colour}; the camera is declared "
            f"{size[0]}x{size[1]} in colour. Resize the source, or declare its size."
        )


def _decode_trusted(payload: Payload, out: Uint8) -> None:
    """Decode what was checked when it was stored; only the size is looked at again."""
    try:
        pixels = simplejpeg.decode_jpeg(payload, "RGB", buffer=out)
    except ValueError as error:
        _check_jpeg(payload, out.shape[:2])  # a buffer that is too small: say it in pixels
        raise DataError(f"A frame is not an intact JPEG: {error}.") from error
    if pixels.shape != out.shape:  # a buffer that is too large passes
        _check_jpeg(payload, out.shape[:2])


def _resize_jpeg(payload: Payload, out: Uint8, stored: Size) -> None:
    """Decode at the smallest eighth of the size that is enough, then resize to `out`."""
    _check_jpeg(payload, stored)
    height, width = out.shape[:2]
    try:
        pixels = simplejpeg.decode_jpeg(
            payload, "RGB", min_height=height, min_width=width, min_factor=1
        )
    except ValueError as error:
        raise DataError(f"A frame is not an intact JPEG: {error}.") from error
    _resize(pixels, out)


def _resize(pixels: Uint8 | Uint16, out: Uint8 | Uint16) -> None:
    """Fill `out` with `pixels` at another size; the aspect ratio is not kept.

    Shrinking averages over the area a pixel covers, which does not alias; growing is cubic.
    Depth (uint16) takes the nearest reading: a mean across an edge lies on no surface.
    """
    import cv2

    cv2.setNumThreads(1)  # loaders thread over batches; OpenCV's own pool does not survive a fork
    shrinks = pixels.shape[0] >= out.shape[0] and pixels.shape[1] >= out.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    if pixels.dtype == np.uint16:
        how = cv2.INTER_NEAREST
    cv2.resize(pixels, out.shape[1::-1], dst=out, interpolation=how)
