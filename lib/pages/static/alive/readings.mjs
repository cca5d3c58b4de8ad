// What is read from the residual stream, and what is added to it.
// data.axes: [{name, block, unit, middle, half}]; data.features: [{block, weight, bias, threshold}];
// data.levers: [{name, block, push}], what strength 1 adds.

const dot = (a, b, from = 0) => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[from + i];
  return sum;
};

// What a step takes, from strengths of all levers, gates and guidance as the page has them.
export function changed({ strengths, gates, guidance }, { levers, shape }) {
  const push = new Float32Array(shape.blocks * 2 * shape.width);
  levers.forEach(({ block, push: by }, k) => {
    if (!strengths[k]) return;
    const from = block * 2 * shape.width; // the row that reads the prompt
    by.forEach((value, i) => { push[from + i] += strengths[k] * value; });
  });
  return { push, gates: Float32Array.from(gates), guidance };
}

// Where the stream lies on each axis, how active each feature is, and whether anything was changed at
// this step: of the row that reads the prompt, and without what is added at this very step, so that a
// slider does not read itself.
export function readings(streams, { push, gates }, { axes, features, shape }) {
  const held = (block) => {
    const from = block * 2 * shape.width;
    return Array.from({ length: shape.width }, (_, i) => streams[from + i] - push[from + i]);
  };
  const blocks = new Map([...axes, ...features].map(({ block }) => [block, null]));
  for (const block of blocks.keys()) blocks.set(block, held(block));
  return {
    steered: push.some(Boolean) || gates.includes(0),
    place: axes.map(({ block, unit, middle, half }) => (dot(unit, blocks.get(block)) - middle) / half),
    active: features.map(({ block, weight, bias, threshold }) => {
      const before = dot(weight, blocks.get(block)) + bias;
      return before > threshold ? Math.max(before, 0) : 0;
    }),
  };
}
