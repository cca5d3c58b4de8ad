// An organism that sings: its three graphs (lib/musicgen/browser.py says what they take and give), run by
// onnxruntime-web, and the sampling of lib/musicgen/sampling.py.
import { gumbel } from './noise.mjs';
import { tokenize } from './tokenizer.mjs';

const ROWS = 2; // one reads the prompt, the other no text
const { fround } = Math;

export class Organism {
  // ort: onnxruntime-web; files: {text, step, codec}, each the bytes of a graph.
  static async open(ort, files, data) {
    const sessions = {};
    for (const [name, content] of Object.entries(files)) {
      sessions[name] = await ort.InferenceSession.create(content, { executionProviders: ['wasm'] });
    }
    return new Organism(ort, sessions, data);
  }

  constructor(ort, sessions, data) {
    this.ort = ort;
    this.sessions = sessions;
    this.data = data;
  }

  floats(values, dims) {
    return new this.ort.Tensor('float32', values, dims);
  }

  whole(values, dims) {
    return new this.ort.Tensor('int32', Int32Array.from(values), dims);
  }

  // What cross-attention reads in every block.
  async read(prompt) {
    const ids = tokenize(prompt, this.data.tokenizer);
    const said = Number(prompt !== '');
    const inputs = { ids: this.whole(ids, [1, ids.length]), said: this.floats([said], [1]) };
    return (await this.sessions.text.run(inputs)).text;
  }

  // A song to be sung position by position.
  // how: {seed, frames, temperature, topK}
  async song(prompt, how) {
    return new Song(this, await this.read(prompt), how);
  }

  // The sound of some frames of tokens [codebook][frame], as it is in the midst of all of them.
  async sound(tokens, first, stop, frames) {
    const { context, sampleRate, frameRate } = this.data.shape;
    const from = Math.max(0, first - context);
    const to = Math.min(frames, stop + context);
    const some = tokens.flatMap((row) => row.slice(from, to));
    const inputs = { tokens: this.whole(some, [1, tokens.length, to - from]) };
    const { sound } = await this.sessions.codec.run(inputs);
    const hop = sampleRate / frameRate;
    return sound.data.slice((first - from) * hop, (stop - from) * hop);
  }
}

class Song {
  constructor(organism, text, how) {
    const { shape } = organism.data;
    this.organism = organism;
    this.shape = shape;
    this.how = how;
    this.frames = how.frames;
    this.steps = how.frames + Math.max(...shape.delays);
    this.position = 0;
    this.tokens = shape.delays.map(() => new Array(how.frames).fill(0));
    this.latest = shape.delays.map(() => shape.card);
    const size = shape.width / shape.heads;
    this.kept = [shape.blocks, 2, ROWS, shape.heads, shape.positions, size];
    this.past = new Float32Array(this.kept.reduce((a, b) => a * b));
    this.inputs = { text, past: organism.floats(this.past, this.kept) };
  }

  // Frames of which every codebook is there.
  get whole() {
    return Math.max(0, Math.min(this.frames, this.position - Math.max(...this.shape.delays)));
  }

  get over() {
    return this.position === this.steps;
  }

  // One position on.
  // changes: {guidance, push [block, row, width], gates [2, block, head]}, flat
  // Returns what each block passes on [block, row, width], flat.
  async step({ guidance, push, gates }) {
    const { organism, shape, position } = this;
    const { logits, new: added, streams } = await organism.sessions.step.run({
      ...this.inputs,
      tokens: organism.whole(this.latest, [1, this.latest.length, 1]),
      position: organism.whole([position], [1]),
      push: organism.floats(push, [shape.blocks, ROWS, shape.width]),
      heads: organism.floats(gates, [2, shape.blocks, shape.heads]),
    });
    this.keep(added.data);
    const drawn = this.draw(logits.data, guidance);
    this.latest = drawn.map((token, k) => {
      const frame = position - shape.delays[k];
      if (frame < 0 || frame >= this.frames) return shape.card;
      this.tokens[k][frame] = token;
      return token;
    });
    this.position += 1;
    return streams.data;
  }

  // Keys and values of this position, among those of all.
  keep(added) {
    const [, , , , positions, size] = this.kept;
    for (let k = 0; k < added.length / size; k++) {
      const values = added.subarray(k * size, (k + 1) * size);
      this.past.set(values, (k * positions + this.position) * size);
    }
  }

  // One token a codebook, by classifier-free guidance (Ho and Salimans 2022).
  draw(both, guidance) {
    const { card, codebooks } = this.shape;
    const { seed, temperature } = this.how;
    const noise = temperature > 0 ? gumbel(seed, this.position, codebooks, card) : null;
    const half = codebooks * card;
    return Array.from({ length: codebooks }, (_, k) => {
      const logits = new Float32Array(card);
      for (let i = 0; i < card; i++) {
        const uncond = both[half + k * card + i];
        const apart = fround(both[k * card + i] - uncond);
        logits[i] = uncond + fround(apart * fround(guidance));
      }
      if (!noise) return likeliest(logits);
      return this.race(logits, noise.subarray(k * card, (k + 1) * card));
    });
  }

  // The winner of logits and noise among the likeliest tokens.
  race(logits, noise) {
    const temperature = fround(this.how.temperature);
    const race = logits.map((logit, i) => fround(logit / temperature) + noise[i]);
    const winner = likeliest(race);
    const better = logits.reduce((count, logit) => count + (logit > logits[winner]), 0);
    if (better < this.how.topK) return winner;
    const least = Float32Array.from(logits).sort()[logits.length - this.how.topK];
    return likeliest(race.map((value, i) => (logits[i] < least ? -Infinity : value)));
  }
}

function likeliest(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
