"""HTML pages about data in the style of the evaluation's report; nothing is loaded from afar."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from pathlib import Path

from vla.embodiment import Axis
from vla.evaluation import charts
from vla.files import write_bytes
from vla.types import Uint8


def write_page(path: str | Path, title: str, parts: Iterable[str]) -> Path:
    """Write a self-contained page of finished HTML `parts`, replacing `path` atomically."""
    path = Path(path)
    style = Path(charts.__file__).with_name("report.css").read_text(encoding="utf-8")
    body = "\n".join(part for part in parts if part)
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1></header>\n{body}\n</body>\n</html>\n"
    )
    write_bytes(path, page.encode())
    return path


def show_section(title: str, body: str, note: str = "") -> str:
    """A card with a heading; `body` is HTML, `title` and `note` are text."""
    small = f'<p class="small">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{body}{small}</section>"


def show_unit(axis: Axis) -> str:
    """The axis' unit; nothing for a pure number."""
    return "" if axis.unit == "1" else axis.unit


def show_tiles(tiles: dict[str, str]) -> str:
    """Large figures with their names below."""
    cells = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>"
        for name, value in tiles.items()
    )
    return f'<div class="tiles">{cells}</div>'


def show_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = ()
) -> str:
    """A table of text; the columns in `numbers` are right-aligned."""
    numbers = set(numbers)

    def show(tag: str, cells: Sequence[str]) -> str:
        kinds = ["number" if column in numbers else "value" for column in range(len(cells))]
        return "".join(
            f'<{tag} class="{kind}">{escape(text)}</{tag}>'
            for kind, text in zip(kinds, cells, strict=True)
        )

    body = "".join(f"<tr>{show('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{show("th", head)}</tr>{body}</table></div>'


def show_picture(picture: Uint8, caption: str) -> str:
    """An RGB picture uint8 (H, W, 3), embedded, with a line of text."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<figure><img alt="" style="width:100%;border-radius:8px;image-rendering:pixelated" '
        f'src="data:image/jpeg;base64,{data}"><div class="small">{escape(caption)}</div></figure>'
    )


def show_film(content: bytes, caption: str) -> str:
    """An MP4 file, embedded, with a line of text."""
    data = base64.b64encode(content).decode()
    return (
        '<figure><video controls loop muted playsinline preload="metadata" '
        f'src="data:video/mp4;base64,{data}"></video>'
        f'<div class="small">{escape(caption)}</div></figure>'
    )
