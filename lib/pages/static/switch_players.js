// Songs that stand in for one another: one plays, and a button puts another in its place at the same
// moment. data: rows of {name, kinds: [{name, sound (base64 MP3), shape}]}. Needs sound.js.
function draw(root, data) {
  const APART = 0.05; // seconds, from which songs are put together again

  for (const row of data.rows) {
    const players = row.kinds.map((kind) => make('audio', { controls: '', preload: 'none',
      'aria-label': `${row.name}, ${kind.name}`, src: mp3(kind.sound) }));
    const buttons = row.kinds.map((kind, k) => make('button', { type: 'button', onclick: () => choose(k) }, kind.name));
    const song = make('div', { class: 'sound', 'data-shape': JSON.stringify(row.kinds[0].shape) }, ...players);
    let chosen = 0;

    // All of them run, and all but one are silent: another is heard at once, where this one is.
    const others = () => players.filter((player, k) => k !== chosen);
    const gather = () => {
      const { currentTime } = players[chosen];
      for (const player of others()) {
        if (Math.abs(player.currentTime - currentTime) > APART) player.currentTime = currentTime;
      }
    };
    const follow = {
      play: () => {
        gather();
        // refused where it is paused at once: then nothing is to play
        others().forEach((player) => player.play().catch(() => {}));
      },
      pause: () => others().forEach((player) => player.pause()),
      timeupdate: gather,
      seeked: gather,
    };
    // to the page they are one sound, which does not stop itself
    const stop = () => players[chosen].pause();
    players.forEach((player, k) => {
      player.stopSound = stop;
      for (const [event, act] of Object.entries(follow)) {
        player.addEventListener(event, () => k === chosen && act());
      }
    });

    const show = () => {
      players.forEach((player, k) => {
        player.muted = k !== chosen;
        player.hidden = k !== chosen;
      });
      buttons.forEach((button, k) => button.setAttribute('aria-pressed', String(k === chosen)));
    };
    const choose = (k) => {
      gather();
      chosen = k;
      show();
      view.turn(players[k], row.kinds[k].shape);
    };
    show();
    const choices = make('div', { class: 'choices', role: 'group', 'aria-label': row.name }, ...buttons);
    root.append(make('div', { class: 'song' }, make('div', {}, row.name), choices, song));
    const view = enliven(song);
  }
  tellMissing(root);
}
