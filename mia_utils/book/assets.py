"""The book's third Sphinx extension: pages that load little, and nothing from outside.

Of the theme's icons (a script of 1.5 MB, fonts of 1 MB) the used ones remain, as one small font; the
index of the search is loaded by the search alone; pictures below the fold when they are reached.
"""

from __future__ import annotations

import re
from pathlib import Path

_ICON = re.compile(r'((?:\.fa-[\w-]+:before,?)+)\{content:"([^"]*)"\}')
_USED = re.compile(r"fa-[a-z0-9-]+")
_CODE = re.compile(r"\\(f[0-9a-f]{3})|([\ue000-\uf8ff])")
_FACE = re.compile(r"@font-face\{[^}]*Font Awesome[^}]*\}")
_IMAGE = re.compile(r"<img\b[^>]*>")
_TOGGLE = (
    '<summary><span class="toctree-toggle"',
    '<summary aria-label="Show or hide the pages below"><span class="toctree-toggle"',
)
"""The theme's sidebar names these switches by an icon alone."""
_FONT = "vendor/fontawesome/webfonts/fa-solid-900"
EAGER = 1
"""Pictures of a page that are loaded at once."""

# ---- icons -------------------------------------------------------------------------------------


def used_icons(css: str, html: str) -> str:
    """The theme's style sheet with the rules of those icons that pages name."""
    used = set(_USED.findall(html))

    def kept(match: re.Match) -> str:
        return match[0] if used & set(_USED.findall(match[1])) else ""

    face = (
        '@font-face{font-display:block;font-family:"Font Awesome 6 Free";font-weight:900;'
        f"src:url(../{_FONT}.woff) format('woff')}}"
    )
    return face + _FACE.sub("", _ICON.sub(kept, css))


def subset_font(source: Path, destination: Path, codes: set[int]) -> None:
    """Write those characters of a font as WOFF."""
    from fontTools import subset

    options = subset.Options(flavor="woff", layout_features=[], name_IDs=["*"], notdef_outline=True)
    with subset.load_font(source, options) as font:
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=codes)
        subsetter.subset(font)
        subset.save_font(font, destination, options)


def slim(out: Path) -> None:
    """Leave in a built book the icons that its pages show."""
    static = out / "_static"
    sheet = static / "styles/pydata-sphinx-theme.css"
    source = static / f"{_FONT}.ttf"
    if not sheet.exists() or not source.exists():
        return
    html = " ".join(page.read_text("utf-8") for page in out.rglob("*.html"))
    sheet.write_text(used_icons(sheet.read_text("utf-8"), html), "utf-8")
    rules = " ".join(page.read_text("utf-8") for page in static.rglob("*.css"))
    codes = {int(m[1], 16) if m[1] else ord(m[2]) for m in _CODE.finditer(rules)}
    font = static / f"{_FONT}.woff"
    subset_font(source, font, codes)
    for left in font.parent.iterdir():
        if left != font:
            left.unlink()
    for left in (static / "scripts").glob("fontawesome.js*"):
        left.unlink()


# ---- pictures ----------------------------------------------------------------------------------


def image_size(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture in CSS pixels, None if it has none."""
    if path.suffix == ".svg":
        head = path.read_text("utf-8", errors="replace")[:4000]
        box = re.search(r'viewBox="[\d.-]+ [\d.-]+ ([\d.]+) ([\d.]+)"', head)
        unit = 4 / 3 if re.search(r'<svg[^>]* width="[\d.]+pt"', head) else 1
        return (round(float(box[1]) * unit), round(float(box[2]) * unit)) if box else None
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, UnidentifiedImageError):
        return None


def svg_class(path: Path) -> str:
    """How the dark theme shall treat a picture: turn a drawing round, leave photographs."""
    return "photograph" if 'id="photograph"' in path.read_text("utf-8") else "drawing"


def with_class(tag: str, name: str) -> str:
    """An element's tag with one class more."""
    if 'class="' in tag:
        return tag.replace('class="', f'class="{name} ', 1)
    return f'<img class="{name}"{tag[4:]}'


def sized_images(body: str, folder: Path) -> str:
    """Every picture of a page with its size, so that nothing jumps, and loaded when it is near."""
    count = 0

    def sized(match: re.Match) -> str:
        nonlocal count
        count += 1
        tag = match[0]
        source = re.search(r'src="([^"]+)"', tag)
        path = folder / source[1] if source else None
        if path and path.suffix == ".svg" and path.is_file():
            tag = with_class(tag, svg_class(path))
        extra = "" if count <= EAGER or "loading=" in tag else ' loading="lazy"'
        if "width=" not in tag and path and path.is_file():
            size = image_size(path)
            extra += f' width="{size[0]}" height="{size[1]}"' if size else ""
        return f"<img{extra}{tag[4:]}"

    return _IMAGE.sub(sized, body)


# ---- Sphinx ------------------------------------------------------------------------------------


def _without_thebe(app, page, template, context, doctree) -> None:
    # Jupyter Book always loads it; it fetches its library from a server when it is started.
    context["script_files"] = [
        s
        for s in context["script_files"]
        if "thebe" not in f"{s}{getattr(s, 'attributes', '')}".lower()
    ]


def _finish(app, error) -> None:
    if error is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    for page in out.rglob("*.html"):
        if "_static" not in page.parts:
            text = page.read_text("utf-8")
            better = sized_images(text.replace(*_TOGGLE), page.parent)
            if better != text:
                page.write_text(better, "utf-8")
    slim(out)


def setup(app) -> dict:
    """Register with Sphinx."""
    app.connect("html-page-context", _without_thebe)
    app.connect("build-finished", _finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
