// Songs that stand in for one another: one plays, and a button puts another in its place at the same
// moment. data: rows of {name, kinds: [{name, sound (base64 MP3)}]}. Needs elements.js.
function draw(root, data) {
  for (const row of data.rows) {
    const players = row.kinds.map((kind) => make('audio', {
      controls: '', preload: 'metadata', 'aria-label': `${row.name}, ${kind.name}`, src: mp3(kind.sound),
    }));
    const buttons = row.kinds.map((kind, k) => make('button', { onclick: () => choose(k) }, kind.name));
    let chosen = 0;

    const show = () => {
      players.forEach((player, k) => { player.hidden = k !== chosen; });
      buttons.forEach((button, k) => button.setAttribute('aria-pressed', String(k === chosen)));
    };
    const choose = (k) => {
      const [from, to] = [players[chosen], players[k]];
      const plays = !from.paused;
      from.pause();
      to.currentTime = from.ended ? 0 : from.currentTime;
      chosen = k;
      show();
      if (plays) to.play();
    };
    show();
    const choices = make('div', { class: 'choices', role: 'group', 'aria-label': row.name }, ...buttons);
    root.append(make('div', { class: 'song' }, make('div', {}, row.name), choices, ...players));
  }
}
