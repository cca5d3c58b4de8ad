{# wavesurfer.js. Where a loader of modules is about, as RequireJS is in an exported notebook, a library offers itself
to the loader and not to the page: none is to be seen here. #}
/* wavesurfer.js, https://wavesurfer.xyz, (c) katspaugh and contributors, BSD-3-Clause */
if (!window.WaveSurfer) {
((define, exports, module) => {
{{ library }}
})();
}
