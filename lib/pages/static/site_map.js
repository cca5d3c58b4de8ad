// The sites of a model: a button tells what its site is.
function draw(root) {
  const text = root.querySelector('.site');
  const buttons = root.querySelectorAll('button');
  for (const button of buttons) {
    button.addEventListener('click', () => {
      for (const other of buttons) {
        other.classList.toggle('on', other === button);
        other.setAttribute('aria-pressed', other === button);
      }
      text.textContent = button.dataset.site;
    });
  }
}
