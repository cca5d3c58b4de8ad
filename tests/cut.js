// Texts of figures that their figure cuts off.
() => [...document.querySelectorAll('.js-plotly-plot')].flatMap((plot) => {
  const box = plot.getBoundingClientRect();
  const kinds = '.xtick text, .ytick text, .g-xtitle text, .g-ytitle text, .legendtext, .cbtitle text';
  return [...plot.querySelectorAll(kinds)].filter((text) => {
    const { left, right, top, bottom, width } = text.getBoundingClientRect();
    const out = left < box.left - 1 || right > box.right + 1 || top < box.top - 1 || bottom > box.bottom + 1;
    return width > 0 && out;
  }).map((text) => text.textContent);
})
