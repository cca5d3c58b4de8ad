// A plotly figure, in the colours of a light or a dark page. The book holds a plotly.js and says where
// (window.plotlyHere). Where it says nothing (an exported notebook), plotly's own copy is loaded, which
// must be the one whose checksum we know. data: figure, config, plotly.
function draw(root, data) {
  const NARROW = 480; // pixels, of a phone: names beside an axis must leave room for what they name
  const SMALL = 10; // pixels of a letter there
  const address = window.plotlyHere ?? data.plotly.src;
  // what a colour is on this page (shades.css)
  const shown = (value) => {
    if (Array.isArray(value)) return value.map(shown);
    if (value && typeof value === 'object') {
      return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, shown(part)]));
    }
    if (!/^#[0-9a-f]{6}$/i.test(value)) return value;
    const name = `--shade-${value.slice(1).toLowerCase()}`;
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim() || value;
  };
  const shrink = (layout) => {
    layout.font.size = SMALL;
    for (const name of Object.keys(layout).filter((name) => /^[xy]axis/.test(name))) {
      const { title } = layout[name];
      if (title) title.font = { ...title.font, size: SMALL };
    }
  };
  const narrow = () => root.clientWidth < NARROW;
  let small; // whether it is drawn for a phone
  let width; // as it is drawn
  const plot = () => {
    const { data: traces, layout } = shown(data.figure);
    small = narrow();
    width = root.clientWidth;
    if (small) shrink(layout);
    return window.Plotly.react(root, traces, layout, data.config);
  };
  // plotly itself looks when the window changes, and not when a scroll bar or a side bar comes or goes
  const fit = () => {
    if (root.clientWidth === 0 || root.clientWidth === width) return;
    if (narrow() !== small) plot();
    width = root.clientWidth;
    window.Plotly.Plots.resize(root);
  };
  const first = () => {
    root.replaceChildren();
    plot();
    const change = { attributes: true, attributeFilter: ['data-theme'] };
    new MutationObserver(plot).observe(document.documentElement, change);
    new ResizeObserver(fit).observe(root);
  };
  const explain = () => {
    root.textContent = `This figure needs plotly.js, and ${address} could not be loaded.`;
  };
  const load = (resolve, reject) => {
    window.PlotlyConfig = { MathJaxConfig: 'local' };
    const script = document.createElement('script');
    script.src = address;
    if (!window.plotlyHere) {
      script.integrity = data.plotly.integrity;
      script.crossOrigin = 'anonymous';
    }
    script.onload = resolve;
    script.onerror = reject;
    document.head.append(script);
  };
  const begin = () => {
    if (window.Plotly) {
      first();
      return;
    }
    window.plotlyLoaded ??= new Promise(load);
    window.plotlyLoaded.then(first, explain);
  };
  if (window.Plotly || document.readyState === 'complete') {
    begin();
  } else {
    window.addEventListener('load', begin);
  }
}
