// The feature explorer: the same code in the static book and, by anywidget, in JupyterLab.
// data: what explorer.py gathers; ask(id) -> promise of a feature that is not in data, or null where
// no kernel is. Needs sound.js.
function draw(root, data, ask) {
  const TELLING = 0.2; // an AUROC so far from 0.5 says that a feature goes with a question
  const known = new Map(data.features.map((feature) => [feature.id, feature]));
  const color = (label) => shade(data.colors[label] || '#222222');
  const digits = (value, count = 2) => (value === null ? '–' : value.toFixed(count));
  const name = (id) => (known.has(id) ? `${id} ${known.get(id).label}` : `${id}`);
  const section = (title, ...children) => make('div', {}, make('h4', {}, title), ...children);

  // ------------------------------------------------------------------------------------------ card
  const histogram = (feature) => {
    const sizes = feature.histogram.map((count) => Math.log1p(count));
    const most = Math.max(...sizes, 1e-9);
    const bars = sizes.map((size, i) => {
      const height = (56 * size) / most;
      const place = { x: 4 + i * 12, y: 60 - height, width: 10, height, fill: color(feature.label) };
      return svg('rect', place, svg('title', {}, `${feature.histogram[i]} frames`));
    });
    const label = 'How often the feature is how active';
    return svg('svg', { viewBox: '0 0 250 78', class: 'histogram', role: 'img', 'aria-label': label },
      ...bars,
      svg('text', { x: 4, y: 75 }, '0'),
      svg('text', { x: 244, y: 75, 'text-anchor': 'end' }, digits(feature.peak, 1)),
      svg('text', { x: 124, y: 75, 'text-anchor': 'middle' }, 'activation (frames, log)'));
  };

  // points with intervals: [name, value, low, high]; low and high may be missing
  const dots = (rows, { low, high, middle, unit }) => {
    const x = (value) => {
      const inside = Math.min(Math.max(value, low), high);
      return 120 + (120 * (inside - low)) / (high - low);
    };
    const marks = rows.flatMap(([label, value, from, to], i) => {
      const y = 12 + 17 * i;
      const text = from === undefined ? digits(value)
        : `${digits(value)} [${digits(from)}, ${digits(to)}]`;
      const place = { x1: x(from), x2: x(to), y1: y, y2: y, stroke: color(label), 'stroke-width': 2 };
      return [
        svg('text', { x: 112, y: y + 4, 'text-anchor': 'end' }, label),
        ...(from === undefined ? [] : [svg('line', place)]),
        svg('circle', { cx: x(value), cy: y, r: 4, fill: color(label) }, svg('title', {}, text)),
      ];
    });
    const bottom = 12 + 17 * rows.length;
    const y = bottom + 9;
    const view = { viewBox: `0 0 250 ${bottom + 14}`, class: 'dots', role: 'img', 'aria-label': unit };
    return svg('svg', view,
      svg('line', { x1: x(middle), x2: x(middle), y1: 2, y2: bottom - 8, class: 'middle' }),
      ...marks,
      svg('text', { x: 120, y }, digits(low, 1)),
      svg('text', { x: 240, y, 'text-anchor': 'end' }, digits(high, 1)),
      svg('text', { x: 180, y, 'text-anchor': 'middle' }, unit));
  };

  const example = (feature, [number, curve]) => {
    const clip = data.clips[number];
    const levels = [...bytes(curve)];
    const step = 100 / (levels.length - 1);
    const line = levels.map((level, i) => `${i * step},${42 - (level / 255) * 40}`).join(' L');
    const view = make('div', { class: 'picture' },
      make('img', { src: clip.picture, alt: 'Spectrogram, 55 Hz to 7 kHz' }),
      svg('svg', { viewBox: '0 0 100 44', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        svg('path', { d: `M0,44 L${line} L100,44`, class: 'curve' })));
    const text = make('div', { class: 'caption' }, clip.caption || 'no words');
    return make('div', { class: 'clip' }, text,
      sound(clip, clip.caption || 'clip', data.colors[feature.label], view));
  };

  const examples = (feature, group) => {
    const clips = feature.clips[group];
    if (clips.length === 0) return [];
    const title = make('h4', {}, `Clips that excite it ${group}`);
    return [title, make('div', { class: 'clips' }, ...clips.map((clip) => example(feature, clip)))];
  };

  const changes = ({ cues, up, off }) => section('Turned up: change in SD of the corpus',
    dots(cues, { low: -3, high: 3, middle: 0, unit: 'SD' }),
    make('p', {}, `Next tokens: ${digits(up, 3)} nats (KL) away when it is turned up, ` +
      `${digits(off, 4)} when it is switched off in the clips that excite it most.`));

  const show = (feature) => {
    const facts = [`active in ${digits(100 * feature.density, 1)} % of frames`, ...feature.facts];
    const area = { low: 0, high: 1, middle: 0.5, unit: 'AUROC' };
    const near = feature.near.map((id) => (known.has(id) || ask
      ? make('button', { onclick: () => choose(id, true) }, name(id)) : make('span', {}, name(id))));
    card.replaceChildren(
      make('h3', { style: `border-left-color:${color(feature.label)}` },
        `Feature ${feature.id}: ${feature.label || 'no label'}`),
      make('p', {}, facts.join(' · ')),
      make('div', { class: 'row' },
        section('How active it is', histogram(feature)),
        section('What it goes with', dots(feature.goes, area)),
        ...(feature.effects === null ? [] : [changes(feature.effects)])),
      ...['most', 'middling', 'least'].flatMap((group) => examples(feature, group)),
      make('h4', {}, 'Nearest directions'),
      make('div', { class: 'near' }, ...near));
  };

  const explain = (id, text) => {
    card.replaceChildren(make('h3', {}, `Feature ${id}`), make('p', {}, text));
  };

  let chosen = null; // whose card it is
  // where the card lies below the list, a choice brings it into view
  async function choose(id, seen = false) {
    chosen = id;
    if (seen && card.offsetTop > list.offsetTop + list.offsetHeight) card.scrollIntoView();
    for (const [other, point] of points) point.classList.toggle('on', other === id);
    for (const button of list.children) {
      const on = button.dataset.id === String(id);
      button.setAttribute('aria-current', on);
      button.setAttribute('tabindex', on ? 0 : -1);
    }
    if (!known.has(id)) {
      if (ask === null) {
        explain(id, 'This page holds the features that tell most. Run this cell in JupyterLab to see ' +
          'any other.');
        return;
      }
      explain(id, 'Asking the kernel …');
      const answer = await ask(id);
      if (!answer.error) known.set(id, answer);
      // the kernel takes seconds: by now the card may belong to another choice
      if (chosen !== id) return;
      if (answer.error) {
        explain(id, answer.error);
        return;
      }
    }
    show(known.get(id));
  }

  // ---------------------------------------------------------------------------------- list and map
  const option = (value, text = value) => make('option', { value }, text);
  const search = make('input', { type: 'search', placeholder: 'number or label',
    'aria-label': 'Search features' });
  const by = make('select', { 'aria-label': 'Sort by' }, ...data.sorts.map((sort) => option(sort)));
  const only = make('select', { 'aria-label': 'Show features for' },
    option('', 'all labels'), ...data.labels.map((label) => option(label)));
  const list = make('div', { class: 'list' });
  const card = make('div', { class: 'card', 'aria-live': 'polite' });

  const entry = (feature, column) => make('button',
    { 'data-id': feature.id, tabindex: -1, onclick: () => choose(feature.id, true),
      style: `border-left-color:${color(feature.label)}` },
    name(feature.id), make('span', {}, digits(feature.sorts[column])));

  const update = () => {
    const text = search.value.trim().toLowerCase();
    const column = data.sorts.indexOf(by.value);
    // also features without a label are found by what they go with
    const goesWith = ({ goes }) => goes.some(([question, area]) => (
      question.toLowerCase().includes(text) && Math.abs(area - 0.5) >= TELLING));
    const fits = (feature) => (!only.value || feature.label === only.value) &&
      (!text || String(feature.id) === text || feature.label.toLowerCase().includes(text) ||
        goesWith(feature));
    const found = data.features.filter(fits);
    found.sort((a, b) => b.sorts[column] - a.sorts[column]);
    list.replaceChildren(...found.map((feature) => entry(feature, column)));
    list.firstElementChild?.setAttribute('tabindex', 0);
    if (found.length > 0) return;
    if (/^\d+$/.test(text) && Number(text) < data.map.length) {
      list.append(make('button', { onclick: () => choose(Number(text)) }, `feature ${text}`));
    } else {
      list.append(make('p', {}, 'No feature fits.'));
    }
  };
  list.addEventListener('keydown', (event) => {
    const at = document.activeElement;
    const next = { ArrowDown: at.nextElementSibling, ArrowUp: at.previousElementSibling }[event.key];
    if (!next) return;
    next.focus();
    choose(Number(next.dataset.id));
    event.preventDefault();
  });
  for (const input of [search, by, only]) input.addEventListener('input', update);

  const points = data.map.map(([x, y], id) => {
    const look = known.has(id) ? { r: 4.5, fill: color(known.get(id).label) }
      : { r: 2.2, class: 'other' };
    const place = { cx: x, cy: y, onclick: () => choose(id, true), ...look };
    return [id, svg('circle', place, svg('title', {}, name(id)))];
  });
  // those that are on the page lie above the others
  const ordered = [...points].sort(([a], [b]) => known.has(a) - known.has(b));
  const map = svg('svg', { viewBox: '0 0 400 300', class: 'map', role: 'img',
    'aria-label': 'Map of all features: near ones have similar directions' },
  ...ordered.map(([, point]) => point));

  root.classList.add('explorer');
  root.replaceChildren(
    make('div', { class: 'left' }, make('div', { class: 'bar' }, search, by, only), list, map),
    card);
  update();
  choose(data.features[0].id);
  tellMissing(root);
}
