// Where figures find plotly.js in the book: only pages with figures load it.
window.plotlyHere = new URL('plotly-cartesian.min.js', document.currentScript.src).href;
