// A cursor that follows a sound over its picture; a click on the picture seeks, and so do arrow keys.
function follow(audio, picture, cursor, seconds) {
  const STEP = 0.25; // seconds, of an arrow key
  const move = () => {
    cursor.style.left = `${(100 * audio.currentTime) / seconds}%`;
    picture.setAttribute('aria-valuenow', audio.currentTime.toFixed(2));
    if (!audio.paused) requestAnimationFrame(move);
  };
  for (const event of ['play', 'timeupdate', 'seeked']) audio.addEventListener(event, move);
  picture.addEventListener('click', (event) => {
    const box = picture.getBoundingClientRect();
    audio.currentTime = (seconds * (event.clientX - box.left)) / box.width;
  });
  const about = { role: 'slider', tabindex: 0, 'aria-label': 'Place in the sound, seconds',
    'aria-valuemin': 0, 'aria-valuemax': seconds, 'aria-valuenow': 0 };
  for (const [name, value] of Object.entries(about)) picture.setAttribute(name, value);
  const to = { ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP };
  picture.addEventListener('keydown', (event) => {
    if (!(event.key in to)) return;
    audio.currentTime = Math.min(Math.max(audio.currentTime + to[event.key], 0), seconds);
    event.preventDefault();
  });
}
