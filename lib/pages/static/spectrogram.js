// A spectrogram over its player. data: seconds. Needs follow.js.
function draw(root, data) {
  const audio = root.querySelector('audio');
  follow(audio, root.querySelector('.picture'), root.querySelector('.cursor'), data.seconds);
}
