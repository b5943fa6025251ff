"""The book's second Sphinx extension: formulas, the search index, and what stands in a page's head.

Formulas are written into the page as TeX and drawn by KaTeX, which lies in the book: a quarter of
what MathJax needs.
"""

from __future__ import annotations

import re
from html import escape

from . import contents, decorate

_ENVIRONMENT = re.compile(r"\s*\\begin\{")
DESCRIPTION = 160
"""Characters of a page's description, as search engines show them."""

# ---- formulas ----------------------------------------------------------------------------------


def _tex(text: str) -> str:
    """A displayed formula for KaTeX: lines broken by a double backslash need an environment."""
    if "\\\\" in text and not _ENVIRONMENT.match(text):
        return f"\\begin{{aligned}}{text}\\end{{aligned}}"
    return text


def _inline_formula(self, node) -> None:
    from docutils.nodes import SkipNode

    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(f"{escape(node.astext())}</span>")
    raise SkipNode


def _block_formula(self, node) -> None:
    from docutils.nodes import SkipNode

    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({node["number"]})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(f'<span class="tex">{escape(_tex(node.astext()))}</span></div>\n')
    raise SkipNode


# ---- search ------------------------------------------------------------------------------------


def _keep_copies_out_of_the_search(app) -> None:
    """The search finds a chapter at the page that a reader meets, once."""
    builder = app.builder
    index_page = getattr(builder, "index_page", None)
    if index_page is None:
        return

    def index_met_page(docname: str, doctree, title: str) -> None:
        if not decorate.is_copy(docname) or decorate.is_met(app.srcdir, docname):
            index_page(docname, doctree, title)

    builder.index_page = index_met_page


# ---- head --------------------------------------------------------------------------------------


def description(doctree) -> str:
    """The beginning of a page's first paragraph, at most DESCRIPTION characters."""
    from docutils import nodes

    for paragraph in doctree.findall(nodes.paragraph):
        if isinstance(paragraph.parent, (nodes.section, nodes.container)):
            words = " ".join(paragraph.astext().split())
            if len(words) > 40:
                cut = words[: DESCRIPTION - 1]
                return words if len(words) < DESCRIPTION else f"{cut.rsplit(' ', 1)[0]}…"
    return ""


def _head(app, page: str, template: str, context: dict, doctree) -> None:
    """Description and social card of a page."""
    if doctree is None:
        return
    base = app.config.html_baseurl.rstrip("/")
    title = re.sub("<[^>]+>", "", context.get("title", ""))
    facts = {
        "og:title": title,
        "og:type": "article",
        "og:description": description(doctree),
        "og:image": f"{base}/_static/card.png"
        if base
        else context["pathto"]("_static/card.png", 1),
        "og:image:alt": "Membership inference attacks: an executable book",
    }
    tags = [f'<meta property="{k}" content="{escape(v)}" />' for k, v in facts.items() if v]
    if facts["og:description"]:
        tags.append(f'<meta name="description" content="{escape(facts["og:description"])}" />')
    context["metatags"] = "\n".join([context.get("metatags", ""), *tags])


def _end_before_the_copies(app, page: str, template: str, context: dict, doctree) -> None:
    """Previous and Next walk the book; a copy on other data is reached and left by its switch."""
    if page == contents.APPENDIX:
        context["next"] = None
    elif decorate.is_copy(page) and not decorate.is_met(app.srcdir, page):
        context["prev"] = context["next"] = None


def setup(app) -> dict:
    """Register with Sphinx."""
    app.add_html_math_renderer("katex", (_inline_formula, None), (_block_formula, None))
    app.connect("builder-inited", _keep_copies_out_of_the_search)
    app.connect("html-page-context", _head)
    app.connect("html-page-context", _end_before_the_copies)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
