"""Episodes as small MP4 files that any browser plays."""

import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from vla.errors import DataError
from vla.evaluation.journal import EpisodeResult
from vla.types import Observation, Outcome, Uint8

HEIGHT = 256
ENCODERS = {  # first choice first; all of them play in current browsers from an MP4 file
    "libx264": {"crf": "23", "preset": "veryfast"},
    "libvpx-vp9": {"crf": "34", "b": "0", "deadline": "realtime", "cpu-used": "6"},
    "libsvtav1": {"crf": "35", "preset": "10"},
}


class Film:
    """Frames of one episode: all cameras side by side, instruction and outcome above."""

    def __init__(self, *, hz: float):
        """`hz`: control rate; the film runs in real time."""
        self._hz = hz
        self._frames: list[dict[str, Uint8]] = []
        self._lines = ["", ""]
        self._success = False

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, observation: Observation) -> None:
        """Keep the newest image of every camera."""
        self._frames.append({name: image[-1] for name, image in observation.images.items()})

    def caption(self, instruction: str, outcome: Outcome, *, steps: int) -> None:
        """Set the two lines above the pictures (below, a player's controls would hide them)."""
        verdict = "success" if outcome.success else "failure"
        detail = f": {outcome.reason}" if outcome.reason and outcome.reason != verdict else ""
        seconds = steps / self._hz
        self._success = outcome.success
        self._lines = [instruction or "(no instruction)", f"{verdict}{detail} · {seconds:.1f} s"]

    def save(self, path: str | Path) -> None:
        """Encode to `path`, atomically; folders are made.

        Raises:
            DataError: when there is no frame or no encoder.
        """
        encode_video(path, self._compose(), hz=self._hz)

    def _compose(self) -> Iterator[Uint8]:
        """Finished RGB pictures uint8 (H, W, 3), one per frame."""
        strip = None
        for frame in self._frames:
            picture = np.concatenate([_enlarge(frame[name]) for name in sorted(frame)], axis=1)
            if strip is None:
                strip = _draw_caption(self._lines, picture.shape[1], success=self._success)
            yield np.concatenate([strip, picture])


class FilmChoice:
    """Films the first `each` successes and failures of every task."""

    def __init__(self, directory: Path, each: int):
        """Films that are in `directory` already count."""
        self._directory = directory
        self._each = each
        self._counts: dict[tuple[str, bool], int] = {}

    def count(self, result: EpisodeResult) -> None:
        """Take an earlier episode into account when its film exists."""
        if film_path(self._directory, result).exists():
            self._add(result)

    def wanted(self, task: str) -> bool:
        """Whether a film of `task` may still be chosen, so that its frames must be kept."""
        return any(self._counts.get((task, verdict), 0) < self._each for verdict in (True, False))

    def choose(self, result: EpisodeResult) -> Path | None:
        """Where to write the film of an episode that was recorded; None: drop it."""
        if self._counts.get((result.task, result.success), 0) >= self._each:
            return None
        self._add(result)
        return film_path(self._directory, result)

    def _add(self, result: EpisodeResult) -> None:
        key = (result.task, result.success)
        self._counts[key] = self._counts.get(key, 0) + 1


def film_path(directory: Path, result: EpisodeResult) -> Path:
    """Where the film of an episode lies, if it was filmed."""
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in result.task)
    return directory / "videos" / f"{safe}-{result.seed}.mp4"


def encode_video(path: str | Path, pictures: Iterable[Uint8], *, hz: float) -> None:
    """Write RGB pictures uint8 (H, W, 3), H and W even, as an MP4 with yuv420p pixels.

    H.264 where the encoder is there, else VP9 or AV1.

    Raises:
        DataError: when there is no picture or no encoder.
    """
    import av

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    pictures = iter(pictures)
    first = next(pictures, None)
    if first is None:
        raise DataError(f"There is no frame to write to {path}.")
    encoder = _find_encoder()
    options = {"movflags": "+faststart"}
    with av.open(str(temporary), "w", format="mp4", options=options) as container:
        rate = Fraction(hz).limit_denominator(1000)
        stream = container.add_stream(encoder, rate=rate, options=ENCODERS[encoder])
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"
        picture: Uint8 | None = first
        while picture is not None:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
            picture = next(pictures, None)
        container.mux(stream.encode(None))
    os.replace(temporary, path)


def _find_encoder() -> str:
    import av.codec.codec

    for name in ENCODERS:
        try:
            av.codec.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        return name
    raise DataError(
        f"PyAV has none of the encoders {', '.join(ENCODERS)}; install a wheel from PyPI "
        "(`pip install --force-reinstall av`), or set evaluation.videos=0."
    )


def _enlarge(image: Uint8) -> Uint8:
    """Scale (h, w, 3) to HEIGHT rows and an even number of columns."""
    from PIL import Image

    height, width = image.shape[:2]
    target = max(2, 2 * round(width * HEIGHT / height / 2))
    if (height, width) == (HEIGHT, target):
        return image
    resized = Image.fromarray(image).resize((target, HEIGHT), Image.Resampling.LANCZOS)
    return np.asarray(resized)


def _draw_caption(lines: list[str], width: int, *, success: bool) -> Uint8:
    """A dark strip (56, width, 3) with two lines of text, shortened to fit."""
    from PIL import Image, ImageDraw, ImageFont

    strip = Image.new("RGB", (width, 56), (24, 27, 32))
    draw = ImageDraw.Draw(strip)
    verdict = (104, 211, 145) if success else (252, 150, 130)
    for row, (text, colour) in enumerate(zip(lines, ((236, 239, 244), verdict), strict=True)):
        font = ImageFont.load_default(size=17 if row == 0 else 14)
        shown = text
        while shown and draw.textlength(shown, font=font) > width - 20:
            shown = shown[:-2].rstrip("… ") + "…" if len(shown) > 2 else ""
        draw.text((10, 7 + 24 * row), shown, fill=colour, font=font)
    return np.asarray(strip)
