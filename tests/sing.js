// What a page does, without the page: one worker, and songs one after the other.
async ([songs, data]) => {
  const at = new URL('/alive/', location).href;
  const worker = new Worker(`${at}worker.mjs`, { type: 'module' });
  const until = (wanted, each = () => {}) => new Promise((resolve, reject) => {
    worker.onmessage = ({ data: said }) => {
      each(said);
      if (said.say === wanted) resolve(said);
      if (said.say === 'failed') reject(new Error(said.error));
    };
  });
  worker.postMessage({ ask: 'open', data, at });
  await until('ready');
  const found = [];
  for (const [song, { prompt, how, changes }] of songs.entries()) {
    const sound = [];
    const places = [];
    worker.postMessage({ ask: 'sing', song, prompt, how, changes });
    const { tokens, seconds } = await until('over', (said) => {
      if (said.say !== 'part') return;
      sound.push(...said.sound);
      places.push(...said.readings.map(({ place }) => place));
    });
    found.push({ tokens, seconds, sound, places });
  }
  worker.terminate();
  return found;
}
