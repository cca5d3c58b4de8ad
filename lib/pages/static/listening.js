// The blind listening test, on a page of its own or inline in a notebook. It names no condition, sends
// nothing, and keeps every answer in the browser. data: what listening/design.py gathers; alone: whether
// the page is the test's own, which may then hear all its keys. Needs elements.js, seal.js, memory.js.
function draw(root, data) {
  const ENOUGH = 2; // seconds heard before an answer counts; a shorter clip must end
  const kept = memory(`listening:${data.test}:`);
  const nothing = () => false;
  const ears = data.alone ? document : root;
  let onkey = nothing;
  let sounds = [];
  let state = null;

  const now = () => new Date().toISOString();
  const row = (rows, participant) => (rows.length ? rows[(participant - 1) % rows.length] : []);
  const plan = (participant) => [
    ...row(data.orders.rating, participant).map((clip) => ({ kind: 'rating', clips: [clip] })),
    ...row(data.orders.pair, participant).map((clips) => ({ kind: 'pair', clips })),
  ];
  const paragraph = (text, attributes = {}) => make('p', attributes, text);
  const show = (heading, ...children) => {
    const title = make('h3', { tabindex: -1 }, heading);
    const moved = root.childElementCount > 0;
    root.replaceChildren(title, ...children);
    if (moved) title.focus(); // not when the page opens: a notebook must not jump here
  };
  // what a participant must know where the browser keeps nothing
  const caution = (text) => (kept.lasting() ? [] : [paragraph(text, { class: 'caution' })]);

  // ------------------------------------------------------------------------------------- beginning
  function welcome() {
    onkey = nothing;
    const last = kept.recall('last');
    const number = make('input', { type: 'number', min: 1, max: 9999, step: 1, required: '',
      inputmode: 'numeric', id: `${root.id}-number`, value: last });
    const wrong = paragraph('', { role: 'alert' });
    const begin = (event) => {
      event.preventDefault();
      const participant = Number(number.value);
      if (!Number.isInteger(participant) || participant < 1 || participant > 9999) {
        wrong.textContent = 'A participant number is a whole number from 1 to 9999.';
        return;
      }
      state = kept.recall(participant) || { participant, started: now(), answers: [] };
      kept.keep('last', participant);
      trial();
    };
    const count = plan(1).length;
    const pause = kept.lasting() ? ' You may stop at any time, and go on later with the same number.' : '';
    show(data.title,
      paragraph(`You will hear short pieces of music and answer ${count} times, in about ` +
        `${Math.ceil(count / 4)} minutes. Say how the music sounds, not how it makes you feel. ` +
        'Nothing is right or wrong.'),
      paragraph('Use headphones in a quiet place. Set the volume at the first clip and then leave it.'),
      paragraph('Nothing is sent: your answers stay in this browser until you hand over the file you ' +
        `get at the end.${pause}`),
      ...caution('This browser keeps nothing for this page (a private window, perhaps). Please answer ' +
        'everything in one go and take your file at the end: answers are lost when the page is closed ' +
        'or loaded again, and you cannot go on later.'),
      make('form', { novalidate: '', onsubmit: begin },
        make('label', { for: number.id }, 'Your participant number '), number,
        make('button', {}, last ? 'Begin or go on' : 'Begin')),
      wrong);
  }

  // ---------------------------------------------------------------------------------- one question
  function trial() {
    const trials = plan(state.participant);
    const place = state.answers.length;
    sounds.forEach((sound) => sound.pause());
    if (place === trials.length) {
      finish();
      return;
    }
    const { kind, clips } = trials[place];
    const rating = kind === 'rating';
    const names = rating ? [''] : [' A', ' B'];
    const options = rating ? [1, 2, 3, 4, 5, 6, 7, 8, 9] : ['A', 'B'];
    const scales = rating ? data.ratings : [data.pair];
    const shown = performance.now();
    const heard = clips.map(() => false);
    const answer = {};
    let plays = 0;
    let on = -1;

    const ready = () => heard.every(Boolean);
    const complete = () => ready() && scales.every(({ name }) => answer[name]);
    const status = paragraph('', { role: 'status' });
    const request = () => {
      if (!ready()) {
        const rest = names.filter((_, i) => !heard[i]).map((name) => `clip${name}`).join(' and ');
        return `Press Space and listen to ${rest} (at least ${ENOUGH} seconds).`;
      }
      if (complete()) return 'Press Enter to go on.';
      return rating ? 'Answer with the keys 1 to 9.' : 'Answer with the keys A and B, or ← and →.';
    };
    const update = () => {
      for (const field of fields) field.disabled = !ready();
      next.disabled = !complete();
      status.textContent = request();
    };

    // the clips
    const listenTo = (clip, i) => {
      const sound = new Audio(mp3(data.clips[clip]));
      const enough = () => {
        if (heard[i]) return;
        heard[i] = true;
        update();
      };
      const rest = () => buttons[i].classList.remove('on');
      sound.addEventListener('timeupdate', () => {
        if (sound.currentTime >= ENOUGH) enough();
      });
      sound.addEventListener('ended', () => {
        rest();
        enough();
      });
      sound.addEventListener('pause', rest);
      sound.addEventListener('error', () => {
        status.textContent = 'This browser cannot play the clip: try another one.';
      });
      return sound;
    };
    const play = (i) => {
      sounds.forEach((sound) => sound.pause());
      on = i;
      plays += 1;
      sounds[i].currentTime = 0;
      sounds[i].play().then(() => buttons[i].classList.add('on'), () => {});
    };
    sounds = clips.map(listenTo);
    const buttons = names.map((name, i) => make('button',
      { class: 'play', 'data-clip': i, onclick: () => play(i) }, `▶ Play${name}`));

    // the answers
    const choice = ({ name, low, high }, option, i) => {
      const first = i === 0 && low;
      const last = i === options.length - 1 && high;
      const end = first || last;
      const input = make('input', { type: 'radio', value: i + 1, name: `${root.id}-${name}`,
        'aria-label': end ? `${option}, ${end}` : option });
      input.addEventListener('change', () => {
        answer[name] = i + 1;
        update();
      });
      return make('label', {}, input, make('span', { 'aria-hidden': 'true' }, option));
    };
    const field = (scale) => {
      const choices = options.map((option, i) => choice(scale, option, i));
      const set = make('fieldset', { disabled: '' }, make('legend', {}, scale.question),
        make('div', { class: `choices n${options.length}` }, ...choices));
      if (scale.low) {
        set.append(make('div', { class: 'ends', 'aria-hidden': 'true' },
          make('span', {}, scale.low), make('span', {}, scale.high)));
      }
      return set;
    };
    const fields = scales.map(field);
    const unanswered = () => scales.findIndex(({ name }) => !answer[name]);
    const choose = (option) => {
      const focused = fields.findIndex((set) => set.contains(document.activeElement));
      const which = focused >= 0 ? focused : Math.max(unanswered(), 0);
      fields[which].querySelectorAll('input')[option].click();
      const following = unanswered();
      (following < 0 ? next : fields[following].querySelector('input')).focus();
    };
    const advance = () => {
      if (!complete()) {
        status.textContent = request();
        return;
      }
      state.answers.push({ answer, clips, kind, ms: Math.round(performance.now() - shown), plays });
      kept.keep(state.participant, state);
      trial();
    };
    const next = make('button', { class: 'next', disabled: '', onclick: advance }, 'Next');

    // the keys
    const optionOf = (key) => {
      if (rating) return options.indexOf(Number(key));
      return { a: 0, arrowleft: 0, b: 1, arrowright: 1 }[key] ?? -1;
    };
    onkey = (event) => {
      const key = event.key.toLowerCase();
      const own = event.target.dataset && event.target.dataset.clip;
      if (key === ' ') {
        if (!event.repeat) play(own ? Number(own) : (on + 1) % clips.length);
        return true;
      }
      if (key === 'enter') {
        if (own && !complete()) return false;
        if (!event.repeat) advance();
        return true;
      }
      const option = optionOf(key);
      if (option < 0) return false;
      if (ready()) choose(option);
      else status.textContent = request();
      return true;
    };

    const first = trials.findIndex((other) => other.kind === kind);
    const size = trials.filter((other) => other.kind === kind).length;
    show(`${rating ? 'Rate' : 'Compare'}: ${place - first + 1} of ${size}`,
      make('progress', { max: trials.length, value: place,
        'aria-label': `${place} of ${trials.length} questions answered` }),
      make('div', { class: 'plays' }, ...buttons), ...fields, status, next,
      paragraph(rating ? 'Keys: Space plays, 1 to 9 answer, Tab moves, Enter goes on.'
        : 'Keys: Space plays A, then B; A or ← and B or → answer; Enter goes on.', { class: 'keys' }),
      ...caution('Do not close this page before the end: this browser keeps nothing.'));
    update();
  }

  // ------------------------------------------------------------------------------------------- end
  function finish() {
    onkey = nothing;
    const fresh = !state.finished;
    const { answers, participant, started } = state;
    state.finished = state.finished || now();
    kept.keep(participant, state);
    const text = seal({ answers, finished: state.finished, participant, source: 'page', started,
      test: data.test, version: data.version });
    const box = make('textarea', { readonly: '', rows: 6, 'aria-label': 'Your answers' }, text);
    const file = make('a', { class: 'button', download: `answers-${data.test}-${participant}.json`,
      href: URL.createObjectURL(new Blob([text], { type: 'application/json' })) }, 'Download');
    const status = paragraph('', { role: 'status' });
    const copy = async () => {
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        box.select();
        document.execCommand('copy');
      }
      status.textContent = 'Copied.';
    };
    show('Thank you',
      paragraph(`All ${answers.length} answers are in. Please hand over the file ${file.download}, or ` +
        'copy its text.'),
      ...caution('Take the file now: when this page is closed, your answers are gone.'),
      box,
      make('div', { class: 'plays' }, file, make('button', { onclick: copy }, 'Copy'),
        make('button', { onclick: welcome }, 'Another participant')),
      status);
    if (fresh) {
      kept.keep('last', null);
      file.click();
    }
  }

  ears.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!onkey(event)) return;
    event.preventDefault();
    event.stopPropagation();
  });
  // some browsers press a button when Space is let go
  ears.addEventListener('keyup', (event) => {
    if (event.key === ' ' && onkey !== nothing) event.preventDefault();
  });
  // the browser asks before it closes a page whose answers it would lose
  window.addEventListener('beforeunload', (event) => {
    const unsaved = state && state.answers.length > 0 && !state.finished;
    if (unsaved && !kept.lasting()) event.preventDefault();
  });
  welcome();
}
