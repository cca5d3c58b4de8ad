// A heat map of buttons, each of which plays its clip. data: rows, columns, names of the measures,
// values[measure][cell] (null: not known), clips[cell] ({sound, shape}), unit. Needs sound.js.
function draw(root, data) {
  const menu = make('select', { 'aria-label': 'what is shown' },
    ...data.names.map((name) => make('option', {}, name)));
  const now = make('div', { class: 'now', role: 'status' },
    `Choose a cell to hear its clip (${data.unit}).`);
  const heard = make('div', {});
  const cells = data.rows.flatMap((row) => data.columns.map((column) => `${row}, ${column}`));
  const buttons = cells.map((_, cell) => make('button', { onclick: () => choose(cell) }));
  let chosen = -1;

  const digits = (value) => (value === null ? '–' : value.toFixed(2));
  const describe = (cell) => {
    const value = data.values[menu.selectedIndex][cell];
    return `${cells[cell]}: ${menu.value} ${digits(value)} ${data.unit}`;
  };
  // from white to red or blue, and black or white on it, whichever is read better
  const look = (share) => {
    const end = share > 0 ? [178, 24, 43] : [33, 102, 172];
    const parts = end.map((part) => Math.round(255 + (part - 255) * Math.abs(share)));
    const linear = parts.map((part) => (part / 255) ** 2.2);
    const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    return { background: `rgb(${parts})`, color: luminance > 0.18 ? '#000000' : '#ffffff' };
  };
  const update = () => {
    const values = data.values[menu.selectedIndex];
    const most = Math.max(...values.map(Math.abs)) || 1;
    buttons.forEach((button, cell) => {
      const { background, color } = look(values[cell] / most);
      button.textContent = digits(values[cell]);
      button.setAttribute('aria-label', describe(cell));
      button.classList.toggle('on', cell === chosen);
      Object.assign(button.style, { background, color });
    });
    if (chosen >= 0) now.textContent = describe(chosen);
  };
  const choose = (cell) => {
    chosen = cell;
    update();
    hear(heard, sound(data.clips[cell], cells[cell]));
  };

  const head = make('tr', {}, make('th'), ...data.columns.map((column) => make('th', {}, column)));
  const body = data.rows.map((row, r) => {
    const first = r * data.columns.length;
    const inRow = buttons.slice(first, first + data.columns.length);
    return make('tr', {}, make('th', { class: 'row-name' }, row),
      ...inRow.map((button) => make('td', {}, button)));
  });
  menu.hidden = data.names.length < 2;
  menu.addEventListener('change', update);
  const table = make('div',
    { class: 'cells', tabindex: 0, role: 'region', 'aria-label': 'Table of clips' },
    make('table', {}, head, ...body));
  root.replaceChildren(menu, table, now, heard);
  update();
  tellMissing(root);
}
