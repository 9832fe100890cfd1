"""HTML from texts, tables and figures; every text is escaped here and nowhere else."""

import base64
import html
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_SALT = "ecgtext_plugins"  # of the ids inside SVG files: the same figure gives the same bytes
_SHADES = 48  # of an ECG drawing's palette
_WIDE = 7.0  # inches
_MISSING = "–"


@dataclass(frozen=True)
class Cell:
    """A table's cell: `text` as shown, `value` as sorted by (the text when None), `html` instead of the text."""

    text: str
    value: float | str | None = None
    html: str | None = None


def escape(text: object) -> str:
    """Return a text that is safe between tags and in quoted attributes."""
    return html.escape(str(text), quote=True)


def breakable(name: str) -> str:
    """Return an escaped name that a small screen may break after underscores."""
    return escape(name).replace("_", "_<wbr>")


def number(value: float | None, digits: int = 3) -> Cell:
    """Return a cell for a number; a dash for None and nan, sorted last."""
    if value is None or value != value:
        return Cell(_MISSING, "")
    return Cell(f"{value:.{digits}f}", float(value))


def interval(low_high: tuple[float, float] | None, digits: int = 3) -> Cell:
    """Return a cell for an interval, sorted by its lower end."""
    if low_high is None or low_high[0] is None or low_high[0] != low_high[0]:
        return Cell(_MISSING, "")
    return Cell(f"{low_high[0]:.{digits}f}–{low_high[1]:.{digits}f}", float(low_high[0]))


def count(value: int | None) -> Cell:
    """Return a cell for a whole number."""
    return Cell(_MISSING, "") if value is None else Cell(f"{value:,}", value)


def table(
    caption: str,
    headers: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    kinds: Sequence[str] | None = None,
    sortable: bool = True,
) -> str:
    """Return a table whose first column names its rows.

    Parameters
    ----------
    kinds : sequence of str, optional
        A CSS class of each row.
    sortable : bool
        Whether the page's script makes the headers into buttons, and the search box filters the rows.
    """
    right = [any(_is_numeric(row[column]) for row in rows) for column in range(len(headers))]
    head = "".join(
        f'<th scope="col"{" class=number" if end else ""}>{escape(name)}</th>'
        for name, end in zip(headers, right, strict=True)
    )
    body = []
    for place, row in enumerate(rows):
        kind = f' class="{escape(kinds[place])}"' if kinds and kinds[place] else ""
        body.append(f"<tr{kind}>" + "".join(_cell(cell, column == 0) for column, cell in enumerate(row)) + "</tr>")
    style = ' class="sortable"' if sortable else ""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table{style}>'
        f"<caption><span>{escape(caption)}</span></caption><thead><tr>{head}</tr></thead>\n<tbody>"
        + "\n".join(body)
        + "</tbody></table></div>\n"
    )


def _cell(cell: Cell, first: bool) -> str:
    value = "" if cell.value is None else f' data-value="{escape(cell.value)}"'
    tag, scope = ("th", ' scope="row"') if first else ("td", "")
    numeric = ' class="number"' if _is_numeric(cell) else ""
    shown = cell.html if cell.html is not None else breakable(cell.text) if first else escape(cell.text)
    return f"<{tag}{scope}{numeric}{value}>{shown}</{tag}>"


def _is_numeric(cell: Cell) -> bool:
    return isinstance(cell.value, (int, float)) or cell.value == ""


def facts(pairs: Sequence[tuple[str, object]]) -> str:
    """Return a list of names and values; what JSON can nest is told as JSON."""
    told = [(name, json.dumps(value) if isinstance(value, (dict, list)) else value) for name, value in pairs]
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in told)
    return f"<dl>{items}</dl>\n"


def section(identity: str, title: str, content: str) -> str:
    """Return a section that its heading names."""
    heading = f'<h2 id="{identity}-title">{escape(title)}</h2>'
    return f'<section id="{identity}" aria-labelledby="{identity}-title">{heading}{content}</section>\n'


def chart(figure: Figure, alt: str, caption: str) -> str:
    """Return a figure as an SVG image inside the page."""
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": _SALT, "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    image = f'<img {_size(figure)} alt="{escape(alt)}" src="{_data_uri("svg+xml", buffer.getvalue())}">'
    if figure.get_figwidth() > _WIDE:  # scrolls on a small screen, where its letters would be too small
        image = f'<div class="scroll wide" role="region" tabindex="0" aria-label="{escape(caption)}">{image}</div>'
    return f'<figure class="chart">{image}<figcaption>{escape(caption)}</figcaption></figure>\n'


def photograph(figure: Figure, alt: str, dpi: float = 110.0) -> str:
    """Return a figure with many points and few colours as a PNG image: a twentieth of its SVG."""
    from PIL import Image

    figure.set_dpi(dpi)
    canvas, small = FigureCanvasAgg(figure), io.BytesIO()
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    picture.quantize(_SHADES, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return f'<img {_size(figure)} alt="{escape(alt)}" src="{_data_uri("png", small.getvalue())}">'


def _size(figure: Figure) -> str:
    width, height = figure.get_size_inches() * 96  # CSS pixels
    return f'width="{round(width)}" height="{round(height)}"'


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
