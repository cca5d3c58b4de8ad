// The emotion pad: the same code in the static book and, by anywidget, in JupyterLab.
// data: what pad.py gathers; ask({song, path}) -> promise of {sound, shape, heard}, or null where no kernel is.
// A place is [valence, arousal]. Returns what stops its sound, which would outlive the place it is drawn in.
// Needs sound.js.
function draw(root, data, ask) {
  const SIZE = 400; // of the plane's drawing
  const EDGE = 26;
  const STEP = 0.1; // an arrow key's
  const FADE = 0.06; // seconds
  const HALF = SIZE / 2;
  const UNIT = (HALF - EDGE) / data.range;

  const signed = (value) => (value < 0 ? '−' : '+') + Math.abs(value).toFixed(1);
  const words = ([valence, arousal]) => `valence ${signed(valence)}, arousal ${signed(arousal)}`;
  const x = (valence) => HALF + valence * UNIT;
  const y = (arousal) => HALF - arousal * UNIT;
  const inside = (value) => Math.min(Math.max(value, -data.reach), data.reach);
  const side = Math.sqrt(data.points.length);

  let at = [0, 0];
  let song = 0;
  let path = [];
  let drawing = false;
  let playing = null;
  let following = null;

  // ----------------------------------------------------------------------------------------- sound
  // bilinear weights of the four songs around a place; points run along valence first
  const weights = (place) => {
    const [across, upwards] = place.map(
      (value) => ((inside(value) + data.reach) / (2 * data.reach)) * (side - 1));
    const column = Math.min(Math.floor(across), side - 2);
    const row = Math.min(Math.floor(upwards), side - 2);
    const right = across - column;
    const up = upwards - row;
    const first = row * side + column;
    const found = new Array(data.points.length).fill(0);
    found[first] = (1 - right) * (1 - up);
    found[first + 1] = right * (1 - up);
    found[first + side] = (1 - right) * up;
    found[first + side + 1] = right * up;
    return found;
  };

  const fade = () => {
    if (!playing?.gains) return;
    const now = playing.context.currentTime;
    weights(at).forEach((weight, i) => {
      playing.gains[i].gain.setTargetAtTime(Math.sqrt(weight), now, FADE);
    });
  };

  const looped = (context, buffer, target) => {
    const gain = context.createGain();
    const source = context.createBufferSource();
    gain.gain.value = 0;
    source.buffer = buffer;
    source.loop = true;
    source.connect(gain).connect(target);
    source.start(context.currentTime + 0.05);
    return gain;
  };

  const stop = () => {
    clearInterval(following);
    following = null;
    if (playing) playing.context.close();
    playing = null;
    playButton.textContent = 'Play';
  };

  // what is loading counts as playing: a second click stops it
  async function play() {
    if (playing) {
      stop();
      return;
    }
    alone(stop);
    const context = new AudioContext();
    const meter = context.createAnalyser();
    meter.connect(context.destination);
    const mine = { context, gains: null, meter };
    playing = mine;
    playButton.textContent = 'Loading …';
    const decode = (sound) => context.decodeAudioData(bytes(sound).buffer);
    const sounds = await Promise.all(data.songs[song].sounds.map(decode)).catch(() => []);
    if (playing !== mine) return;
    mine.gains = sounds.map((buffer) => looped(context, buffer, meter));
    playButton.textContent = 'Stop';
    fade();
  }

  // ----------------------------------------------------------------------------------------- plane
  const handle = svg('circle', { r: 11, class: 'handle' });
  const line = svg('path', { class: 'drawn' });
  const landed = svg('g', { class: 'landed' });
  const status = make('p', { class: 'said', 'aria-live': 'polite' });

  const moveTo = (place) => {
    at = place.map(inside);
    handle.setAttribute('cx', x(at[0]));
    handle.setAttribute('cy', y(at[1]));
    const around = weights(at);
    const nearest = around.indexOf(Math.max(...around));
    status.textContent = `Here: ${words(at)}. The nearest song was asked for ` +
      `${words(data.points[nearest])}; a listener hears ${words(data.songs[song].heard[nearest])}.`;
    fade();
  };

  const showSong = () => {
    const marks = data.points.flatMap((asked, i) => {
      const heard = data.songs[song].heard[i];
      const [from, to] = [asked, heard].map(([valence, arousal]) => [x(valence), y(arousal)]);
      const text = `asked ${words(asked)}, heard ${words(heard)}`;
      return [
        svg('line', { x1: from[0], y1: from[1], x2: to[0], y2: to[1] }),
        svg('circle', { cx: from[0], cy: from[1], r: 2.5, class: 'asked' }),
        svg('circle', { cx: to[0], cy: to[1], r: 4, class: 'heard' }, svg('title', {}, text)),
      ];
    });
    landed.replaceChildren(...marks);
    moveTo(at);
  };

  const showPath = () => {
    const corners = path.map(([valence, arousal]) => `${x(valence)},${y(arousal)}`);
    line.setAttribute('d', corners.length ? `M${corners.join(' L')}` : '');
  };

  const pointed = (event) => {
    const box = plane.getBoundingClientRect();
    const scale = SIZE / box.width;
    const valence = ((event.clientX - box.left) * scale - HALF) / UNIT;
    const arousal = (HALF - (event.clientY - box.top) * scale) / UNIT;
    return [inside(valence), inside(arousal)];
  };

  const onPointer = (event) => {
    if (event.type === 'pointermove' && event.buttons === 0) return;
    if (event.type === 'pointerdown') {
      plane.setPointerCapture(event.pointerId);
      if (drawing) path = [];
    }
    const place = pointed(event);
    if (drawing) {
      path.push(place);
      showPath();
    }
    moveTo(place);
    event.preventDefault();
  };

  const ARROWS = {
    ArrowLeft: [-STEP, 0],
    ArrowRight: [STEP, 0],
    ArrowUp: [0, STEP],
    ArrowDown: [0, -STEP],
  };
  const onKey = (event) => {
    const arrow = ARROWS[event.key];
    if (arrow) {
      moveTo([at[0] + arrow[0], at[1] + arrow[1]]);
    } else if (event.key === ' ') {
      play();
    } else if (event.key === 'Enter' && drawing) {
      path.push(at);
      showPath();
    } else {
      return;
    }
    event.preventDefault();
  };

  const emotions = Object.entries(data.emotions).map(([name, [valence, arousal]]) => svg('g', {},
    put(mark(data.shapes[name], 6, data.colors[name]), [x(valence), y(arousal)]),
    svg('text', { x: x(valence), y: y(arousal) - 10, class: 'emotion', 'text-anchor': 'middle' }, name)));
  const reach = 2 * data.reach * UNIT;
  const plane = svg('svg', { viewBox: `0 0 ${SIZE} ${SIZE}`, class: 'plane', tabindex: 0,
    role: 'application', onpointerdown: onPointer, onpointermove: onPointer, onkeydown: onKey,
    'aria-label': 'Emotion pad: valence to the right, arousal upwards. Arrow keys move, the space bar plays; ' +
      'while a path is drawn, Enter adds a place to it.' },
  svg('line', { x1: EDGE, x2: SIZE - EDGE, y1: HALF, y2: HALF }),
  svg('line', { x1: HALF, x2: HALF, y1: EDGE, y2: SIZE - EDGE }),
  svg('rect', { x: x(-data.reach), y: y(data.reach), width: reach, height: reach, class: 'edge' }),
  ...emotions,
  svg('text', { x: SIZE - 4, y: HALF - 6, 'text-anchor': 'end' }, 'valence (SD) →'),
  svg('text', { x: HALF - 6, y: 16, 'text-anchor': 'end' }, 'arousal (SD) ↑'),
  landed, line, handle);

  // -------------------------------------------------------------------------------------- controls
  const playButton = make('button', { onclick: play }, 'Play');

  const menu = make('select', { 'aria-label': 'Song' },
    ...data.songs.map(({ caption }, i) => make('option', { value: i }, caption)));
  menu.addEventListener('input', () => {
    song = Number(menu.value);
    stop();
    showSong();
  });

  const pen = make('button', { 'aria-pressed': 'false' }, 'Draw a path');
  pen.addEventListener('click', () => {
    drawing = !drawing;
    pen.setAttribute('aria-pressed', drawing);
  });

  const follow = async () => {
    if (path.length < 2) {
      status.textContent = 'Press “Draw a path” and draw one first.';
      return;
    }
    if (following) return;
    if (!playing) await play();
    if (!playing?.gains) return;
    const begun = performance.now();
    following = setInterval(() => {
      const share = (performance.now() - begun) / (1000 * data.seconds);
      moveTo(path[Math.min(Math.floor(share * path.length), path.length - 1)]);
      if (share >= 1) stop();
    }, 40);
  };

  const sung = make('div', { class: 'sung' });
  const sing = async () => {
    const asked = drawing && path.length > 1 ? path : [at];
    singButton.disabled = true;
    singButton.textContent = 'Singing …';
    const answer = await ask({ song, path: asked });
    singButton.disabled = false;
    singButton.textContent = 'Sing here';
    if (answer.error) {
      sung.replaceChildren(make('p', {}, answer.error));
      return;
    }
    stop();
    const what = asked.length > 1 ? 'Along the path' : `Asked for ${words(asked[0])}`;
    sung.replaceChildren(
      make('p', {}, `${what}; a listener hears ${words(answer.heard)}.`),
      sound(answer, 'the song sung here'));
  };
  const singButton = make('button', { onclick: sing }, 'Sing here');

  const bar = make('div', { class: 'bar' },
    menu, playButton, pen, make('button', { onclick: follow }, 'Follow it'));
  if (ask) bar.append(singButton);
  const key = 'Small dots: what was asked. Large dots: where a listener hears the song. ' +
    'Drag to move between songs; draw a path and follow it.';
  const more = ask ? '' : ' In JupyterLab the model also sings at any point, or along the path.';
  root.classList.add('pad');
  root.replaceChildren(plane,
    make('div', { class: 'side' }, bar, status, make('p', { class: 'key' }, key + more), sung));

  const level = () => {
    if (!playing) return 0;
    const wave = new Float32Array(playing.meter.fftSize);
    playing.meter.getFloatTimeDomainData(wave);
    return Math.max(...wave.map(Math.abs));
  };
  root.pad = { weights: () => weights(at), level };
  showSong();
  return stop;
}
