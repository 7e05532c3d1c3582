"""A small builder of HTML pages that need nothing but themselves.

Conventions
-----------
* A page is one file: styles, script, figures and sound are inside it, and its content policy forbids the
  browser to fetch anything else.
* Functions named after a thing return its HTML. Text that comes from outside goes through :func:`escape`
  exactly once, where it enters the HTML.
* Figures are inline SVG with real text, so that they scale, follow the light or dark theme and can be read
  aloud.
"""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources

import matplotlib as mpl
import numpy as np
import pandas as pd
import soundfile
import soxr
from matplotlib.figure import Figure

from m2l2_mir.report.drawing import INK, MUTED, PAPER, RULE

CLIP_RATE = 44_100

_THEME = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", PAPER: "var(--card)"}
_PRINT = {INK: "#1c1f23", MUTED: "#50565e", RULE: "#dddcd7", PAPER: "#ffffff"}
_RASTER_DPI = 144  # of what is drawn as pixels, such as thousands of points
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "script-src 'unsafe-inline'",
        "img-src data:",
        "media-src data:",
    ]
)


def escape(text: object) -> str:
    """Make anything safe as HTML text or attribute value.

    Examples
    --------
    >>> escape('<b> & "c"')
    '&lt;b&gt; &amp; &quot;c&quot;'
    """
    return html.escape(str(text), quote=True)


def figure_svg(figure: Figure, *, alt: str, identifier: str) -> str:
    """Turn a figure into inline SVG.

    Parameters
    ----------
    figure : Figure
        Drawn by :mod:`m2l2_mir.report.drawing`.
    alt : str
        What the figure shows, for who cannot see it.
    identifier : str
        Distinct within the page; it keeps the ids inside the figures apart.
    """
    svg = _svg(figure)
    view = re.search(r'viewBox="([^"]+)"', svg)
    box = view.group(1) if view else ""
    opening = f'<svg viewBox="{box}" role="img" aria-label="{escape(alt)}">'
    svg = re.sub(r"^<svg[^>]*>", lambda _: opening, svg)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{identifier}-", svg)
    svg = re.sub(r"font: ([^;\"]*?px) [^;\"]+", r"font: \1 var(--sans)", svg)
    return _inked(svg, _THEME)


def figure_file(figure: Figure) -> bytes:
    """Turn a figure into an SVG file on white paper, for print and slides."""
    svg = _svg(figure)
    svg = re.sub(r"^<svg[^>]*>", lambda opening: f'{opening[0]}<rect width="100%" height="100%" fill="#ffffff"/>', svg)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{_inked(svg, _PRINT)}\n'.encode()


def figure(svg: str, *, caption: str = "") -> str:
    """Wrap inline SVG with a caption, which is HTML."""
    legend = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure>{svg}{legend}</figure>"


def audio_uri(waveform: np.ndarray, sample_rate: int, *, seconds: float) -> str:
    """Encode the beginning of a recording as a ``data:`` URI every browser plays.

    Parameters
    ----------
    waveform : np.ndarray [shape=(samples,)]
    sample_rate : int
    seconds : float
        Longest clip.

    Returns
    -------
    str
        Mono MP3, about 8 kB a second; Ogg Vorbis where libsndfile was built without MP3.
    """
    clip = np.nan_to_num(waveform[: max(1, round(seconds * sample_rate))])
    if sample_rate != CLIP_RATE:
        clip = soxr.resample(clip, sample_rate, CLIP_RATE)
    container, media_type = ("MP3", "audio/mpeg") if "MP3" in soundfile.available_formats() else ("OGG", "audio/ogg")
    buffer = io.BytesIO()
    # 0.6 is about 64 kbit/s for MP3 and quality 4 for Vorbis
    soundfile.write(buffer, np.clip(clip, -1, 1), CLIP_RATE, format=container, compression_level=0.6)
    return f"data:{media_type};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def table(frame: pd.DataFrame, *, caption: str = "", numeric: Sequence[str] = ()) -> str:
    """Turn a data frame into a table, without its index.

    Parameters
    ----------
    frame : pandas.DataFrame
        Cells are printed with `str`, so round numbers first.
    caption : str
        Plain text.
    numeric : sequence of str
        Columns to align right.
    """
    classes = {name: ' class="number"' if name in numeric else "" for name in map(str, frame.columns)}
    head = "".join(f'<th scope="col"{classes[name]}>{escape(name)}</th>' for name in classes)
    rows = []
    for record in frame.to_dict("records"):
        # The name of the column goes along: narrow screens show each row as a card.
        cells = (
            f'<td data-name="{escape(name)}"{classes[name]}>{escape(value)}</td>'
            for name, value in zip(classes, record.values(), strict=True)
        )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def definitions(entries: Mapping[str, object]) -> str:
    """List names and values, such as where numbers come from; nested values are printed as JSON."""
    items = []
    for name, value in entries.items():
        nested = isinstance(value, Mapping | list | tuple)
        text = json.dumps(value, ensure_ascii=False, default=str) if nested else str(value)
        items.append(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>")
    return f'<dl class="definitions">{"".join(items)}</dl>'


def section(heading: str, *blocks: str, intro: str = "") -> str:
    """One section of a page: a heading and an introduction (plain text), then blocks of HTML."""
    lead = f'<p class="intro">{escape(intro)}</p>' if intro else ""
    return f"<section><h2>{escape(heading)}</h2>{lead}{''.join(blocks)}</section>"


def page(title: str, *sections: str, lede: str, badge: str = "", badge_note: str = "") -> str:
    """Assemble a page.

    Parameters
    ----------
    title, lede : str
        Heading and opening sentence, plain text.
    *sections : str
        HTML, from :func:`section`.
    badge, badge_note : str
        A warning the reader must not miss and its explanation, plain text.
    """
    style = _asset("page.css")
    script = _asset("page.js")
    mark = ""
    if badge:
        mark = f'<p class="badge-line"><strong class="badge">{escape(badge)}</strong> {escape(badge_note)}</p>'
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f'<header><h1>{escape(title)}</h1><p class="lede">{escape(lede)}</p>{mark}</header>'
        f"<main>{''.join(sections)}</main><script>{script}</script></body></html>\n"
    )


def _svg(figure: Figure) -> str:
    """A figure as one ``<svg>`` element with real text, the same bytes for the same figure."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "m2l2-mir"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, dpi=_RASTER_DPI)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)


def _inked(svg: str, colours: Mapping[str, str]) -> str:
    for placeholder, colour in colours.items():
        svg = svg.replace(placeholder, colour)
    return re.sub(r">\s+<", "><", svg).strip()


def _asset(name: str) -> str:
    return resources.files("m2l2_mir.report").joinpath(name).read_text(encoding="utf-8")
