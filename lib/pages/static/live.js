// What anywidget asks for: draw the page, and pass its questions to the kernel. What draw returns, if
// anything, anywidget calls when the page goes: the cell is run again, or its output is cleared.
export default {
  render({ model, el }) {
    const waiting = new Map();
    model.on('msg:custom', ({ id, answer }) => {
      waiting.get(id)?.(answer);
      waiting.delete(id);
    });
    const ask = (question) => new Promise((resolve) => {
      const id = crypto.getRandomValues(new Uint32Array(2)).join();
      waiting.set(id, resolve);
      model.send({ id, question });
    });
    return draw(el, model.get('data'), ask);
  },
};
