"""The directive `explorer`: a figure that a reader can move, and its still picture without scripts.

    ```{explorer} threshold
    :name: fig-threshold
    :alt: What the still picture shows.
    The caption: what there is to find.
    ```

Its script is book/_static/explorers/NAME.js, its data and still picture are made by `explorer_data` and
`pictures`.
"""

from __future__ import annotations

from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from .explorer_data import EXPLORERS


class Explorer(SphinxDirective):
    """A numbered figure with the still picture, and below it the scripts."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"name": directives.unchanged, "alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in EXPLORERS or not self.content or "alt" not in self.options:
            raise self.error(
                f"explorer {name!r}; expected one of {', '.join(EXPLORERS)}, with :alt: and a caption"
            )
        figure = nodes.figure(classes=["explorer", f"explorer-{name}"])
        still = nodes.image(
            uri=f"/book/_static/explorers/{EXPLORERS[name].still}",
            alt=self.options["alt"],
            classes=["explorer-still"],
        )
        caption = nodes.caption()
        text, messages = self.state.inline_text(" ".join(self.content), self.lineno)
        caption.extend(text)
        figure += [still, caption]
        self.set_source_info(figure)
        self.add_name(figure)
        up = "../" * self.env.docname.count("/")
        files = ["core.js", f"data/{EXPLORERS[name].data}.js", f"{name}.js"]
        scripts = "".join(
            f'<script defer src="{up}_static/explorers/{file}"></script>' for file in files
        )
        return [figure, nodes.raw("", scripts, format="html"), *messages]


def setup(app) -> dict:
    """Register with Sphinx."""
    app.add_directive("explorer", Explorer)
    app.add_css_file("explorers/explorers.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
