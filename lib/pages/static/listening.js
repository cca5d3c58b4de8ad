// The blind listening test, on a page of its own or inline in a notebook: a timeline of jsPsych. It names no
// condition, sends nothing, and keeps every answer in the browser. data: what listening/design.py gathers;
// alone: whether the page is the test's own, which may then hear all its keys and read its address.
// Needs elements.js, seal.js, memory.js, participant.js, question.js and jsPsych.
function draw(root, data) {
  const ENOUGH = 2; // seconds heard before an answer counts; a shorter clip must end
  const PATIENCE = 10_000; // milliseconds; some phones load no clip before it is played
  const kept = memory(`jspsych:${data.test}:`);
  const guest = data.alone ? invited(location.search) : null;
  let state = null;

  const now = () => new Date().toISOString();
  const rowOf = (rows, participant) => (rows.length ? (participant - 1) % rows.length : null);
  const row = (rows, participant) => rows[rowOf(rows, participant)] ?? [];
  const plan = (participant) => [
    ...row(data.orders.rating, participant).map((clip) => ({ kind: 'rating', clips: [clip] })),
    ...row(data.orders.pair, participant).map((clips) => ({ kind: 'pair', clips })),
  ];
  // jsPsych's records hold all that was answered
  const answered = () => state.records.filter((record) => record.trial_type === Question.info.name);
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
    const count = plan(1).length;
    const again = guest ? 'link' : 'number';
    const pause = kept.lasting() ? ` You may stop at any time, and go on later with the same ${again}.` : '';
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
      ...(guest ? entrance(guest) : counter()));
  }

  // for whom the page's address names
  function entrance({ participant, platform, wrong }) {
    if (wrong) return [paragraph(wrong, { role: 'alert' })];
    const name = platform ? platform.id : `participant ${participant}`;
    const label = kept.recall(participant) ? 'Go on' : 'Begin';
    return [paragraph(`The link to this page says that you are ${name}. Your file will say so, too.`),
      make('button', { onclick: () => begin(participant, platform) }, label)];
  }

  // for everybody else
  function counter() {
    const last = kept.recall('last');
    const number = make('input', { type: 'number', min: 1, max: NUMBERS, step: 1, required: '',
      inputmode: 'numeric', id: `${root.id}-number`, value: last });
    const wrong = paragraph('', { role: 'alert' });
    const enter = (event) => {
      event.preventDefault();
      const participant = numberIn(number.value);
      if (!participant) {
        wrong.textContent = `A participant number is a whole number from 1 to ${NUMBERS}.`;
        return;
      }
      kept.keep('last', participant);
      begin(participant);
    };
    // JupyterLab lets no form be sent with Enter
    const press = (event) => {
      if (event.key === 'Enter' && !event.repeat) enter(event);
    };
    return [make('form', { novalidate: '', onsubmit: enter, onkeydown: press },
      make('label', { for: number.id }, 'Your participant number '), number,
      make('button', {}, last ? 'Begin or go on' : 'Begin')), wrong];
  }

  // --------------------------------------------------------------------------------- the questions
  async function begin(participant, platform) {
    state = kept.recall(participant) ?? { participant, platform, started: now(), records: [] };
    const rest = questions().slice(answered().length);
    if (rest.length) await run(rest);
    finish();
  }

  function questions() {
    const trials = plan(state.participant);
    return trials.map(({ kind, clips }, done) => {
      const alike = trials.filter((other) => other.kind === kind);
      const number = alike.findIndex((other) => other.clips === clips) + 1;
      return {
        type: Question,
        kind,
        clips,
        stimuli: clips.map((clip) => mp3(data.clips[clip])),
        scales: kind === 'rating' ? data.ratings : [data.pair],
        heading: `${kind === 'rating' ? 'Rate' : 'Compare'}: ${number} of ${alike.length}`,
        progress: { done, of: trials.length },
        enough: ENOUGH,
        everywhere: data.alone,
        caution: kept.lasting() ? '' : 'Do not close this page before the end: this browser keeps nothing.',
      };
    });
  }

  async function run(timeline) {
    const jsPsych = initJsPsych({
      display_element: root,
      // plain audio elements, from disk as well: Web Audio would have to fetch, which the page may not
      use_webaudio: false,
      override_safe_mode: true,
      on_data_update: (record) => {
        state.records.push(record);
        kept.keep(state.participant, state);
      },
    });
    jsPsych.data.addProperties({
      participant: state.participant,
      rating_row: rowOf(data.orders.rating, state.participant),
      pair_row: rowOf(data.orders.pair, state.participant),
      ...(state.platform ? { platform: state.platform.name, platform_id: state.platform.id,
        study: state.platform.study, session: state.platform.session } : {}),
    });
    const preload = {
      type: jsPsychPreload,
      trials: timeline,
      message: '<p role="status">The music is being made ready.</p>',
      max_load_time: PATIENCE,
      continue_after_error: true, // a question says itself what cannot be played
    };
    root.replaceChildren();
    await jsPsych.run([preload, ...timeline]);
  }

  // ------------------------------------------------------------------------------------------- end
  function finish() {
    const fresh = !state.finished;
    state.finished = state.finished || now();
    kept.keep(state.participant, state);
    const text = sealed();
    const name = `${data.test}-${state.participant}`;
    const box = make('textarea', { readonly: '', rows: 6, 'aria-label': 'Your answers' }, text);
    const file = download('Download', `answers-${name}.json`, text, 'application/json');
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
    const others = guest ? [] : [make('button', { onclick: welcome }, 'Another participant')];
    show('Thank you',
      paragraph(`All ${answered().length} answers are in. Please hand over the file ${file.download}, or ` +
        'copy its text.'),
      ...caution('Take the file now: when this page is closed, your answers are gone.'),
      box,
      make('div', { class: 'plays' }, file, make('button', { onclick: copy }, 'Copy'), ...others),
      status, ...completion(), records(name));
    if (fresh) {
      kept.keep('last', null);
      file.click();
    }
  }

  // the answer file, as listening/answers.py reads it
  function sealed() {
    const { finished, participant, platform, started } = state;
    const answers = answered().map(({ response, clips, kind, rt, plays }) => (
      { answer: response, clips, kind, ms: rt, plays }));
    return seal({ answers, finished, participant, source: 'page', started, test: data.test,
      version: data.version, ...(platform ? { platform } : {}) });
  }

  function download(label, name, text, type) {
    const address = URL.createObjectURL(new Blob([text], { type }));
    return make('a', { class: 'button', download: name, href: address }, label);
  }

  // what the platform that sent a participant wants to see
  function completion() {
    const { code, address } = data.completion;
    if (code) return [make('p', { class: 'completion' }, 'Your completion code: ', make('code', {}, code))];
    if (!address) return [];
    return [make('p', { class: 'completion' }, 'When you have handed over your file: ',
      make('a', { class: 'button', href: address, target: '_blank', rel: 'noopener noreferrer' },
        'Complete the task'))];
  }

  // jsPsych's own data, of all visits
  function records(name) {
    const collected = new jsPsychModule.DataCollection(state.records);
    return make('details', {}, make('summary', {}, 'For experimenters: the data of jsPsych'),
      paragraph('The same answers, one row for every trial. They need not be handed over.'),
      make('div', { class: 'plays' },
        download('JSON', `jspsych-${name}.json`, collected.json(), 'application/json'),
        download('CSV', `jspsych-${name}.csv`, collected.csv(), 'text/csv')));
  }

  // the browser asks before it closes a page whose answers it would lose
  window.addEventListener('beforeunload', (event) => {
    const unsaved = state && answered().length > 0 && !state.finished;
    if (unsaved && !kept.lasting()) event.preventDefault();
  });
  if (data.alone) {
    const dark = matchMedia('(prefers-color-scheme: dark)');
    const follow = () => { document.documentElement.dataset.theme = dark.matches ? 'dark' : 'light'; };
    dark.addEventListener('change', follow);
    follow();
  }
  welcome();
}
