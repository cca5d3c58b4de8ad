// One sound at a time, on the whole page: what begins to sound says how it is stopped, and what sounded
// before is stopped. Every output may hold a copy: they share one memory, in the window.
function alone(stop) {
  if (window.stopSound !== stop) window.stopSound?.();
  window.stopSound = stop;
}

if (!window.playersStopEachOther) {
  window.playersStopEachOther = true;
  document.addEventListener('play', ({ target }) => {
    target.stopSound ??= () => target.pause();
    alone(target.stopSound);
  }, true);
}
