// The blind listening test, on a page of its own or inline in a notebook. It names no condition, sends nothing, and keeps
// every answer in the browser. data: what lib/listening.py gathers; ears: the element whose keys it answers to.
function sha256(text) {
  // FIPS 180-4, because crypto.subtle is missing on file:// in some browsers
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
  const fraction = (x) => ((x - Math.floor(x)) * 2 ** 32) | 0;
  const k = primes.map((p) => fraction(Math.cbrt(p))), h = primes.slice(0, 8).map((p) => fraction(Math.sqrt(p)));
  const bytes = new TextEncoder().encode(text), words = new Int32Array(16 * (((bytes.length + 8) >> 6) + 1));
  [...bytes, 0x80].forEach((b, i) => { words[i >> 2] |= b << (24 - 8 * (i & 3)); });
  words[words.length - 1] = 8 * bytes.length;
  const turn = (x, ...by) => by.reduce((sum, n) => sum ^ ((x >>> n) | (x << (32 - n))), 0);
  for (let start = 0; start < words.length; start += 16) {
    const w = Array.from(words.subarray(start, start + 16));
    for (let i = 16; i < 64; i++) {
      w[i] = (w[i - 16] + w[i - 7] + (turn(w[i - 15], 7, 18) ^ (w[i - 15] >>> 3)) +
        (turn(w[i - 2], 17, 19) ^ (w[i - 2] >>> 10))) | 0;
    }
    let s = [...h];
    for (let i = 0; i < 64; i++) {
      const [a, b, c, d, e, f, g, last] = s;
      const one = (last + turn(e, 6, 11, 25) + ((e & f) ^ (~e & g)) + k[i] + w[i]) | 0;
      const two = (turn(a, 2, 13, 22) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      s = [(one + two) | 0, a, b, c, (d + one) | 0, e, f, g];
    }
    s.forEach((x, i) => { h[i] = (h[i] + x) | 0; });
  }
  return h.map((x) => (x >>> 0).toString(16).padStart(8, '0')).join('');
}

// the same text as Python's json.dumps(x, sort_keys=True, separators=(",", ":")): all numbers are whole, all text ASCII
function canonical(x) {
  if (Array.isArray(x)) return `[${x.map(canonical).join(',')}]`;
  if (x === null || typeof x !== 'object') return JSON.stringify(x);
  return `{${Object.keys(x).sort().map((key) => `${JSON.stringify(key)}:${canonical(x[key])}`).join(',')}}`;
}

function listening(root, data, ears) {
  const ENOUGH = 2; // seconds heard before an answer counts; a shorter clip must end
  const deaf = () => false;
  let onkey = deaf, sounds = [], state = null;
  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
      else if (value !== null) node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  };
  const memory = (participant) => `listening:${data.test}:${participant}`;
  const recall = (name) => { try { return JSON.parse(localStorage.getItem(memory(name))); } catch { return null; } };
  const keep = (name, value) => { try { localStorage.setItem(memory(name), JSON.stringify(value)); } catch { return; } };
  const now = () => new Date().toISOString();
  const row = (rows, participant) => (rows.length ? rows[(participant - 1) % rows.length] : []);
  const plan = (participant) => [
    ...row(data.orders.rating, participant).map((clip) => ({ kind: 'rating', clips: [clip] })),
    ...row(data.orders.pair, participant).map((clips) => ({ kind: 'pair', clips }))];
  const show = (heading, ...children) => {
    const title = make('h3', { tabindex: -1 }, heading), moved = root.childElementCount > 0;
    root.replaceChildren(title, ...children);
    if (moved) title.focus(); // not when the page opens: a notebook must not jump here
  };

  // ------------------------------------------------------------------------------------------- beginning
  function welcome() {
    onkey = deaf;
    const last = recall('last'), number = make('input', { type: 'number', min: 1, max: 9999, step: 1, required: '',
      inputmode: 'numeric', id: `${root.id}-number`, value: last });
    const wrong = make('p', { role: 'alert' });
    const begin = (event) => {
      event.preventDefault();
      const participant = Number(number.value);
      if (!Number.isInteger(participant) || participant < 1 || participant > 9999) {
        wrong.textContent = 'A participant number is a whole number from 1 to 9999.';
        return;
      }
      state = recall(participant) || { participant, started: now(), answers: [] };
      keep('last', participant);
      trial();
    };
    const count = plan(1).length;
    show(data.title, make('p', {}, `You will hear short pieces of music and answer ${count} times, in about ` +
      `${Math.ceil(count / 4)} minutes. Say how the music sounds, not how it makes you feel. Nothing is right or wrong.`),
    make('p', {}, 'Use headphones in a quiet place. Set the volume at the first clip and then leave it.'),
    make('p', {}, 'Nothing is sent: your answers stay in this browser until you hand over the file you get at the end. ' +
      'You may stop at any time, and go on later with the same number.'),
    make('form', { novalidate: '', onsubmit: begin }, make('label', { for: number.id }, 'Your participant number '), number,
      make('button', {}, last ? 'Begin or go on' : 'Begin')), wrong);
  }

  // ------------------------------------------------------------------------------------------- one question
  function trial() {
    const trials = plan(state.participant), place = state.answers.length;
    sounds.forEach((sound) => sound.pause());
    if (place === trials.length) { finish(); return; }
    const { kind, clips } = trials[place], rating = kind === 'rating', names = rating ? [''] : [' A', ' B'];
    const options = rating ? [1, 2, 3, 4, 5, 6, 7, 8, 9] : ['A', 'B'], scales = rating ? data.ratings : [data.pair];
    const shown = performance.now(), heard = clips.map(() => false), answer = {};
    let plays = 0, on = -1;

    const status = make('p', { role: 'status' });
    const say = () => {
      const rest = names.filter((_, i) => !heard[i]).map((name) => `clip${name}`).join(' and ');
      status.textContent = rest ? `Press Space and listen to ${rest} (at least ${ENOUGH} seconds).`
        : complete() ? 'Press Enter to go on.' : rating ? 'Answer with the keys 1 to 9.'
          : 'Answer with the keys A and B, or ← and →.';
    };
    const ready = () => heard.every(Boolean), complete = () => ready() && scales.every(({ name }) => answer[name]);
    const update = () => {
      fields.forEach((field) => { field.disabled = !ready(); });
      next.disabled = !complete();
      say();
    };
    sounds = clips.map((clip, i) => {
      const sound = new Audio(`data:audio/mpeg;base64,${data.clips[clip]}`);
      const enough = () => { if (!heard[i]) { heard[i] = true; update(); } };
      sound.addEventListener('timeupdate', () => { if (sound.currentTime >= ENOUGH) enough(); });
      sound.addEventListener('ended', () => { buttons[i].classList.remove('on'); enough(); });
      sound.addEventListener('pause', () => buttons[i].classList.remove('on'));
      sound.addEventListener('error', () => { status.textContent = 'This browser cannot play the clip: try another one.'; });
      return sound;
    });
    const play = (i) => {
      sounds.forEach((sound) => sound.pause());
      on = i;
      plays += 1;
      sounds[i].currentTime = 0;
      sounds[i].play().then(() => buttons[i].classList.add('on'), () => {});
    };
    const buttons = names.map((name, i) => make('button', { class: 'play', 'data-clip': i, onclick: () => play(i) },
      `▶ Play${name}`));
    const fields = scales.map(({ name, question, low, high }) => {
      const choices = options.map((option, i) => make('label', {}, make('input', { type: 'radio', value: i + 1,
        name: `${root.id}-${name}`, 'aria-label': i === 0 && low ? `1, ${low}` : i === 8 && high ? `9, ${high}` : option,
        onchange: () => { answer[name] = i + 1; update(); } }), make('span', { 'aria-hidden': 'true' }, option)));
      const ends = low ? [make('div', { class: 'ends', 'aria-hidden': 'true' }, make('span', {}, low),
        make('span', {}, high))] : [];
      return make('fieldset', { disabled: '' }, make('legend', {}, question),
        make('div', { class: `choices n${options.length}` }, ...choices), ...ends);
    });
    const choose = (option) => {
      const inside = fields.findIndex((field) => field.contains(document.activeElement));
      const open = scales.findIndex(({ name }) => !answer[name]), which = inside >= 0 ? inside : Math.max(open, 0);
      fields[which].querySelectorAll('input')[option].click();
      const following = scales.findIndex(({ name }) => !answer[name]);
      (following < 0 ? next : fields[following].querySelector('input')).focus();
    };
    const advance = () => {
      if (!complete()) { say(); return; }
      state.answers.push({ answer, clips, kind, ms: Math.round(performance.now() - shown), plays });
      keep(state.participant, state);
      trial();
    };
    const next = make('button', { class: 'next', disabled: '', onclick: advance }, 'Next');
    onkey = (event) => {
      const key = event.key.toLowerCase(), own = event.target.dataset && event.target.dataset.clip;
      if (key === ' ') {
        if (!event.repeat) play(own ? Number(own) : (on + 1) % clips.length);
      } else if (key === 'enter') {
        if (own && !complete()) return false;
        if (!event.repeat) advance();
      } else {
        const option = rating ? options.indexOf(Number(key)) : { a: 0, arrowleft: 0, b: 1, arrowright: 1 }[key] ?? -1;
        if (option < 0) return false;
        if (ready()) choose(option); else say();
      }
      return true;
    };
    const first = trials.findIndex((other) => other.kind === kind), size = trials.filter((t) => t.kind === kind).length;
    show(`${rating ? 'Rate' : 'Compare'}: ${place - first + 1} of ${size}`,
      make('progress', { max: trials.length, value: place, 'aria-label': `${place} of ${trials.length} questions answered` }),
      make('div', { class: 'plays' }, ...buttons), ...fields, status, next,
      make('p', { class: 'keys' }, rating ? 'Keys: Space plays, 1 to 9 answer, Tab moves, Enter goes on.'
        : 'Keys: Space plays A, then B; A or ← and B or → answer; Enter goes on.'));
    update();
  }

  // ------------------------------------------------------------------------------------------- end
  function finish() {
    onkey = deaf;
    const fresh = !state.finished, { answers, participant, started } = state;
    state.finished = state.finished || now();
    keep(participant, state);
    const body = { answers, finished: state.finished, participant, source: 'page', started, test: data.test,
      version: data.version };
    const text = canonical({ ...body, checksum: sha256(canonical(body)) });
    const box = make('textarea', { readonly: '', rows: 6, 'aria-label': 'Your answers' }, text);
    const file = make('a', { class: 'button', download: `answers-${data.test}-${participant}.json`,
      href: URL.createObjectURL(new Blob([text], { type: 'application/json' })) }, 'Download');
    const status = make('p', { role: 'status' });
    const copy = async () => {
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        box.select();
        document.execCommand('copy');
      }
      status.textContent = 'Copied.';
    };
    show('Thank you', make('p', {}, `All ${answers.length} answers are in. Please hand over the file ${file.download}, or ` +
      'copy its text.'), box, make('div', { class: 'plays' }, file, make('button', { onclick: copy }, 'Copy'),
      make('button', { onclick: welcome }, 'Another participant')), status);
    if (fresh) { keep('last', null); file.click(); }
  }

  ears.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (onkey(event)) { event.preventDefault(); event.stopPropagation(); }
  });
  // some browsers press a button when Space is let go
  ears.addEventListener('keyup', (event) => { if (event.key === ' ' && onkey !== deaf) event.preventDefault(); });
  welcome();
}
