// The emotion pad: the same code in the static book and, by anywidget, in JupyterLab.
// data: what lib/pad.py gathers; ask({song, path}) -> promise of {sound, heard}, or null where no kernel is.
function pad(root, data, ask) {
  const SVG = 'http://www.w3.org/2000/svg', SIZE = 400, EDGE = 26, STEP = 0.1, FADE = 0.06;
  const make = (tag, attributes = {}, ...children) => {
    const svg = ['svg', 'circle', 'line', 'path', 'text', 'g', 'rect'].includes(tag);
    const node = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  };
  const signed = (x) => (x < 0 ? '−' : '+') + Math.abs(x).toFixed(1);
  const told = ([v, a]) => `valence ${signed(v)}, arousal ${signed(a)}`;
  const x = (v) => SIZE / 2 + (v / data.range) * (SIZE / 2 - EDGE), y = (a) => SIZE / 2 - (a / data.range) * (SIZE / 2 - EDGE);
  const inside = (v) => Math.min(Math.max(v, -data.reach), data.reach);
  const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const side = Math.sqrt(data.points.length), at = data.points[0].map(() => 0);
  let song = 0, drawing = false, path = [], playing = null, following = null;

  // ------------------------------------------------------------------------------------------- sound
  // bilinear weights of the four songs around a place; points run along valence first
  const weights = ([v, a]) => {
    const whole = ([v, a].map((z) => ((inside(z) + data.reach) / (2 * data.reach)) * (side - 1)));
    const [column, row] = whole.map((z) => Math.min(Math.floor(z), side - 2));
    const [right, up] = [whole[0] - column, whole[1] - row], found = new Array(data.points.length).fill(0);
    found[row * side + column] = (1 - right) * (1 - up);
    found[row * side + column + 1] = right * (1 - up);
    found[(row + 1) * side + column] = (1 - right) * up;
    found[(row + 1) * side + column + 1] = right * up;
    return found;
  };
  const fade = () => {
    if (!playing) return;
    const now = playing.context.currentTime;
    weights(at).forEach((w, i) => playing.gains[i].gain.setTargetAtTime(Math.sqrt(w), now, FADE));
  };
  async function play() {
    if (playing) return stop();
    const context = new AudioContext(), meter = context.createAnalyser();
    meter.connect(context.destination);
    button.textContent = 'Loading …';
    const sounds = await Promise.all(data.songs[song].sounds.map((s) => context.decodeAudioData(bytes(s).buffer)));
    const gains = sounds.map((buffer) => {
      const gain = context.createGain(), source = context.createBufferSource();
      gain.gain.value = 0;
      source.buffer = buffer;
      source.loop = true;
      source.connect(gain).connect(meter);
      source.start(context.currentTime + 0.05);
      return gain;
    });
    playing = { context, gains, meter };
    button.textContent = 'Stop';
    fade();
  }
  const stop = () => {
    if (playing) playing.context.close();
    playing = null;
    button.textContent = 'Play';
  };

  // ------------------------------------------------------------------------------------------- plane
  const handle = make('circle', { r: 11, class: 'handle' }), line = make('path', { class: 'drawn' });
  const landed = make('g', { class: 'landed' }), said = make('p', { class: 'said', 'aria-live': 'polite' });
  const place = ([v, a]) => {
    at.splice(0, 2, inside(v), inside(a));
    handle.setAttribute('cx', x(at[0]));
    handle.setAttribute('cy', y(at[1]));
    const most = weights(at), near = most.indexOf(Math.max(...most));
    said.textContent = `Here: ${told(at)}. The nearest song was asked for ${told(data.points[near])}; ` +
      `a listener hears ${told(data.songs[song].heard[near])}.`;
    fade();
  };
  const show = () => {
    landed.replaceChildren(...data.points.flatMap(([v, a], i) => {
      const [hv, ha] = data.songs[song].heard[i];
      return [make('line', { x1: x(v), y1: y(a), x2: x(hv), y2: y(ha) }), make('circle', { cx: x(v), cy: y(a), r: 2.5, class: 'asked' }),
        make('circle', { cx: x(hv), cy: y(ha), r: 4, class: 'heard' }, make('title', {}, `asked ${told([v, a])}, heard ${told([hv, ha])}`))];
    }));
    place(at);
  };
  const draw = () => line.setAttribute('d', path.length ? 'M' + path.map(([v, a]) => `${x(v)},${y(a)}`).join(' L') : '');
  const where = (event) => {
    const box = plane.getBoundingClientRect(), scale = SIZE / box.width, half = SIZE / 2 - EDGE;
    return [(((event.clientX - box.left) * scale - SIZE / 2) / half) * data.range,
      ((SIZE / 2 - (event.clientY - box.top) * scale) / half) * data.range].map(inside);
  };
  const moved = (event) => {
    if (event.buttons === 0 && event.type === 'pointermove') return;
    if (event.type === 'pointerdown') {
      plane.setPointerCapture(event.pointerId);
      if (drawing) path = [];
    }
    if (drawing) { path.push(where(event)); draw(); }
    place(where(event));
    event.preventDefault();
  };
  const keys = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
  const plane = make('svg', { viewBox: `0 0 ${SIZE} ${SIZE}`, class: 'plane', tabindex: 0, role: 'application',
    'aria-label': 'Emotion pad: valence to the right, arousal upwards. Arrow keys move, the space bar plays.',
    onpointerdown: moved, onpointermove: moved, onkeydown: (event) => {
      if (keys[event.key]) place([at[0] + keys[event.key][0], at[1] + keys[event.key][1]]);
      else if (event.key === ' ') play();
      else return;
      event.preventDefault();
    } },
  make('line', { x1: EDGE, x2: SIZE - EDGE, y1: SIZE / 2, y2: SIZE / 2 }), make('line', { y1: EDGE, y2: SIZE - EDGE, x1: SIZE / 2, x2: SIZE / 2 }),
  make('rect', { x: x(-data.reach), y: y(data.reach), width: x(data.reach) - x(-data.reach), height: y(-data.reach) - y(data.reach), class: 'edge' }),
  ...Object.entries(data.emotions).map(([name, [v, a]]) =>
    make('text', { x: x(v), y: y(a), fill: data.colors[name], class: 'emotion', 'text-anchor': 'middle' }, name)),
  make('text', { x: SIZE - 4, y: SIZE / 2 - 6, 'text-anchor': 'end' }, 'valence (SD) →'), make('text', { x: SIZE / 2 - 6, y: 16, 'text-anchor': 'end' }, 'arousal (SD) ↑'),
  landed, line, handle);

  // ------------------------------------------------------------------------------------------- around
  const button = make('button', { onclick: play }, 'Play');
  const choose = make('select', { 'aria-label': 'Song', oninput: () => { song = Number(choose.value); stop(); show(); } },
    ...data.songs.map((s, i) => make('option', { value: i }, s.caption)));
  const pen = make('button', { 'aria-pressed': 'false', onclick: () => {
    drawing = !drawing;
    pen.setAttribute('aria-pressed', drawing);
  } }, 'Draw a path');
  const follow = make('button', { onclick: async () => {
    if (path.length < 2) { said.textContent = 'Press “Draw a path” and draw one first.'; return; }
    if (following) return;
    if (!playing) await play();
    const begun = performance.now();
    following = setInterval(() => {
      const gone = (performance.now() - begun) / (1000 * data.seconds);
      place(path[Math.min(Math.floor(gone * path.length), path.length - 1)]);
      if (gone >= 1) { clearInterval(following); following = null; stop(); }
    }, 40);
  } }, 'Follow it');
  const sung = make('div', { class: 'sung' });
  const sing = make('button', { onclick: async () => {
    const asked = drawing && path.length > 1 ? path : [[...at]];
    sing.disabled = true;
    sing.textContent = 'Singing …';
    const answer = await ask({ song, path: asked });
    sing.disabled = false;
    sing.textContent = 'Sing here';
    if (answer.error) return sung.replaceChildren(make('p', {}, answer.error));
    stop();
    const what = asked.length > 1 ? 'Along the path' : `Asked for ${told(asked[0])}`;
    sung.replaceChildren(make('p', {}, `${what}; a listener hears ${told(answer.heard)}.`),
      make('audio', { controls: '', src: 'data:audio/mpeg;base64,' + answer.sound, 'aria-label': 'the song sung here' }));
  } }, 'Sing here');
  const live = ask ? [sing] : [];
  root.classList.add('pad');
  root.replaceChildren(plane, make('div', { class: 'side' }, make('div', { class: 'bar' }, choose, button, pen, follow, ...live), said,
    make('p', { class: 'key' }, 'Small dots: what was asked. Large dots: where a listener hears the song. Drag to move between songs; ' +
      'draw a path and follow it.' + (ask ? '' : ' In JupyterLab the model also sings at any point, or along the path.')), sung));
  root.pad = { weights: () => weights(at), level: () => {
    if (!playing) return 0;
    const wave = new Float32Array(playing.meter.fftSize);
    playing.meter.getFloatTimeDomainData(wave);
    return Math.max(...wave.map(Math.abs));
  } };
  show();
}
