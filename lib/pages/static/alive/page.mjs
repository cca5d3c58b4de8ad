// An organism that sings: words, song, plane, sliders. lib/pages/alive.py says what its data hold.
import { make } from './elements.mjs';
import { heads, levers } from './levers.mjs';
import { plane } from './plane.mjs';
import { Player } from './player.mjs';
import { wave } from './wave.mjs';
import { wordField } from './words.mjs';

const LEAD = 30; // frames that it sings ahead of those whose sound is settled
const SMOOTH = 0.12; // share of each frame in the place that is shown
const EVERY = 500; // milliseconds between what is shown, for whoever wants no motion
const EXAMPLES = ['a sad violin melody', 'a very happy piano song', 'calm music for guitar',
  'a tense, fast trumpet theme'];

// root: a place with its data inside, or an empty one: then what copy put beside this script.
export async function open(root) {
  const inside = root.querySelector('script')?.textContent;
  draw(root, inside ? JSON.parse(inside) : await fetched());
}

async function fetched() {
  const [found, sheet] = ['panel.json', 'panel.css'].map((name) => new URL(name, import.meta.url).href);
  document.head.append(make('link', { rel: 'stylesheet', href: sheet }));
  return (await fetch(found)).json();
}

function draw(root, data) {
  const at = new URL('.', import.meta.url).href;
  const { shape, settings } = data;
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  const player = new Player(shape.sampleRate, () => stop());
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;
  let worker = null;
  let count = 0; // of songs
  let making = null; // the take that is being made
  let takes = []; // as sung, and unsteered
  let heard = 0; // which of them

  // ------------------------------------------------------------------------------------- the worker
  const load = () => {
    loadButton.disabled = true;
    bar.hidden = false;
    say('Loading the organism …');
    worker?.terminate(); // one that failed
    worker = new Worker(new URL('worker.mjs', at), { type: 'module' });
    worker.addEventListener('message', (event) => SAID[event.data.say](event.data));
    worker.addEventListener('error', () => SAID.failed({ error: 'its script could not be started' }));
    worker.postMessage({ ask: 'open', data, at });
  };

  const SAID = {
    loaded({ bytes }) {
      bar.value = bytes / data.bytes;
    },
    ready({ bytes }) {
      root.dataset.bytes = bytes;
      loading.hidden = true;
      stage.hidden = false;
      say(`Loaded ${megabytes(bytes)}. It can sing now.`);
      enable();
      singButton.focus();
    },
    part({ song, first, sound, readings }) {
      if (song !== making?.song) return;
      const { take } = making;
      take.sound.set(sound, first * shape.sampleRate / shape.frameRate);
      for (const { place, active, steered } of readings) {
        take.steered ||= steered;
        const before = take.places.at(-1) ?? place;
        take.places.push(place.map((value, k) => before[k] + SMOOTH * (value - before[k])));
        take.active.push(active);
      }
      making.stream?.add(sound);
      picture.draw(takes.map((each) => each.sound));
    },
    over({ song, tokens, seconds }) {
      if (song !== making?.song) return;
      making.take.tokens = tokens;
      making.take.seconds = seconds;
      const { stream, then } = making;
      if (!stream) making = null;
      then?.();
    },
    failed({ error }) {
      making = null;
      say(`It cannot sing here: ${error}`);
      loadButton.disabled = false;
      enable();
    },
  };

  const asked = () => ({ strengths: push.strengths, gates: gates.gates, guidance: Number(guide.value) });
  const unsteered = () => ({ ...asked(), strengths: data.levers.map(() => 0),
    gates: gates.gates.map(() => 1) });
  const isSteered = () => push.strengths.some(Boolean) || gates.gates.includes(0);

  // Ask for a take; it is heard while it is made if there is a stream.
  const ask = (prompt, how, changes, stream, then) => {
    const take = { prompt, how, steered: false, places: [], active: [],
      sound: new Float32Array(how.frames * shape.sampleRate / shape.frameRate) };
    count += 1;
    making = { song: count, take, stream, then };
    worker.postMessage({ ask: 'sing', song: count, prompt, how, changes });
    return take;
  };

  // ----------------------------------------------------------------------------------------- acting
  const sing = () => {
    if (!worker || stage.hidden) {
      if (!loadButton.disabled) load();
      return;
    }
    const frames = Math.round(settings.seconds * shape.frameRate);
    const how = { seed: Number(seed.value) || 0, frames, temperature: settings.temperature,
      topK: settings.topK };
    const stream = player.stream(frames / shape.frameRate);
    takes = [ask(field.text, how, asked(), stream)];
    heard = 0;
    say(`Singing “${field.text || 'nothing in particular'}” …`);
    enable();
    watch();
  };

  const again = () => {
    stop();
    const [first] = takes;
    say('Singing the same song again, unsteered …');
    takes = [first, ask(first.prompt, first.how, unsteered(), null, () => {
      listen(1);
      say('Both play side by side, and you hear the unsteered one. Switch between them in time.');
    })];
    enable();
  };

  const listen = (which) => {
    heard = which;
    player.loop(takes.map((take) => take.sound), heard);
    enable();
    watch();
  };

  const hear = (which) => {
    heard = which;
    player.playing?.hear?.(which);
    enable();
  };

  const stop = () => {
    player.stop();
    if (making) {
      worker.postMessage({ ask: 'stop' });
      takes = takes.filter((take) => take !== making.take);
      making = null;
    }
    enable();
  };

  // in a closed panel nobody could stop it
  root.closest('details')?.addEventListener('toggle', ({ target }) => {
    if (!target.open) stop();
  });

  const onchange = () => {
    if (making?.stream) {
      worker.postMessage({ ask: 'change', changes: asked() });
    }
    enable();
  };

  const rest = () => {
    push.rest();
    gates.rest();
    onchange();
  };

  // ---------------------------------------------------------------------------------------- watching
  let shown = -1; // frame
  let moment = 0; // when it was shown
  let request = 0;
  const watch = () => {
    shown = -1;
    cancelAnimationFrame(request);
    request = requestAnimationFrame(look);
  };
  const look = (now) => {
    const { playing } = player;
    if (!playing) return;
    const frame = Math.floor(playing.position * shape.frameRate);
    const waits = still && now - moment < EVERY;
    if (frame !== shown && !waits) {
      shown = frame;
      moment = now;
      show(frame);
      if (making?.stream === playing) goOn(playing, frame);
    }
    if (playing.over) {
      finish();
      return;
    }
    request = requestAnimationFrame(look);
  };

  // It sings no further ahead than it must, so that a slider is soon heard.
  const goOn = (playing, frame) => {
    if (playing.start === null) return;
    worker.postMessage({ ask: 'ahead', frame: frame + shape.context + LEAD });
  };

  const show = (frame) => {
    const take = takes[heard] ?? { places: [], active: [] };
    map.show(take.places, frame);
    place.textContent = map.tell(take.places[Math.min(frame, take.places.length - 1)]);
    const active = take.active[Math.min(frame, take.active.length - 1)];
    if (active) push.activity(active);
    const { position } = player.playing ?? { position: 0 };
    picture.cursor(position / settings.seconds);
  };

  const finish = () => {
    player.stop();
    making = null;
    const [{ steered, places }] = takes;
    const where = map.tell(places.at(-1));
    const next = steered ? ' Now hear it again, unsteered.' : ' Move a slider and sing it again.';
    say(`Sung. At its end it is read at ${where}.${next}`);
    enable();
  };

  // ------------------------------------------------------------------------------------ what is there
  const id = root.id;
  const field = wordField(data, `${id}-text`, EXAMPLES[0], () => sing());
  const loadButton = make('button', { type: 'button', class: 'main', onclick: load },
    `Load the organism (${megabytes(data.bytes)})`);
  const bar = make('progress', { max: 1, value: 0, hidden: '', 'aria-label': 'Loaded' });
  const loading = make('p', { class: 'bar' }, loadButton, bar);
  const status = make('p', { class: 'said', role: 'status' });
  const say = (text) => { status.textContent = text; };
  const button = (text, onclick, extra = {}) => make('button', { type: 'button', onclick, ...extra }, text);
  const singButton = button('▶ Sing', sing, { class: 'main' });
  const stopButton = button('■ Stop', stop);
  const listenButton = button('↻ Listen again', () => listen(heard));
  const againButton = button('Again, unsteered', again);
  const choice = ['as sung', 'unsteered'].map((name, k) => (
    button(name, () => hear(k), { 'aria-pressed': 'false' })));
  const both = make('span', { class: 'choice', role: 'group', 'aria-label': 'Which is heard' }, ...choice);
  const restButton = button('All back to rest', rest);
  const enable = () => {
    const busy = Boolean(making);
    stopButton.disabled = !busy && !player.playing;
    listenButton.disabled = busy || !takes.length;
    againButton.disabled = busy || takes.length !== 1 || !takes[0].steered;
    both.hidden = busy || takes.length < 2;
    choice.forEach((each, k) => each.setAttribute('aria-pressed', k === heard));
    restButton.disabled = !isSteered();
  };
  const examples = make('p', { class: 'bar', role: 'group', 'aria-label': 'Examples' },
    ...EXAMPLES.map((text) => button(text, () => field.say(text), { class: 'example' })));
  const push = levers(data, onchange);
  const gates = heads(shape, onchange);
  const guide = make('input', { type: 'range', id: `${id}-guidance`, min: 1, max: 6, step: 0.5,
    value: settings.guidance, oninput: () => { told.textContent = guide.value; onchange(); } });
  const told = make('span', { class: 'told', 'aria-hidden': 'true' }, `${settings.guidance}`);
  const seed = make('input', { type: 'number', id: `${id}-seed`, min: 0, max: 999999, step: 1, value: 1 });
  const how = make('fieldset', {}, make('legend', {}, 'How it sings'),
    make('div', { class: 'lever' }, make('label', { for: guide.id }, 'guidance by the words'), guide, told),
    make('div', { class: 'lever' }, make('label', { for: seed.id }, 'seed (its chance)'), seed));
  const picture = wave();
  const map = plane(data, still);
  const place = make('p', { class: 'key' }, map.tell(null));
  const stage = make('div', { class: 'stage', hidden: '' },
    make('div', { class: 'bar' }, singButton, stopButton, listenButton, againButton, both),
    picture.node,
    make('div', { class: 'columns' },
      make('div', {}, map.node, place),
      make('div', {}, push.node, how, gates.node, restButton)));
  root.replaceChildren(field.node, examples, loading, status, stage);
  root.alive = {
    get level() { return player.level; },
    get takes() { return takes; },
    get heard() { return heard; },
    get position() { return player.playing?.position ?? null; },
    get seconds() { return takes[0]?.seconds ?? null; },
  };
  enable();
}
