// A cursor that follows a sound over its picture; a click on the picture seeks.
function follow(audio, picture, cursor, seconds) {
  const move = () => {
    cursor.style.left = `${(100 * audio.currentTime) / seconds}%`;
    if (!audio.paused) requestAnimationFrame(move);
  };
  for (const event of ['play', 'timeupdate', 'seeked']) audio.addEventListener(event, move);
  picture.addEventListener('click', (event) => {
    const box = picture.getBoundingClientRect();
    audio.currentTime = (seconds * (event.clientX - box.left)) / box.width;
  });
}
