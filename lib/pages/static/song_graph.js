// One song's attribution graph. data: what song_graph.py gathers. Needs sound.js.
function draw(root, data) {
  const across = 96;
  const up = 74;
  const left = 116;
  const most = 6; // edges listed on the card
  const { nodes, edges, blocks } = data;
  const width = left + across * data.positions + 10;
  const height = up * (blocks + 2) + 10;
  const digits = (value, count = 2) => (value === null ? '–' : value.toFixed(count));

  // ---------------------------------------------------------------------------------------- places
  // Rows from below: the music, the blocks, the token. Words stand at the left, in the row of the
  // block that reads them; several nodes of one place share it, four a line.
  const row = ({ kind, block }) => {
    if (kind === 'sung') return 0;
    return kind === 'token' ? blocks + 1 : block + 1;
  };
  const groups = new Map();
  for (const node of nodes) {
    const column = node.kind === 'word' ? 'words' : node.position;
    const key = `${column} ${row(node)}`;
    groups.set(key, [...(groups.get(key) || []), node]);
  }
  const place = new Map();
  for (const group of groups.values()) {
    group.forEach((node, i) => {
      const bottom = height - up * row(node) - up / 2;
      if (node.kind === 'word') {
        place.set(node, [58, bottom + 15 * (i - (group.length - 1) / 2)]);
        return;
      }
      const perLine = 4;
      const line = Math.floor(i / perLine);
      const inLine = Math.min(perLine, group.length - perLine * line);
      const x = left + across * (node.position + 0.5) + 20 * ((i % perLine) - (inLine - 1) / 2);
      const lines = Math.ceil(group.length / perLine);
      place.set(node, [x, bottom + 19 * (line - (lines - 1) / 2)]);
    });
  }

  // ------------------------------------------------------------------------------------------ marks
  const marks = {
    feature: ([x, y], node) => svg('circle', { cx: x, cy: y, r: 7, fill: shade(node.color), class: 'mark' }),
    error: ([x, y]) => svg('path', { class: 'mark', fill: shade('#999999'),
      d: `M${x},${y - 7} l7,7 l-7,7 l-7,-7 Z` }),
    sung: ([x, y]) => svg('rect', { class: 'mark', fill: shade('#666666'), x: x - 8, y: y - 6, width: 16,
      height: 12 }),
    token: ([x, y]) => svg('path', { class: 'mark', fill: shade('#222222'),
      d: `M${x},${y - 10} l10,18 l-20,0 Z` }),
    word: ([x, y], node) => {
      const word = node.name.slice(1, node.name.indexOf('”'));
      return svg('g', {},
        svg('rect', { class: 'mark paper', x: x - 48, y: y - 7, width: 96, height: 14,
          rx: 5 }),
        svg('text', { x, y: y + 4, 'text-anchor': 'middle', class: 'word' }, word));
    },
  };
  const drawn = nodes.map((node, i) => svg('g', { class: 'node', role: 'button', tabindex: -1,
    'aria-label': node.name, onclick: () => choose(i), onkeydown: (event) => step(event, i) },
  svg('title', {}, node.name), marks[node.kind](place.get(node), node)));

  const largest = Math.max(...edges.map(([, , weight]) => Math.abs(weight)), 1e-9);
  const lines = edges.map(([target, source, weight]) => {
    const [x1, y1] = place.get(nodes[source]);
    const [x2, y2] = place.get(nodes[target]);
    const share = Math.abs(weight) / largest;
    return svg('line', { x1, y1, x2, y2, class: 'edge', 'stroke-width': 0.6 + 4 * share,
      'stroke-opacity': 0.25 });
  });

  const rows = Array.from({ length: blocks + 2 }, (_, i) => {
    const names = ['sung', ...Array.from({ length: blocks }, (unused, k) => `block ${k}`), 'token'];
    return svg('text', { x: 4, y: height - up * i - up + 6 }, names[i]);
  });
  const times = Array.from({ length: data.positions }, (_, position) => svg('text', {
    x: left + across * (position + 0.5), y: height - 3, 'text-anchor': 'middle' },
  `${digits(position / data.rate)} s`));
  const picture = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'group',
    'aria-label': 'Attribution graph; arrow keys go from node to node' },
  ...lines, ...rows, ...times, ...drawn);

  // ------------------------------------------------------------------------------------------- card
  const card = make('div', { class: 'card', 'aria-live': 'polite' });
  const listed = (title, some) => {
    const strongest = [...some].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, most);
    if (strongest.length === 0) return [];
    const items = strongest.map(([other, weight]) => make('li', {},
      make('button', { onclick: () => choose(other, true) }, nodes[other].name),
      make('span', {}, digits(weight))));
    return [make('h4', {}, title), make('ul', {}, ...items)];
  };
  const player = ([caption, clip], shade) => make('div', {}, make('p', {}, caption || 'no words'),
    sound(clip, caption || 'clip without words', shade));

  function show(i) {
    const node = nodes[i];
    const facts = [`Influence on the token: ${digits(100 * node.influence, 1)} %.`];
    if (node.activation !== null) facts.push(`Activation: ${digits(node.activation)}.`);
    if (node.measured !== null) {
      facts.push(`Taken out of the model, it changes the token's logit by ${digits(node.measured)}; ` +
        `the graph as it is drawn foretells ${digits(node.foretold)}.`);
    }
    const into = edges.filter(([target]) => target === i).map(([, source, w]) => [source, w]);
    const from = edges.filter(([, source]) => source === i).map(([target, , w]) => [target, w]);
    const heard = node.sounds.length ? [make('h4', {}, 'Clips that excite it most'),
      ...node.sounds.map((heard) => player(heard, node.color))] : [];
    const own = ['sung', 'token', 'word', 'error'].includes(node.kind)
      ? [make('h4', {}, 'The song'), player([data.prompt, data.song])] : [];
    card.replaceChildren(make('h3', {}, node.name), ...facts.map((fact) => make('p', {}, fact)),
      ...listed('It reads', into), ...listed('It writes to', from), ...heard, ...own);
  }

  function choose(i, focus = false) {
    const near = new Set();
    edges.forEach(([target, source, weight], k) => {
      const on = target === i || source === i;
      if (on) near.add(target).add(source);
      lines[k].setAttribute('stroke-opacity', on ? 0.9 : 0.25);
      lines[k].classList.toggle('more', on && weight > 0);
      lines[k].classList.toggle('less', on && weight < 0);
    });
    drawn.forEach((mark, k) => {
      mark.classList.toggle('on', k === i);
      mark.classList.toggle('near', near.has(k));
      mark.setAttribute('tabindex', k === i ? 0 : -1);
    });
    if (focus) drawn[i].focus();
    show(i);
  }

  function step(event, i) {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === 'Enter' || event.key === ' ') choose(i);
    else if (by) choose((i + by + nodes.length) % nodes.length, true);
    else return;
    event.preventDefault();
  }

  root.replaceChildren(make('div', { class: 'drawing', tabindex: 0, role: 'region',
    'aria-label': 'Drawing of the graph' }, picture), card,
  make('p', { class: 'key' }, 'Circles are features, diamonds errors, rectangles the music so far, ' +
    'the triangle the token. Solid lines add to what reads them, dashed ones take away.'));
  choose(nodes.length - 1);
  tellMissing(root);
}
