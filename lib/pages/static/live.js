// What anywidget asks for: draw the page, and pass its questions to the kernel.
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
    draw(el, model.get('data'), ask);
  },
};
