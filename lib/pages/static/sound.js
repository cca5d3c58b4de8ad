// One sound as the book shows it: its waveform with a cursor, a button to play and one to repeat, and keys. wavesurfer.js
// draws it and goes by the browser's own audio element, which keeps its own controls where wavesurfer.js is not there.
// Waveforms share one scale, on which 1 is full: loudness is a cue.
const HEIGHT = 44; // pixels of a waveform
const STEP = 0.25; // seconds, of an arrow key
const FULL = 255; // of a byte
const PLAY = 'M4,2 L14,8 L4,14 Z';
const PAUSE = 'M3,2 H6.5 V14 H3 Z M9.5,2 H13 V14 H9.5 Z';
const REPEAT = 'M3.5,8.5 a4.8,4.8 0 1,0 1.6,-4.1 M4.6,1 V4.8 H8.4';
const WITHOUT = 'Only the browser’s own controls are here: waveforms need wavesurfer.js, which npm brings where a page ' +
  'is made.';

// A sound from its data: {sound (base64 MP3), shape}. below: what lies under the waveform.
function sound({ sound: content, shape }, label, shade = null, ...below) {
  const audio = make('audio', { controls: '', preload: 'none', 'aria-label': label, src: mp3(content) });
  const node = make('div', { class: 'sound', 'data-shape': JSON.stringify(shape),
    style: shade && `--shade: ${shade}` }, audio, ...below);
  enliven(node);
  return node;
}

// Play a sound where the one before was.
function hear(place, node) {
  place.replaceChildren(node);
  // refused where another is chosen at once
  node.querySelector('audio').play().catch(() => {});
}

// Say once in an output why there are no waveforms.
function tellMissing(root) {
  if (!window.WaveSurfer) root.append(make('p', {}, WITHOUT));
}

// What wavesurfer.js draws: {peaks, duration} from {peaks (bytes in base64, one text a channel), seconds}.
function drawing({ peaks, seconds }) {
  return { peaks: peaks.map((channel) => Array.from(bytes(channel), (peak) => peak / FULL)), duration: seconds };
}

// Draw a sound: node holds an audio element, and its shape as data. If it holds several, the first is heard until
// turn(audio, shape) puts another in its place.
function enliven(node) {
  const audios = [...node.querySelectorAll('audio')];
  if (!window.WaveSurfer) {
    for (const audio of audios) audio.preload = 'metadata';
    return { turn() {} };
  }
  const shape = JSON.parse(node.dataset.shape);
  const label = audios[0].getAttribute('aria-label');
  const whole = shape.seconds.toFixed(1);
  const place = make('div', { class: 'wave', role: 'slider', tabindex: 0, 'aria-label': `Place in ${label}`,
    'aria-valuemin': 0, 'aria-valuemax': whole, title: 'Arrow keys seek, space plays, L repeats' });
  const sign = svg('path', { d: PLAY });
  const play = make('button', { type: 'button', class: 'play', onclick: () => wave.playPause() },
    svg('svg', { viewBox: '0 0 16 16', 'aria-hidden': 'true' }, sign));
  const again = make('button', { type: 'button', class: 'again', tabindex: -1, title: 'Repeat (L)',
    'aria-label': `Repeat ${label}`, 'aria-pressed': 'false', onclick: () => repeat() },
  svg('svg', { viewBox: '0 0 16 16', 'aria-hidden': 'true' }, svg('path', { d: REPEAT })));
  const clock = make('span', { 'aria-hidden': 'true' });
  node.prepend(play, place, make('div', { class: 'side' }, again, clock));
  node.classList.add('drawn');
  // or JupyterLab would take the keys for its own
  node.dataset.lmSuppressShortcuts = 'true';
  for (const audio of audios) audio.controls = false;

  const wave = window.WaveSurfer.create({ container: place, media: audios[0], ...drawing(shape), height: HEIGHT,
    barWidth: 2, barGap: 1, cursorWidth: 2, autoScroll: false, hideScrollbar: true });

  const showPlaying = (playing) => {
    sign.setAttribute('d', playing ? PAUSE : PLAY);
    play.setAttribute('aria-label', `${playing ? 'Pause' : 'Play'} ${label}`);
  };
  const showTime = (seconds) => {
    const now = seconds.toFixed(1);
    if (place.getAttribute('aria-valuenow') === now) return;
    clock.textContent = `${seconds > 0 ? now : whole} s`;
    place.setAttribute('aria-valuenow', now);
    place.setAttribute('aria-valuetext', `${now} of ${whole} seconds`);
  };
  const repeat = () => {
    const on = !audios[0].loop;
    for (const audio of audios) audio.loop = on;
    again.setAttribute('aria-pressed', String(on));
  };
  // a canvas takes its colours when it is drawn: those of the style sheet, in light and in dark
  const paint = () => {
    const ink = getComputedStyle(node).color;
    wave.setOptions({ waveColor: getComputedStyle(place).color, progressColor: ink, cursorColor: ink });
  };
  wave.on('init', paint);
  wave.on('play', () => showPlaying(true));
  wave.on('pause', () => showPlaying(false));
  wave.on('finish', () => showPlaying(false));
  wave.on('timeupdate', showTime);
  showPlaying(false);
  showTime(0);
  const themes = new MutationObserver(() => (node.isConnected ? paint() : themes.disconnect()));
  themes.observe(document.documentElement, { attributeFilter: ['data-theme'] });
  themes.observe(document.body, { attributeFilter: ['data-jp-theme-light'] });

  const seek = (seconds) => wave.setTime(Math.min(Math.max(seconds, 0), shape.seconds));
  const by = (seconds) => seek(wave.getCurrentTime() + seconds);
  const keys = { ArrowLeft: () => by(-STEP), ArrowDown: () => by(-STEP), ArrowRight: () => by(STEP),
    ArrowUp: () => by(STEP), Home: () => seek(0), End: () => seek(shape.seconds), l: repeat, L: repeat };
  // a button is pressed by these itself
  const ofWave = { ' ': () => wave.playPause(), Enter: () => wave.playPause() };
  node.addEventListener('keydown', (event) => {
    const act = keys[event.key] ?? (event.target === place ? ofWave[event.key] : null);
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    act();
    event.preventDefault();
  });

  const turn = (audio, next) => {
    wave.setMediaElement(audio);
    const { peaks, duration } = drawing(next);
    wave.load(audio.src, peaks, duration);
  };
  return { turn };
}
