// What a reader changes inside: sliders that push the residual stream, and switches of attention heads.
import { make } from './elements.mjs';
import { signed } from './plane.mjs';

// One slider a direction or feature; beside a feature's, how active it is.
export function levers(data, onchange) {
  const features = new Map(data.features.map((feature, k) => [feature.name, [feature, k]]));
  const bars = [];
  const inputs = data.levers.map(({ name }, k) => {
    const input = make('input', { type: 'range', min: -data.most, max: data.most, step: data.most / 12,
      value: 0, id: `lever-${k}-${name.replace(/\W+/g, '-')}`, oninput: () => { show(); onchange(); } });
    return input;
  });
  const outputs = inputs.map(() => make('span', { class: 'told', 'aria-hidden': 'true' }, '0'));
  const show = () => inputs.forEach((input, k) => {
    const value = Number(input.value);
    outputs[k].textContent = Math.abs(value) < 1e-9 ? '0' : signed(value * 100).replace(/\.0$/, '') + ' %';
    input.setAttribute('aria-valuetext', outputs[k].textContent);
  });
  const rows = data.levers.map(({ name }, k) => {
    const row = make('div', { class: 'lever' },
      make('label', { for: inputs[k].id }, name), inputs[k], outputs[k]);
    const known = features.get(name);
    if (known) {
      const fill = make('span', {});
      row.append(make('div', { class: 'activity', 'aria-hidden': 'true' }, fill));
      bars[known[1]] = { fill, peak: known[0].peak || 1 };
    }
    return row;
  });
  const axes = rows.slice(0, data.axes.length);
  const others = rows.slice(data.axes.length);
  const node = make('fieldset', {}, make('legend', {}, 'Push the stream'), ...axes);
  if (others.length) {
    node.append(make('p', { class: 'key' },
      'Features, with how active each is now (bars), and sliders that turn them up:'), ...others);
  }
  return {
    node,
    get strengths() { return inputs.map(({ value }) => Number(value)); },
    rest() {
      for (const input of inputs) input.value = 0;
      show();
    },
    // active: how active each feature is
    activity(active) {
      active.forEach((value, k) => {
        bars[k].fill.style.width = `${Math.min(100, 100 * value / bars[k].peak)}%`;
      });
    },
  };
}

const KINDS = [
  ['self-attention (reads the music so far)', 'self'],
  ['cross-attention (reads the words)', 'cross'],
];

// One switch a head, of self- and of cross-attention.
export function heads({ blocks, heads: count }, onchange) {
  const summary = make('summary', {}, 'Attention heads: all on');
  const switches = [];
  const say = () => {
    const off = switches.filter((each) => each.getAttribute('aria-pressed') === 'false').length;
    summary.textContent = `Attention heads: ${off ? `${off} off` : 'all on'}`;
  };
  const one = (kind, block, head) => {
    const button = make('button', { type: 'button', 'aria-pressed': 'true',
      'aria-label': `${kind}-attention, block ${block}, head ${head}`,
      onclick: () => {
        button.setAttribute('aria-pressed', button.getAttribute('aria-pressed') !== 'true');
        say();
        onchange();
      } }, `${head}`);
    switches.push(button);
    return button;
  };
  const grids = KINDS.map(([title, kind]) => make('div', { role: 'group', 'aria-label': title, class: 'grid' },
    make('p', {}, title),
    ...Array.from({ length: blocks }, (_, block) => make('div', {},
      make('span', {}, `block ${block}`),
      ...Array.from({ length: count }, (_, head) => one(kind, block, head))))));
  return {
    node: make('details', {}, summary, make('div', { class: 'grids' }, ...grids)),
    // flat: kind, block, head
    get gates() { return switches.map((each) => Number(each.getAttribute('aria-pressed') === 'true')); },
    rest() {
      for (const each of switches) each.setAttribute('aria-pressed', 'true');
      say();
    },
  };
}
