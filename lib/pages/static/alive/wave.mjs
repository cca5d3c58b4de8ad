// The shape of one or two sounds, one above the other, and a line where one is.
import { make, svg } from './elements.mjs';

const WIDTH = 600;
const HEIGHT = 64;
const COLUMNS = 200;

// The outline of a sound, around the middle of its band.
function outline(samples, loudest, middle, half) {
  const size = Math.floor(samples.length / COLUMNS);
  const reach = Array.from({ length: COLUMNS }, (_, column) => {
    let most = 0;
    for (let i = column * size; i < (column + 1) * size; i++) most = Math.max(most, Math.abs(samples[i]));
    return half * most / loudest;
  });
  const x = (column) => (column + 0.5) * WIDTH / COLUMNS;
  const upper = reach.map((value, k) => `${x(k)},${(middle - value).toFixed(1)}`);
  const lower = reach.map((value, k) => `${x(k)},${(middle + value).toFixed(1)}`).reverse();
  return [...upper, ...lower].join(' ');
}

export function wave() {
  const shapes = svg('g', {});
  const line = svg('line', { y1: 0, y2: HEIGHT, x1: 0, x2: 0, class: 'cursor' });
  const picture = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none',
    role: 'img', 'aria-label': 'Loudness of the song over time' }, shapes, line);
  return {
    node: make('div', { class: 'wave' }, picture),
    draw(sounds) {
      const louder = (most, value) => Math.max(most, Math.abs(value));
      const loudest = sounds.reduce((most, sound) => sound.reduce(louder, most), 1e-3);
      const half = HEIGHT / sounds.length / 2;
      shapes.replaceChildren(...sounds.map((sound, k) => svg('polygon', { class: `take-${k}`,
        points: outline(sound, loudest, (2 * k + 1) * half, 0.92 * half) })));
    },
    cursor(share) {
      const x = Math.min(Math.max(share, 0), 1) * WIDTH;
      line.setAttribute('x1', x);
      line.setAttribute('x2', x);
    },
  };
}
