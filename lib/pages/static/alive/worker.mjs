// The organism beside the page, so that the page answers while it sings.
// Asked: {ask: 'open', data, at}, {ask: 'sing', song, prompt, how, changes}, {ask: 'change', changes},
// {ask: 'ahead', frame} (how far it may sing), {ask: 'stop'}. Said: {say: 'loaded', bytes},
// {say: 'ready'}, {say: 'part', song, first, sound, readings}, {say: 'over', song, tokens, seconds},
// {say: 'failed', error}.
import { Organism } from './organism.mjs';
import { readings, changed } from './readings.mjs';

const PART = 10; // frames of which the sound is made at once

let organism;
let singing = null; // {song, changes, ahead, wake} of what is being sung

async function fetched(url, report) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} is not there (${answer.status}).`);
  const parts = [];
  for await (const part of chunks(answer.body.getReader())) {
    parts.push(part);
    report(part.length);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function* chunks(reader) {
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

async function open({ data, at }) {
  let bytes = 0;
  const report = (count) => {
    bytes += count;
    postMessage({ say: 'loaded', bytes });
  };
  const ort = await import(new URL(data.runtime.script, at).href);
  ort.env.wasm.numThreads = 1; // steps are too small to share
  ort.env.wasm.wasmBinary = await fetched(new URL(data.runtime.program, at), report);
  const files = {};
  for (const [name, file] of Object.entries(data.graphs)) {
    files[name] = await fetched(new URL(file, at), report);
  }
  organism = await Organism.open(ort, files, data);
  postMessage({ say: 'ready', bytes });
}

async function sing({ song: id, prompt, how, changes }) {
  if (singing) stop();
  const mine = { song: id, changes, ahead: how.ahead ?? Infinity, wake: null };
  singing = mine;
  const begun = performance.now();
  const song = await organism.song(prompt, how);
  const read = [];
  let made = 0;
  while (!song.over && singing === mine) {
    const now = changed(mine.changes, organism.data);
    const streams = await song.step(now);
    read.push(readings(streams, now, organism.data));
    made = await pass(song, mine, made, read);
    while (song.position >= mine.ahead && singing === mine) {
      await new Promise((resolve) => { mine.wake = resolve; });
    }
  }
  if (singing !== mine) return;
  singing = null;
  const seconds = (performance.now() - begun) / 1000;
  postMessage({ say: 'over', song: id, tokens: song.tokens, seconds });
}

// Send the sound of all frames that no later one can change; returns how many are made.
async function pass(song, mine, made, read) {
  const { context } = organism.data.shape;
  const settled = song.over ? song.frames : song.whole - context;
  if (settled - made < PART && !song.over) return made;
  const sound = await organism.sound(song.tokens, made, settled, song.whole);
  if (singing !== mine) return made;
  const about = read.slice(made, settled);
  postMessage({ say: 'part', song: mine.song, first: made, sound, readings: about });
  return settled;
}

function wake() {
  singing?.wake?.();
}

function stop() {
  const before = singing;
  singing = null;
  before?.wake?.();
}

const ANSWERS = {
  open,
  sing,
  stop,
  change({ changes }) {
    if (singing) singing.changes = changes;
  },
  ahead({ frame }) {
    if (singing) singing.ahead = frame;
    wake();
  },
};

addEventListener('message', async ({ data }) => {
  try {
    await ANSWERS[data.ask](data);
  } catch (error) {
    postMessage({ say: 'failed', error: String(error.message ?? error) });
  }
});
