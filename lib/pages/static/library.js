{# wavesurfer.js. Where a loader of modules is about, as RequireJS is in an exported notebook, a library offers itself
to the loader and not to the page: none is to be seen here. #}
if (!window.WaveSurfer) {
((define, exports, module) => {
{{ library }}
})();
}
