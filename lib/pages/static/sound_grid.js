// A heat map of buttons, each of which plays its clip. data: rows, columns, names of the measures,
// values[measure][cell] (null: not known), clips[cell] ({sound, shape}), unit. Needs sound.js.
function draw(root, data) {
  const menu = make('select', { 'aria-label': 'what is shown' },
    ...data.names.map((name) => make('option', {}, name)));
  const now = make('div', { class: 'now' }, `Choose a cell to hear its clip (${data.unit}).`);
  const heard = make('div', {});
  const cells = data.rows.flatMap((row) => data.columns.map((column) => `${row}, ${column}`));
  const buttons = cells.map((_, cell) => make('button', { onclick: () => choose(cell) }));
  let chosen = -1;

  const digits = (value) => (value === null ? '–' : value.toFixed(2));
  const describe = (cell) => {
    const value = data.values[menu.selectedIndex][cell];
    return `${cells[cell]}: ${menu.value} ${digits(value)} ${data.unit}`;
  };
  const update = () => {
    const values = data.values[menu.selectedIndex];
    const most = Math.max(...values.map(Math.abs)) || 1;
    buttons.forEach((button, cell) => {
      const share = Math.abs(values[cell]) / most;
      button.textContent = digits(values[cell]);
      button.setAttribute('aria-label', describe(cell));
      button.classList.toggle('dark', share > 0.5);
      button.classList.toggle('on', cell === chosen);
      button.style.background = `rgba(${values[cell] > 0 ? '178,24,43' : '33,102,172'},${0.9 * share})`;
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
  root.append(menu, make('div', { class: 'cells' }, make('table', {}, head, ...body)), now, heard);
  update();
  tellMissing(root);
}
