"""The book's second Sphinx extension: formulas, the search index, and what stands in a page's head.

Formulas are written into the page as TeX and drawn by KaTeX, which lies in the book: a quarter of
what MathJax needs.
"""

from __future__ import annotations

import os
import re
import shlex
from html import escape
from pathlib import Path, PurePosixPath

from ..data.catalog import title
from . import contents, decorate, notebooks

_ENVIRONMENT = re.compile(r"\s*\\begin\{")
_NO_REPOSITORY = "https://github.com/executablebooks/jupyter-book"
"""What Jupyter Book takes for the repository where _config.yml names none."""
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
    heading = re.sub("<[^>]+>", "", context.get("title", ""))
    facts = {
        "og:title": heading,
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


# ---- glossary ----------------------------------------------------------------------------------

GLOSSARY = "book/glossary"
_TERM = re.compile(r'<a class="reference internal" href="([^"]*)#(term-[^"]+)"')


def definitions(doctree) -> dict[str, str]:
    """What the glossary says of each term, by the term's place on its page."""
    from docutils import nodes

    found: dict[str, str] = {}
    for item in doctree.findall(nodes.definition_list_item):
        text = " ".join(part.astext() for part in item.findall(nodes.definition))
        for term in item.findall(nodes.term):
            found |= dict.fromkeys(term["ids"], " ".join(text.split()))
    return found


def _explain_terms(app, page: str, template: str, context: dict, doctree) -> None:
    """Links to the glossary carry their term's definition, for the card that book.js shows."""
    if doctree is None or GLOSSARY not in app.env.found_docs or "body" not in context:
        return
    if not hasattr(app, "mia_definitions"):
        app.mia_definitions = definitions(app.env.get_doctree(GLOSSARY))

    def explained(match: re.Match) -> str:
        text = app.mia_definitions.get(match[2], "")
        return f'{match[0]} data-card="{escape(text)}"' if text else match[0]

    context["body"] = _TERM.sub(explained, context["body"])


# ---- bibliography ------------------------------------------------------------------------------


def _list_sources(app, page: str, template: str, context: dict, doctree) -> None:
    """Docutils makes a list whose parts have a role that no list may hold any more."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


# ---- how a page was made -----------------------------------------------------------------------


def page_facts(root: str | os.PathLike, docname: str) -> dict:
    """What stands below an executed chapter: its data, seed, machine, and how to repeat it.

    {} for a page of prose.
    """
    if not decorate.is_copy(docname):
        return {}
    notebook = notebooks.read(Path(root, f"{docname}.ipynb"))
    record = notebook["metadata"].get("mia", {})
    given = record.get("parameters", {})
    values = {**notebooks.parameters(notebook), **given}
    made = record.get("made", {})
    if "text" in values:
        told = {"text": values["text"] or "the standard library of Python"}
    else:
        told = {"data set": title(str(record.get("dataset", "")))}
    if "seed" in values:
        told["seed"] = values["seed"]
    if made:
        versions = ", ".join(f"{k} {v}" for k, v in made["versions"].items())
        told |= {"time": f"{made['seconds']} s", "machine": made["device"], "versions": versions}
    else:  # executed before a run kept them
        told["time, machine and versions"] = "not recorded"
    options = "".join(f" -p {name} {shlex.quote(str(value))}" for name, value in given.items())
    found = notebooks.NAME.fullmatch(PurePosixPath(docname).name)
    number = found[1] if found else ""
    return {"told": told, "repeat": f"mia run {number}{options}"}


def source_links(app, docname: str) -> dict[str, str]:
    """Where a page can be edited and run, if _config.yml names a repository; else {}."""
    options = app.config.html_theme_options
    url = str(options.get("repository_url", "")).rstrip("/")
    if not url or url == _NO_REPOSITORY:
        return {}
    branch = options.get("repository_branch") or "main"
    if not decorate.is_copy(docname):
        ending = Path(app.env.doc2path(docname)).suffix
        return {"Edit this page": f"{url}/edit/{branch}/{docname}{ending}"}
    stem = PurePosixPath(docname).name
    links = {"Edit this chapter": f"{url}/edit/{branch}/notebooks/{stem}.md"}
    if url.startswith("https://github.com/"):
        path = url.removeprefix("https://github.com/")
        colab, binder = "https://colab.research.google.com/github", "https://mybinder.org/v2/gh"
        links["Run it in Colab"] = f"{colab}/{path}/blob/{branch}/notebooks/{stem}.ipynb"
        links["Run it on Binder"] = f"{binder}/{path}/{branch}?labpath=notebooks%2F{stem}.ipynb"
    return links


def _foot(app, page: str, template: str, context: dict, doctree) -> None:
    if doctree is not None:
        context["page_facts"] = page_facts(app.srcdir, page)
        context["source_links"] = source_links(app, page)


def _end_before_the_copies(app, page: str, template: str, context: dict, doctree) -> None:
    """Previous and Next walk the book; a copy on other data is reached and left by its switch."""
    if page == contents.APPENDIX:
        context["next"] = None
    elif decorate.is_copy(page) and not decorate.is_met(app.srcdir, page):
        context["prev"] = context["next"] = None


def _theme_options(app, config) -> None:
    # Here, not in _config.yml: options given there replace all that Jupyter Book sets.
    config.html_theme_options |= {
        "article_footer_items": ["page-facts.html"],
        "use_fullscreen_button": False,
    }


def setup(app) -> dict:
    """Register with Sphinx."""
    app.add_html_math_renderer("katex", (_inline_formula, None), (_block_formula, None))
    app.connect("config-inited", _theme_options)
    app.connect("builder-inited", _keep_copies_out_of_the_search)
    app.connect("html-page-context", _head)
    app.connect("html-page-context", _foot)
    app.connect("html-page-context", _explain_terms)
    app.connect("html-page-context", _list_sources)
    app.connect("html-page-context", _end_before_the_copies)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
