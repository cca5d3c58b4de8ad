// A heat map of buttons, each of which plays its clip. data: rows, columns, names of the measures, values[measure][cell],
// sounds[cell] (base64 MP3), unit.
function grid(root, data) {
  const make = (tag, style, ...children) => {
    const node = document.createElement(tag);
    node.style.cssText = style;
    node.append(...children);
    return node;
  };
  const menu = make('select', 'font:inherit;margin-bottom:4px', ...data.names.map((name) => make('option', '', name)));
  const now = make('div', 'min-height:1.5em;color:#666', `Choose a cell to hear its clip (${data.unit}).`);
  const audio = make('audio', 'width:100%;height:34px');
  const cells = data.rows.flatMap((row) => data.columns.map((column) => `${row}, ${column}`));
  const look = 'width:100%;min-width:3.6em;border:2px solid #fff;padding:4px 0;cursor:pointer;font:inherit';
  const buttons = cells.map(() => make('button', look));
  const plain = 'font-weight:normal;padding:2px 6px;text-align:';
  const table = make('table', 'border-collapse:collapse;font-size:.85em;text-align:center',
    make('tr', '', make('th', ''), ...data.columns.map((column) => make('th', `${plain}center`, column))),
    ...data.rows.map((row, r) => make('tr', '', make('th', `${plain}right`, row),
      ...data.columns.map((_, c) => make('td', 'padding:2px', buttons[r * data.columns.length + c])))));
  let on = -1;
  const say = (i) => `${cells[i]}: ${menu.value} ${data.values[menu.selectedIndex][i].toFixed(2)} ${data.unit}`;
  const draw = () => {
    const values = data.values[menu.selectedIndex], most = Math.max(...values.map(Math.abs)) || 1;
    buttons.forEach((button, i) => {
      const share = Math.abs(values[i]) / most;
      button.textContent = values[i].toFixed(2);
      button.setAttribute('aria-label', say(i));
      button.style.color = share > 0.5 ? '#fff' : '#222';
      button.style.background = `rgba(${values[i] > 0 ? '178,24,43' : '33,102,172'},${0.9 * share})`;
      button.style.borderColor = i === on ? '#000' : '#fff';
    });
    if (on >= 0) now.textContent = say(on);
  };
  buttons.forEach((button, i) => button.addEventListener('click', () => {
    on = i;
    draw();
    audio.src = `data:audio/mpeg;base64,${data.sounds[i]}`;
    audio.play();
  }));
  menu.setAttribute('aria-label', 'what is shown');
  menu.hidden = data.names.length < 2;
  menu.addEventListener('change', draw);
  now.className = 'now';
  audio.controls = true;
  audio.setAttribute('aria-label', 'the chosen clip');
  root.className = 'sound-grid';
  root.style.maxWidth = '640px';
  root.append(menu, make('div', 'overflow-x:auto', table), now, audio);
  draw();
}
