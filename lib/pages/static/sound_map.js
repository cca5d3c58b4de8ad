// A map of clips: every point plays its own. data: places[map][clip] (x, y), sounds[clip] (base64 MP3).
// Needs elements.js.
function draw(root, data) {
  const audio = root.querySelector('audio');
  const now = root.querySelector('.now');
  const points = [...root.querySelectorAll('circle')];
  const place = (map) => points.forEach((point, clip) => {
    const [x, y] = data.places[map][clip];
    point.setAttribute('cx', x);
    point.setAttribute('cy', y);
  });
  const play = (clip) => {
    points.forEach((point, other) => point.classList.toggle('on', other === clip));
    now.textContent = points[clip].getAttribute('aria-label');
    audio.src = mp3(data.sounds[clip]);
    audio.play();
  };
  root.querySelectorAll('button').forEach((button, map) => {
    button.addEventListener('click', () => place(map));
  });
  points.forEach((point, clip) => {
    point.addEventListener('click', () => play(clip));
    point.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      play(clip);
    });
  });
  place(0);
}
