// The feature explorer: the same code in the static book and, by anywidget, in JupyterLab.
// data: what lib/explorer.py gathers; ask(id) -> promise of a feature that is not in data, or null where no kernel is.
function explorer(root, data, ask) {
  const SVG = 'http://www.w3.org/2000/svg';
  const known = new Map(data.features.map((f) => [f.id, f]));
  const color = (label) => data.colors[label] || '#222222';
  const make = (tag, attributes = {}, ...children) => {
    const svg = ['svg', 'circle', 'rect', 'line', 'path', 'text'].includes(tag);
    const node = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  };
  const round = (x, digits = 2) => (x === null ? '–' : x.toFixed(digits));
  const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

  // ---------------------------------------------------------------------------------------------- card
  const histogram = (f) => {
    const most = Math.max(...f.histogram.map((n) => Math.log1p(n)), 1e-9);
    const bars = f.histogram.map((n, i) =>
      make('rect', { x: 4 + i * 12, width: 10, y: 60 - (56 * Math.log1p(n)) / most, fill: color(f.label),
        height: (56 * Math.log1p(n)) / most }, make('title', {}, `${n} frames`)));
    return make('svg', { viewBox: '0 0 250 78', class: 'histogram', role: 'img',
      'aria-label': 'How often the feature is how active' }, ...bars,
      make('text', { x: 4, y: 75 }, '0'), make('text', { x: 244, y: 75, 'text-anchor': 'end' }, round(f.peak, 1)),
      make('text', { x: 124, y: 75, 'text-anchor': 'middle' }, 'activation (frames, log)'));
  };
  // points with intervals: [name, value, low, high]; low and high may be missing
  const dots = (rows, low, high, middle, unit) => {
    const x = (v) => 120 + (120 * (Math.min(Math.max(v, low), high) - low)) / (high - low);
    const kids = rows.flatMap(([name, value, from, to], i) => {
      const y = 12 + 17 * i;
      const line = from === undefined ? [] :
        [make('line', { x1: x(from), x2: x(to), y1: y, y2: y, stroke: color(name), 'stroke-width': 2 })];
      return [make('text', { x: 112, y: y + 4, 'text-anchor': 'end' }, name), ...line,
        make('circle', { cx: x(value), cy: y, r: 4, fill: color(name) }, make('title', {},
          from === undefined ? round(value) : `${round(value)} [${round(from)}, ${round(to)}]`))];
    });
    const bottom = 12 + 17 * rows.length;
    return make('svg', { viewBox: `0 0 250 ${bottom + 14}`, class: 'dots', role: 'img', 'aria-label': unit },
      make('line', { x1: x(middle), x2: x(middle), y1: 2, y2: bottom - 8, stroke: '#999999', 'stroke-dasharray': '2 2' }),
      ...kids, make('text', { x: 120, y: bottom + 9 }, round(low, 1)),
      make('text', { x: 240, y: bottom + 9, 'text-anchor': 'end' }, round(high, 1)),
      make('text', { x: 180, y: bottom + 9, 'text-anchor': 'middle' }, unit));
  };
  const clip = (f, [number, curve]) => {
    const { sound, picture, caption } = data.clips[number], values = bytes(curve);
    const points = [...values].map((v, i) => `${(i / (values.length - 1)) * 100},${42 - (v / 255) * 40}`).join(' L');
    const cursor = make('div', { class: 'cursor' });
    const audio = make('audio', { controls: '', preload: 'metadata', src: 'data:audio/mpeg;base64,' + sound,
      'aria-label': caption || 'clip' });
    const follow = () => {
      cursor.style.left = `${(100 * audio.currentTime) / data.seconds}%`;
      if (!audio.paused) requestAnimationFrame(follow);
    };
    for (const event of ['play', 'timeupdate', 'seeked']) audio.addEventListener(event, follow);
    const view = make('div', { class: 'view', onclick: (e) => {
      const box = view.getBoundingClientRect();
      audio.currentTime = (data.seconds * (e.clientX - box.left)) / box.width;
    } }, make('img', { src: picture, alt: 'Spectrogram, 55 Hz to 7 kHz' }),
    make('svg', { viewBox: '0 0 100 44', preserveAspectRatio: 'none' },
      make('path', { d: `M0,44 L${points} L100,44`, fill: 'rgba(255,255,255,.25)', stroke: '#FFFFFF',
        'vector-effect': 'non-scaling-stroke', 'stroke-width': 1.5 })), cursor);
    return make('div', { class: 'clip' }, make('div', { class: 'caption' }, caption || 'no words'), view, audio);
  };
  const card = (f) => {
    const groups = ['most', 'middling', 'least'].flatMap((name) => f.clips[name].length === 0 ? [] :
      [make('h4', {}, `Clips that excite it ${name}`), make('div', { class: 'clips' },
        ...f.clips[name].map((c) => clip(f, c)))]);
    const near = f.near.map((id) => make('button', { onclick: () => choose(id) },
      known.has(id) ? `${id} ${known.get(id).label}` : `${id}`));
    const facts = [`active in ${round(100 * f.density, 1)} % of frames`, ...f.facts].join(' · ');
    const effects = f.effects === null ? [] : [make('div', {}, make('h4', {}, 'Turned up: change in SD of the corpus'),
      dots(f.effects.cues, -3, 3, 0, 'SD'),
      make('p', {}, `Next tokens: ${round(f.effects.up, 3)} nats (KL) away when it is turned up, ` +
        `${round(f.effects.off, 4)} when it is switched off in the clips that excite it most.`))];
    shown.replaceChildren(make('h3', { style: `color:${color(f.label)}` }, `Feature ${f.id}: ${f.label || 'no label'}`),
      make('p', {}, facts), make('div', { class: 'row' },
        make('div', {}, make('h4', {}, 'How active it is'), histogram(f)),
        make('div', {}, make('h4', {}, 'What it goes with'), dots(f.goes, 0, 1, 0.5, 'AUROC')), ...effects),
      ...groups, make('h4', {}, 'Nearest directions'), make('div', { class: 'near' }, ...near));
  };
  async function choose(id) {
    for (const [other, point] of points) point.classList.toggle('on', other === id);
    for (const button of list.children) button.setAttribute('aria-current', button.dataset.id === String(id));
    if (!known.has(id)) {
      if (ask === null) {
        shown.replaceChildren(make('h3', {}, `Feature ${id}`), make('p', {},
          'This page holds the features that tell most. Run this cell in JupyterLab to see any other.'));
        return;
      }
      shown.replaceChildren(make('p', {}, `Asking the kernel for feature ${id} …`));
      known.set(id, await ask(id));
    }
    card(known.get(id));
  }

  // ------------------------------------------------------------------------------------- list and map
  const search = make('input', { type: 'search', placeholder: 'number or label', 'aria-label': 'Search features' });
  const by = make('select', { 'aria-label': 'Sort by' }, ...data.sorts.map((s) => make('option', { value: s }, s)));
  const only = make('select', { 'aria-label': 'Show features for' }, make('option', { value: '' }, 'all labels'),
    ...data.labels.map((s) => make('option', { value: s }, s)));
  const list = make('div', { class: 'list' }), shown = make('div', { class: 'card', 'aria-live': 'polite' });
  const update = () => {
    const asked = search.value.trim().toLowerCase(), column = data.sorts.indexOf(by.value);
    const found = data.features.filter((f) => (!only.value || f.label === only.value) &&
      (!asked || String(f.id) === asked || f.label.toLowerCase().includes(asked)));
    found.sort((a, b) => b.sorts[column] - a.sorts[column]);
    list.replaceChildren(...found.map((f) => make('button', { 'data-id': f.id, onclick: () => choose(f.id),
      style: `border-left-color:${color(f.label)}` }, `${f.id} ${f.label}`, make('span', {}, round(f.sorts[column])))));
    if (/^\d+$/.test(asked) && !found.length && Number(asked) < data.map.length) {
      list.replaceChildren(make('button', { onclick: () => choose(Number(asked)) }, `feature ${asked}`));
    } else if (!found.length) list.replaceChildren(make('p', {}, 'No feature fits.'));
  };
  for (const input of [search, by, only]) input.addEventListener('input', update);
  const points = data.map.map(([x, y], id) => [id, make('circle', { cx: x, cy: y, r: known.has(id) ? 4.5 : 2.2,
    fill: known.has(id) ? color(known.get(id).label) : '#CCCCCC', onclick: () => choose(id) },
  make('title', {}, known.has(id) ? `${id} ${known.get(id).label}` : `${id}`))]);
  const ordered = [...points].sort((a, b) => known.has(a[0]) - known.has(b[0]));
  const map = make('svg', { viewBox: '0 0 400 300', class: 'map', role: 'img',
    'aria-label': 'Map of all features: near ones have similar directions' }, ...ordered.map((p) => p[1]));
  root.classList.add('explorer');
  root.replaceChildren(make('div', { class: 'left' }, make('div', { class: 'bar' }, search, by, only), list, map), shown);
  update();
  choose(data.features[0].id);
}
