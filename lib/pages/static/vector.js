// Elements of a drawing. Needs elements.js.
function svg(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

// A colour that a dark page replaces by its own (shades.css).
function shade(color) {
  return `var(--shade-${color.slice(1).toLowerCase()}, ${color})`;
}

// Shapes of points, named as plotly's are (colors.py), so that nobody needs to see colours.
const OUTLINES = {
  circle: 'M-1,0 A1,1 0 1,0 1,0 A1,1 0 1,0 -1,0 Z',
  square: 'M-0.9,-0.9 H0.9 V0.9 H-0.9 Z',
  diamond: 'M0,-1.25 L1.25,0 L0,1.25 L-1.25,0 Z',
  'triangle-up': 'M0,-1.25 L1.15,0.85 L-1.15,0.85 Z',
  x: 'M-1,-0.5 L-0.5,-1 L0,-0.5 L0.5,-1 L1,-0.5 L0.5,0 L1,0.5 L0.5,1 L0,0.5 L-0.5,1 L-1,0.5 L-0.5,0 Z',
};

function mark(shape, size, color, attributes = {}, ...children) {
  return svg('path', { d: OUTLINES[shape], fill: shade(color), 'data-size': size,
    'vector-effect': 'non-scaling-stroke', ...attributes }, ...children);
}

function put(drawn, [x, y]) {
  drawn.setAttribute('transform', `translate(${x},${y}) scale(${drawn.dataset.size})`);
  return drawn;
}
