// Sound: a song while it is being made, and two recordings between which one switches in time.
import { alone } from './elements.mjs';

const SOON = 0.06; // seconds until what is scheduled first
const FADE = 0.04; // seconds of a crossfade

export class Player {
  // stop: called when something else on the page begins to sound.
  constructor(sampleRate, stop) {
    this.sampleRate = sampleRate;
    this.give = stop;
    this.playing = null;
  }

  // Made by a click: browsers let no page sound by itself. At the songs' own rate, so that parts join.
  get output() {
    if (!this.context) {
      this.context = new AudioContext({ sampleRate: this.sampleRate });
      this.meter = this.context.createAnalyser();
      this.meter.connect(this.context.destination);
    }
    this.context.resume();
    return this.context;
  }

  buffer(samples) {
    const found = this.output.createBuffer(1, samples.length, this.sampleRate);
    found.copyToChannel(samples, 0);
    return found;
  }

  // A song that comes in parts. whole: its seconds.
  stream(whole) {
    this.stop();
    alone(this.give);
    this.playing = new Stream(this, whole);
    return this.playing;
  }

  // Recordings of equal length, looped side by side; one is heard.
  loop(sounds, heard, from = 0) {
    this.stop();
    alone(this.give);
    this.playing = new Loop(this, sounds, heard, from);
    return this.playing;
  }

  stop() {
    this.playing?.stop();
    this.playing = null;
  }

  // The loudest sample of the moment.
  get level() {
    if (!this.playing) return 0;
    const wave = new Float32Array(this.meter.fftSize);
    this.meter.getFloatTimeDomainData(wave);
    return wave.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  }
}

class Stream {
  constructor(player, whole) {
    this.player = player;
    this.context = player.output;
    this.whole = whole;
    this.begun = performance.now();
    this.made = 0; // seconds
    this.waiting = [];
    this.sources = [];
    this.start = null; // the context's time at the song's beginning
  }

  add(samples) {
    this.waiting.push([this.made, samples]);
    this.made += samples.length / this.player.sampleRate;
    if (this.start === null && this.suffices) this.start = this.context.currentTime + SOON;
    if (this.start !== null) this.schedule();
  }

  // Whether the rest will be made before it is to be heard, if it goes on like this.
  get suffices() {
    const speed = this.made / ((performance.now() - this.begun) / 1000);
    return this.made >= (1 - 0.8 * speed) * this.whole;
  }

  schedule() {
    for (const [at, samples] of this.waiting.splice(0)) {
      const now = this.context.currentTime;
      if (this.start + at < now) this.start = now + SOON - at; // late: the rest is heard later
      const source = this.context.createBufferSource();
      source.buffer = this.player.buffer(samples);
      source.connect(this.player.meter);
      source.start(this.start + at);
      this.sources.push(source);
    }
  }

  get position() {
    if (this.start === null) return 0;
    return Math.min(Math.max(0, this.context.currentTime - this.start), this.made);
  }

  get over() {
    return this.start !== null && this.position >= this.whole - 1e-3;
  }

  stop() {
    for (const source of this.sources) source.stop();
  }
}

class Loop {
  constructor(player, sounds, heard, from) {
    this.context = player.output;
    this.seconds = sounds[0].length / player.sampleRate;
    this.start = this.context.currentTime + SOON - from;
    this.tracks = sounds.map((samples) => {
      const gain = this.context.createGain();
      const source = this.context.createBufferSource();
      gain.gain.value = 0;
      source.buffer = player.buffer(samples);
      source.loop = true;
      source.connect(gain).connect(player.meter);
      source.start(this.start + from, from);
      return { gain, source };
    });
    this.hear(heard);
  }

  hear(heard) {
    this.tracks.forEach(({ gain }, k) => {
      gain.gain.setTargetAtTime(Number(k === heard), this.context.currentTime, FADE);
    });
  }

  get position() {
    const since = Math.max(0, this.context.currentTime - this.start);
    return since % this.seconds;
  }

  get over() {
    return false;
  }

  stop() {
    for (const { source } of this.tracks) source.stop();
  }
}
