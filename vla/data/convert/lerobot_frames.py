"""Pictures of a LeRobot data set: MP4 files decoded forward once, or encoded images in rows."""

import io
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from vla.data.codec import ImageCodec, JpegCodec, decode_jpeg
from vla.data.convert.lerobot_folder import Clip
from vla.errors import DataError
from vla.types import Uint8

RATE_TOLERANCE = 0.01
"""Relative; lets 29.97 pass as 30 and stops 25."""


class FilmReader:
    """Decodes one camera's MP4 files, one open at a time, in the order of the episodes.

    Args:
        fps: frames per second that the data set declares.
    """

    def __init__(self, fps: float):
        self._fps = fps
        self._clip: Clip | None = None
        self._container: Any = None

    def close(self) -> None:
        """Close the open file."""
        if self._container is not None:
            self._container.close()
        self._clip = self._container = None

    def read(self, clip: Clip, count: int) -> Iterator[Uint8]:
        """The clip's frames, uint8 (H, W, 3), RGB.

        In a file of its own, an episode has all frames, and exactly `count`. In a shared file,
        frame k is the one at `clip.start + k / fps`, to half a frame.

        Raises:
            DataError: naming the file, when it is damaged, has too few or too many frames, or
                another rate.
        """
        try:
            yield from self._whole(clip, count) if clip.start is None else self._part(clip, count)
        except (av.FFmpegError, OSError) as error:
            self.close()
            raise DataError(f"{clip.path} cannot be decoded: {error}. Copy it anew.") from error
        except DataError:
            self.close()
            raise

    def _open(self, clip: Clip) -> None:
        self.close()
        self._container = av.open(str(clip.path))
        if not self._container.streams.video:
            raise DataError(f"{clip.path} holds no video. Copy it anew.")
        stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = float(stream.average_rate or self._fps)
        if abs(rate / self._fps - 1) > RATE_TOLERANCE:
            raise DataError(
                f"{clip.path} has {rate:g} frames per second, the data set {self._fps:g}. Rates "
                "must be equal: frames and rows would drift apart. Convert the film first."
            )
        self._origin = (stream.start_time or 0) * stream.time_base
        if clip.start:
            target = int((clip.start + self._origin) / stream.time_base)
            self._container.seek(target, stream=stream)
        self._frames = self._container.decode(stream)
        self._clip, self._due = clip, 0.0

    def _whole(self, clip: Clip, count: int) -> Iterator[Uint8]:
        self._open(clip)
        found = 0
        for frame in self._frames:
            if found < count:
                yield frame.to_ndarray(format="rgb24")
            found += 1
        self.close()
        if found != count:
            raise DataError(
                f"{clip.path} has {found} frames for {count} rows. It was cut or belongs to "
                "another episode; copy it anew."
            )

    def _part(self, clip: Clip, count: int) -> Iterator[Uint8]:
        """The file stays open after the last frame, for the episode that follows in it."""
        half = 0.5 / self._fps
        begin, end = float(clip.start or 0), float(clip.stop or 0)
        # Encoders count a film's length in their own ways; each frame's time is checked below.
        if abs(end - begin - count / self._fps) > 3 * half:
            raise DataError(
                f"{clip.path}: the clip from {begin:g} to {end:g} s is not {count} frames at "
                f"{self._fps:g} per second, as the episode has rows. The set was spoilt in a "
                "conversion; get the original."
            )
        if self._clip is None or self._clip.path != clip.path or begin < self._due - half:
            self._open(clip)
        taken = 0
        while taken < count:
            frame = next(self._frames, None)
            if frame is None:
                raise DataError(
                    f"{clip.path} ends after {taken} of the {count} frames from {begin:g} s on. "
                    "It was cut, or the episode list points to the wrong file; copy it anew."
                )
            time = float(frame.pts * frame.time_base - self._origin)
            self._due = time + 2 * half
            expected = begin + taken / self._fps
            if time < begin - half:
                continue
            if abs(time - expected) > half:
                raise DataError(
                    f"{clip.path}: frame {taken} of an episode should be at {expected:.4f} s; the "
                    f"film has one at {time:.4f} s. Film and episode list do not belong together."
                )
            yield frame.to_ndarray(format="rgb24")
            taken += 1


def decode_image(content: bytes, where: str) -> Uint8:
    """A PNG or other image file as uint8 (H, W, 3). Raises DataError naming `where`."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise DataError(f"{where} is not an intact image: {error}.") from error


def resize(frame: Uint8, height: int, width: int) -> Uint8:
    """The picture at another size: Pillow's bilinear filter, which widens itself when shrinking.

    That averages over all source pixels (antialiasing); nothing is cropped, so another aspect
    ratio distorts.
    """
    if frame.shape[:2] == (height, width):
        return frame
    image = Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)


def gather(
    pictures: Iterator[Uint8 | bytes],
    *,
    source: tuple[int, int],
    target: tuple[int, int],
    codec: ImageCodec,
) -> list[bytes] | Uint8:
    """All pictures of an episode, as a store with `codec` takes them.

    A JPEG store's frames are encoded as they come, so that an episode's raw frames never
    stand in memory together; for a lossless store they must.

    Args:
        pictures: decoded frames, or JPEG files, which are kept byte for byte where they can be.
        source: height and width that the data set declares, pixels.
        target: those of the result.
        codec: of the store.

    Raises:
        DataError: when a picture has another size than declared.
    """
    kept: list[Any] = []
    for picture in pictures:
        frame = picture
        if isinstance(picture, bytes):
            if isinstance(codec, JpegCodec) and source == target:
                kept.append(picture)
                continue
            frame = np.empty((*source, 3), np.uint8)
            decode_jpeg(picture, frame)
        if frame.shape[:2] != source:
            raise DataError(
                f"A picture is {frame.shape[0]}x{frame.shape[1]}; info.json declares "
                f"{source[0]}x{source[1]}. Correct info.json."
            )
        frame = resize(frame, *target)
        kept.append(codec.encode(frame) if isinstance(codec, JpegCodec) else frame)
    return kept if isinstance(codec, JpegCodec) else np.stack(kept)
