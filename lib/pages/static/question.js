// One question, as a plugin of jsPsych: a clip is rated on every scale, or of two clips one is chosen. (jsPsych's
// own audio plugins play one clip once, as soon as it is shown, and take one answer.) Clips play on
// demand, and an answer counts when every clip was heard. Needs elements.js, alone.js and jsPsych.
const { BOOL, STRING, INT, FLOAT, AUDIO, COMPLEX } = jsPsychModule.ParameterType;

class Question {
  constructor(jsPsych) {
    this.jsPsych = jsPsych;
  }

  // jsPsych waits for what this promises: the data of the trial.
  async trial(display, given, onLoad) {
    this.given = given;
    this.rating = given.kind === 'rating';
    this.options = this.rating ? [1, 2, 3, 4, 5, 6, 7, 8, 9] : ['A', 'B'];
    this.names = this.rating ? [''] : [' A', ' B'];
    this.heard = given.clips.map(() => false);
    this.response = {};
    this.plays = 0;
    this.on = -1; // the clip that was played last
    this.over = new AbortController(); // takes all listeners away at the end
    this.sounds = await Promise.all(given.stimuli.map((stimulus) => this.load(stimulus)));
    const title = this.draw(display);
    this.sounds.forEach((sound, i) => this.listen(sound, i));
    this.hearKeys(display);
    this.update();
    title.focus();
    this.shown = performance.now();
    onLoad();
    return new Promise((resolve) => {
      this.finish = resolve;
    });
  }

  // ------------------------------------------------------------------------------------- the clips
  async load(stimulus) {
    const player = await this.jsPsych.pluginAPI.getAudioPlayer(stimulus);
    return player.audio ?? new Audio(stimulus); // a phone may load nothing before it is played
  }

  listen(sound, i) {
    const button = this.buttons[i];
    const hear = (event, react) => sound.addEventListener(event, react, { signal: this.over.signal });
    const rest = () => button.classList.remove('on');
    const enough = () => {
      if (this.heard[i]) return;
      this.heard[i] = true;
      this.update();
    };
    hear('playing', () => button.classList.add('on'));
    hear('pause', rest);
    hear('timeupdate', () => {
      if (sound.currentTime >= this.given.enough) enough();
    });
    hear('ended', () => {
      rest();
      enough();
    });
    hear('error', () => {
      this.status.textContent = 'This browser cannot play the clip: try another one.';
    });
  }

  play(i) {
    const sound = this.sounds[i];
    alone(() => sound.pause()); // what sounds on this page, here or elsewhere, stops
    this.on = i;
    this.plays += 1;
    sound.currentTime = 0;
    sound.play().catch(() => {}); // it was stopped before it began, or 'error' says why
  }

  // ----------------------------------------------------------------------------------- the answers
  get ready() {
    return this.heard.every(Boolean);
  }

  get unanswered() {
    return this.given.scales.findIndex(({ name }) => !this.response[name]);
  }

  get complete() {
    return this.ready && this.unanswered < 0;
  }

  // what is to be done next
  get request() {
    if (!this.ready) {
      const rest = this.names.filter((_, i) => !this.heard[i]).map((name) => `clip${name}`).join(' and ');
      return `Press Space and listen to ${rest} (at least ${this.given.enough} seconds).`;
    }
    if (this.complete) return 'Press Enter to go on.';
    return this.rating ? 'Answer with the keys 1 to 9.' : 'Answer with the keys A and B, or ← and →.';
  }

  update() {
    for (const field of this.fields) field.disabled = !this.ready;
    this.next.disabled = !this.complete;
    this.status.textContent = this.request;
  }

  // by a key: the answer to the scale that has the focus, or else to the first one without
  choose(option) {
    const focused = this.fields.findIndex((field) => field.contains(document.activeElement));
    const which = focused >= 0 ? focused : Math.max(this.unanswered, 0);
    this.fields[which].querySelectorAll('input')[option].click();
    const following = this.unanswered;
    (following < 0 ? this.next : this.fields[following].querySelector('input')).focus();
  }

  advance() {
    if (!this.complete) {
      this.status.textContent = this.request;
      return;
    }
    this.over.abort();
    this.sounds.forEach((sound) => sound.pause());
    const { kind, clips } = this.given;
    const rt = Math.round(performance.now() - this.shown);
    this.finish({ kind, clips, response: this.response, rt, plays: this.plays });
  }

