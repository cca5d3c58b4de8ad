"""Pages that play in the static book and answer in JupyterLab: one script, with a kernel or not."""

from collections.abc import Sequence

from . import embed


class Live:
    """Base of pages that a script draws, and that may ask the kernel for more.

    The last script has a function ``draw(root, data, ask)``: ``ask(question)`` is a promise of what
    :meth:`answer` says, or ``ask`` is null where no kernel runs. It may return a function that ends
    what would outlive the page, such as a sound.

    Attributes
    ----------
    kind : str
        Class of the page's place and name of its style sheet.
    scripts : sequence of str
        Names of its scripts in ``static``.
    data : dict
        What the page holds, as :func:`embed.plain` leaves it.
    """

    kind: str
    scripts: Sequence[str]
    data: dict

    def answer(self, question) -> dict:
        """What the kernel says."""
        raise NotImplementedError

    def told(self) -> list[str]:
        """What the page shows in words, for the book's search."""
        return []

    def html(self) -> str:
        """The page without a kernel."""
        return embed.drawn(self.kind, self.data, self.scripts, self.told())

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {**self._widget()._repr_mimebundle_()[0], "text/html": self.html()}

    def _widget(self):
        import anywidget
        import traitlets

        class Widget(anywidget.AnyWidget):
            _esm = str(embed.script(*self.scripts, "live"))
            _css = str(embed.style(*embed.styles(self.kind, self.scripts)))
            data = traitlets.Dict().tag(sync=True)

        widget = Widget(data=embed.plain(self.data))
        widget.on_msg(self._on_message)
        return widget

    def _on_message(self, widget, message, buffers):
        answer = self._answer_or_error(message["question"])
        widget.send({"id": message["id"], "answer": answer})

    def _answer_or_error(self, question):
        try:
            return embed.plain(self.answer(question))
        except Exception as error:
            # shown on the page: nobody would see a traceback in the kernel's log
            return {"error": str(error)}
