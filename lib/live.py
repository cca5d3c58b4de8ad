"""Pages that play in the static book and answer in JupyterLab: one script, with a kernel to ask or without."""

import json
import uuid


class Live:
    """Base of pages drawn by a script's function ``name(root, data, ask)``; ask(x) is a promise of ``answer(x)``, or ask
    is null where no kernel runs.

    Attributes
    ----------
    name, script, style : str
        The function and where it is defined; CSS.
    data : dict
        What the page holds; becomes JSON.
    """

    name: str
    script: str
    style: str
    data: dict

    def answer(self, asked):
        """What the kernel says, as JSON."""
        raise NotImplementedError

    def _answered(self, asked):
        try:
            return self.answer(asked)
        except Exception as error:  # shown on the page: a traceback in the kernel's log would be seen by nobody
            return {"error": str(error)}

    def _repr_mimebundle_(self, include=None, exclude=None):
        import anywidget
        import traitlets

        class Widget(anywidget.AnyWidget):
            _esm = self.script + _LIVE.replace("NAME", self.name)
            _css = self.style
            data = traitlets.Dict().tag(sync=True)

        widget = Widget(data=self.data)
        widget.on_msg(lambda w, said, _: w.send({"id": said["id"], "answer": self._answered(said["asked"])}))
        return {**widget._repr_mimebundle_()[0], "text/html": self.html()}

    def html(self) -> str:
        """The page without a kernel."""
        place = f"{self.name}{uuid.uuid4().hex[:8]}"
        data = json.dumps(self.data, separators=(",", ":")).replace("</", "<\\/")
        return (
            f'<style>{self.style}</style><div id="{place}"></div>'
            f"<script>(()=>{{{self.script};{self.name}(document.getElementById('{place}'),{data},null)}})()</script>"
        )


_LIVE = """
export default { render({ model, el }) {
  const waiting = new Map();
  model.on('msg:custom', ({ id, answer }) => { waiting.get(id)?.(answer); waiting.delete(id); });
  NAME(el, model.get('data'), (asked) => new Promise((done) => {
    const id = crypto.getRandomValues(new Uint32Array(2)).join();
    waiting.set(id, done);
    model.send({ id, asked });
  }));
} };
"""