  // -------------------------------------------------------------------------------------- the keys
  // jsPsych's own listener takes keys that are held with Ctrl, too, and does not tell what has the focus
  hearKeys(display) {
    const ears = this.given.everywhere ? document : display;
    const hear = (event, react) => ears.addEventListener(event, react, { signal: this.over.signal });
    hear('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (!this.press(event)) return;
      event.preventDefault();
      event.stopPropagation();
    });
    // some browsers press a button when Space is let go
    hear('keyup', (event) => {
      if (event.key === ' ') event.preventDefault();
    });
  }

  // whether a key meant something
  press({ key, repeat, target }) {
    const own = target.dataset?.clip;
    if (key === ' ') {
      if (!repeat) this.play(own ? Number(own) : (this.on + 1) % this.sounds.length);
      return true;
    }
    if (key === 'Enter') {
      if (own && !this.complete) return false;
      if (!repeat) this.advance();
      return true;
    }
    const option = this.optionOf(key.toLowerCase());
    if (option < 0) return false;
    if (this.ready) this.choose(option);
    else this.status.textContent = this.request;
    return true;
  }

  optionOf(key) {
    if (this.rating) return this.options.indexOf(Number(key));
    return { a: 0, arrowleft: 0, b: 1, arrowright: 1 }[key] ?? -1;
  }

  // ------------------------------------------------------------------------------------ what is seen
  draw(display) {
    const { heading, scales, progress, caution } = this.given;
    const title = make('h3', { tabindex: -1 }, heading);
    this.buttons = this.names.map((name, i) => make('button',
      { class: 'play', 'data-clip': i, onclick: () => this.play(i) }, `▶ Play${name}`));
    this.fields = scales.map((scale) => this.field(scale));
    this.status = make('p', { role: 'status' });
    this.next = make('button', { class: 'next', disabled: '', onclick: () => this.advance() }, 'Next');
    display.replaceChildren(title,
      make('progress', { max: progress.of, value: progress.done,
        'aria-label': `${progress.done} of ${progress.of} questions answered` }),
      make('div', { class: 'plays' }, ...this.buttons), ...this.fields, this.status, this.next,
      make('p', { class: 'keys' }, this.rating ? 'Keys: Space plays, 1 to 9 answer, Tab moves, Enter goes on.'
        : 'Keys: Space plays A, then B; A or ← and B or → answer; Enter goes on.'));
    if (caution) display.append(make('p', { class: 'caution' }, caution));
    return title;
  }

  field(scale) {
    const choices = this.options.map((option, i) => this.choice(scale, option, i));
    const field = make('fieldset', { disabled: '' }, make('legend', {}, scale.question),
      make('div', { class: `choices n${this.options.length}` }, ...choices));
    if (scale.low) {
      field.append(make('div', { class: 'ends', 'aria-hidden': 'true' },
        make('span', {}, scale.low), make('span', {}, scale.high)));
    }
    return field;
  }

  choice({ name, low, high }, option, i) {
    const end = { 0: low, [this.options.length - 1]: high }[i];
    const input = make('input', { type: 'radio', value: i + 1,
      name: `${this.jsPsych.getDisplayContainerElement().id}-${name}`,
      'aria-label': end ? `${option}, ${end}` : option });
    input.addEventListener('change', () => {
      this.response[name] = i + 1;
      this.update();
    });
    return make('label', {}, input, make('span', { 'aria-hidden': 'true' }, option));
  }
}

Question.info = {
  name: 'listening-question',
  version: '1.0.0',
  parameters: {
    kind: { type: STRING }, // rating or pair
    clips: { type: STRING, array: true }, // names that say nothing
    stimuli: { type: AUDIO, array: true }, // addresses of the clips
    scales: { type: COMPLEX, array: true }, // name, question, low and high end
    heading: { type: STRING },
    progress: { type: COMPLEX }, // done, of
    enough: { type: FLOAT }, // seconds heard before an answer counts; a shorter clip must end
    everywhere: { type: BOOL, default: false }, // whether keys count wherever the focus is on the page
    caution: { type: STRING, default: '' },
  },
  data: {
    kind: { type: STRING },
    clips: { type: STRING, array: true },
    response: { type: COMPLEX }, // scale: the point from 1, or 1 for A and 2 for B
    rt: { type: INT }, // milliseconds from when the question was shown to when it was left
    plays: { type: INT },
  },
};
