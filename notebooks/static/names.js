// The theme's controls and frames for whoever hears a page or has no mouse.
document.addEventListener('DOMContentLoaded', () => {
  // what is written on a button is what it is called
  const written = '.search-button-field, details.toggle-details > summary, details.hide > summary';
  for (const control of document.querySelectorAll(written)) control.removeAttribute('aria-label');
  // a list holds items of a list, whatever these are beside
  for (const entry of document.querySelectorAll('.citation-list > .citation')) entry.setAttribute('role', 'listitem');
});

// what scrolls can be reached with the keyboard
const reach = () => {
  const frames = '.cell_output, .pst-scrollable-table-container, div.highlight pre, .margin.sidebar';
  for (const frame of document.querySelectorAll(frames)) {
    const { clientHeight, clientWidth, scrollHeight, scrollWidth } = frame;
    if (scrollWidth > clientWidth || scrollHeight > clientHeight) frame.tabIndex = 0;
  }
};
for (const event of ['load', 'resize']) window.addEventListener(event, reach);
