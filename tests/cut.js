// Texts of figures that their figure cuts off, and names beside an axis that lie over each other.
() => [...document.querySelectorAll('.js-plotly-plot')].flatMap((plot) => {
  const box = plot.getBoundingClientRect();
  const kinds = '.xtick text, .ytick text, .g-xtitle text, .g-ytitle text, .legendtext, .cbtitle text';
  const shown = (texts) => [...texts].map((text) => [text.textContent, text.getBoundingClientRect()])
    .filter(([, { width }]) => width > 0);
  const out = ({ left, right, top, bottom }) => (
    left < box.left - 1 || right > box.right + 1 || top < box.top - 1 || bottom > box.bottom + 1);
  const over = (one, other) => (
    Math.min(one.right, other.right) - Math.max(one.left, other.left) > 2 &&
    Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 2);
  const cut = shown(plot.querySelectorAll(kinds)).filter(([, place]) => out(place)).map(([text]) => text);
  const names = shown(plot.querySelectorAll('.ytick text'));
  const covered = names.flatMap(([text, place], i) => names.slice(i + 1)
    .filter(([, other]) => over(place, other)).map(([other]) => `${text} | ${other}`));
  return [...cut, ...covered];
})
