// The plane of valence and arousal: where a song is read to be, frame by frame, and where it was.
import { mark, put, svg } from './elements.mjs';

const SIZE = 320;
const HALF = SIZE / 2;
const EDGE = 30;
const TRAIL = 75; // frames

export const signed = (value) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(1)}`;

export function plane(data, still) {
  const named = Object.entries(data.places);
  const range = Math.max(1.3, ...named.flatMap(([, place]) => place.map(Math.abs))) * 1.25;
  const unit = (HALF - EDGE) / range;
  const inside = (value) => Math.min(Math.max(value, -range), range);
  const x = (value) => HALF + inside(value) * unit;
  const y = (value) => HALF - inside(value) * unit;

  const dot = svg('circle', { r: 9, class: 'dot', visibility: 'hidden' });
  const trail = svg('polyline', { class: 'trail' });
  const marks = named.map(([name, [valence, arousal]]) => svg('g', {},
    put(mark(data.shapes[name], 5, data.colors[name]), [x(valence), y(arousal)]),
    svg('text', { x: x(valence), y: y(arousal) - 8, 'text-anchor': 'middle', class: 'emotion' }, name)));
  const node = svg('svg', { viewBox: `0 0 ${SIZE} ${SIZE}`, class: 'plane', role: 'img' },
    svg('line', { x1: EDGE, x2: SIZE - EDGE, y1: HALF, y2: HALF }),
    svg('line', { x1: HALF, x2: HALF, y1: EDGE, y2: SIZE - EDGE }),
    svg('text', { x: SIZE - 6, y: HALF + 16, 'text-anchor': 'end' }, 'valence →'),
    svg('text', { x: HALF + 6, y: 16 }, 'arousal ↑'),
    ...marks, trail, dot);

  // places: of every frame so far; the dot stands at one of them.
  const show = (places, frame) => {
    const place = places[Math.min(frame, places.length - 1)];
    dot.setAttribute('visibility', place ? 'visible' : 'hidden');
    if (!place) {
      trail.setAttribute('points', '');
      return;
    }
    dot.setAttribute('cx', x(place[0]));
    dot.setAttribute('cy', y(place[1]));
    const some = still ? [] : places.slice(Math.max(0, frame - TRAIL), frame + 1);
    trail.setAttribute('points', some.map((each) => `${x(each[0])},${y(each[1])}`).join(' '));
  };
  const tell = (place) => {
    const where = place ? `valence ${signed(place[0])}, arousal ${signed(place[1])}` : 'nothing read yet';
    node.setAttribute('aria-label', `Plane of valence and arousal, as read inside: ${where}`);
    return where;
  };
  tell(null);
  return { node, show, tell };
}
