"""What do the images of the benchmarks have in common? Frame, ground, and how their words look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["document"]

_SMALL = "font-size: 11px; fill: #57606a;"
_STYLES = {
    "text": 'font-family: "Helvetica Neue", Helvetica, Arial, sans-serif; fill: #1f2328;',
    ".title": "font-size: 14px; font-weight: 600;",
    ".small": _SMALL,
    ".right": f"{_SMALL} text-anchor: end;",
    ".middle": f"{_SMALL} text-anchor: middle;",
    ".line": "stroke: #d0d7de; stroke-width: 1;",
}


def document(
    title: str, width: int, height: int, styles: Mapping[str, str], lines: Iterable[str]
) -> str:
    """An SVG image. title: for who cannot see it. styles: of its own, by selector. lines: its
    elements."""
    rules = (f"    {each} {{ {style} }}\n" for each, style in {**_STYLES, **styles}.items())
    drawn = (f"  {line}\n" for line in lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'aria-labelledby="title">\n'
        f'  <title id="title">{title}</title>\n'
        f"  <style>\n{''.join(rules)}  </style>\n"
        f'  <rect width="{width}" height="{height}" rx="12" fill="#ffffff"/>\n'
        f"{''.join(drawn)}</svg>\n"
    )
