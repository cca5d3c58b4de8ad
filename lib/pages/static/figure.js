// A plotly figure. The book holds plotly.js. Where it is missing (an exported notebook), plotly's own
// copy is loaded, which must be the one whose checksum we know. data: figure, config, plotly.
function draw(root, data) {
  const plot = () => {
    window.Plotly.newPlot(root, data.figure.data, data.figure.layout, data.config);
  };
  const explain = () => {
    root.textContent = `This figure needs plotly.js, and ${data.plotly.src} could not be loaded.`;
  };
  const load = (resolve, reject) => {
    window.PlotlyConfig = { MathJaxConfig: 'local' };
    const script = document.createElement('script');
    script.src = data.plotly.src;
    script.integrity = data.plotly.integrity;
    script.crossOrigin = 'anonymous';
    script.onload = resolve;
    script.onerror = reject;
    document.head.append(script);
  };
  const begin = () => {
    if (window.Plotly) {
      plot();
      return;
    }
    window.plotlyLoaded ??= new Promise(load);
    window.plotlyLoaded.then(plot, explain);
  };
  if (window.Plotly || document.readyState === 'complete') {
    begin();
  } else {
    window.addEventListener('load', begin);
  }
}
