// A map of clips: every point plays its own. data: places[map][clip] (x, y), clips[clip] ({sound, shape}),
// colors[clip]. Needs sound.js.
function draw(root, data) {
  const heard = root.querySelector('.heard');
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
    hear(heard, sound(data.clips[clip], now.textContent, data.colors[clip]));
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
  tellMissing(root);
}
