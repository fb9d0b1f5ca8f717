import numpy as np
import pytest
import simplejpeg

from vla.data.codec import JpegCodec, ZstdCodec, build_codec, restore_codec
from vla.embodiment import Camera
from vla.errors import DataError


def _scene(side: int) -> np.ndarray:
    """A table with coloured blocks 6 pixels wide, as a small policy camera sees it."""
    rows, columns = np.mgrid[:side, :side]
    image = np.stack([150 + rows // 2, 130 + columns // 4, 110 + rows // 4], axis=-1)
    colours = [(200, 40, 30), (30, 160, 60), (40, 70, 200), (220, 190, 40)]
    for number, colour in enumerate(colours):
        top, left = 10 + 11 * number, 8 + 12 * number
        image[top : top + 6, left : left + 6] = colour
    return image.clip(0, 255).astype(np.uint8)


def _psnr(one: np.ndarray, other: np.ndarray) -> float:
    error = np.square(one.astype(float) - other).mean()
    return 10 * np.log10(255**2 / error)


def test_small_images_stay_crisp():
    image, out = _scene(64), np.empty((64, 64, 3), np.uint8)
    codec = build_codec("jpeg", {"front": Camera(height=64, width=64)})
    codec.decode(codec.encode(image), out)
    small = _psnr(image, out)
    half = JpegCodec(quality=95, subsampling="420")
    half.decode(half.encode(image), out)
    assert small > 40
    assert small > _psnr(image, out) + 3


def test_large_images_take_fewer_bytes():
    codec = build_codec("jpeg", {"a": Camera(height=8, width=8), "b": Camera(height=8, width=224)})
    assert codec == JpegCodec(quality=90, subsampling="420")


@pytest.mark.parametrize("codec", [JpegCodec(quality=80), ZstdCodec(level=5)])
def test_json_restores_an_equal_codec(codec):
    assert restore_codec(codec.to_json()) == codec


def test_zstd_is_lossless_and_takes_jpegs():
    codec, out = ZstdCodec(), np.empty((64, 64, 3), np.uint8)
    codec.decode(codec.encode(_scene(64)), out)
    np.testing.assert_array_equal(out, _scene(64))
    jpeg = simplejpeg.encode_jpeg(_scene(64))
    codec.decode(codec.adopt(jpeg, Camera(height=64, width=64)), out)
    np.testing.assert_array_equal(out, simplejpeg.decode_jpeg(jpeg))


def test_jpeg_that_does_not_fit_is_refused():
    codec = JpegCodec()
    file = codec.encode(_scene(64))
    with pytest.raises(DataError, match="64x64"):
        codec.adopt(file, Camera(height=64, width=65))
    with pytest.raises(DataError, match="intact"):
        codec.adopt(file[: len(file) // 2], Camera(height=64, width=64))
    grey = simplejpeg.encode_jpeg(np.zeros((64, 64, 1), np.uint8), colorspace="GRAY")
    with pytest.raises(DataError, match="Gray"):
        codec.adopt(grey, Camera(height=64, width=64))


def test_foreign_payloads_are_refused():
    out = np.empty((8, 8, 3), np.uint8)
    with pytest.raises(DataError, match="zstd"):
        ZstdCodec().decode(b"????", out)
    with pytest.raises(DataError, match="bytes"):
        ZstdCodec().decode(ZstdCodec().encode(_scene(64)), out)


@pytest.mark.parametrize("codec", [JpegCodec(), ZstdCodec()])
@pytest.mark.parametrize("shape", [(8, 8, 3), (64, 65, 3), (65, 64, 3)])
def test_decoding_into_another_size_is_refused(codec, shape):
    payload = memoryview(codec.encode(_scene(64)))
    with pytest.raises(DataError, match=r"64x64|bytes"):
        codec.decode(payload, np.empty(shape, np.uint8))
    with pytest.raises(DataError, match=r"64x64|bytes"):
        codec.decode(payload, np.empty((4, 4, 3), np.uint8), shape[:2])  # stored at another size


@pytest.mark.parametrize("codec", [JpegCodec(), ZstdCodec()])
def test_damaged_payloads(codec):
    payload, out = codec.encode(_scene(64)), np.empty((64, 64, 3), np.uint8)
    for stored, into in ((None, out), ((64, 64), out[:16, :16].copy())):
        with pytest.raises(DataError, match=r"intact|zstd"):
            codec.decode(payload[: len(payload) // 2], into, stored)
