// A map of clips: every point plays its own. data: names of maps, places[map][clip] (x, y), points[clip]
// {title, color, shape}, key [{name, color, shape}], clips[clip] ({sound, shape}). Needs sound.js.
function draw(root, data) {
  const heard = make('div', {});
  const now = make('div', { class: 'now', role: 'status' }, 'Choose a point to hear its clip.');
  const points = data.points.map(({ title, color, shape }, clip) => mark(shape, 6, color, {
    class: 'point', tabindex: clip ? -1 : 0, role: 'button', 'aria-label': title,
    onclick: () => play(clip), onkeydown: (event) => step(event, clip),
  }, svg('title', {}, title)));
  const buttons = data.names.map((name, map) => make('button',
    { 'aria-pressed': 'false', onclick: () => place(map) }, name));

  const place = (map) => {
    points.forEach((point, clip) => put(point, data.places[map][clip]));
    buttons.forEach((button, other) => button.setAttribute('aria-pressed', other === map));
  };
  const play = (clip) => {
    points.forEach((point, other) => {
      point.classList.toggle('on', other === clip);
      point.setAttribute('tabindex', other === clip ? 0 : -1);
    });
    const { title, color } = data.points[clip];
    now.textContent = title;
    hear(heard, sound(data.clips[clip], title, color));
  };
  // one stop of the tab key; arrow keys go from point to point
  const step = (event, clip) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === 'Enter' || event.key === ' ') {
      play(clip);
    } else if (by) {
      const next = (clip + by + points.length) % points.length;
      points[clip].setAttribute('tabindex', -1);
      points[next].setAttribute('tabindex', 0);
      points[next].focus();
    } else {
      return;
    }
    event.preventDefault();
  };

  const key = data.key.map(({ name, color, shape }) => make('span', {},
    svg('svg', { viewBox: '-2 -2 4 4', 'aria-hidden': 'true' }, mark(shape, 1.3, color)), name));
  key.forEach((entry) => put(entry.querySelector('path'), [0, 0]));
  const picture = svg('svg', { viewBox: '0 0 600 400', role: 'group', class: 'map',
    'aria-label': 'Map of clips; arrow keys go from point to point, Enter plays' }, ...points);
  root.replaceChildren(make('div', { class: 'bar' }, ...buttons, ...key), picture, now, heard);
  place(0);
  tellMissing(root);
}
