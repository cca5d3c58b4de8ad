// The organism sings where a page holds it (lib/pages/alive.py), and in the panel of any other page once that
// is opened. What it needs are modules, which browsers refuse to a page that is opened from disk: there
// the text that stands in its place says what to do.
const singer = new URL('../alive/page.mjs', document.currentScript.src).href;
document.addEventListener('DOMContentLoaded', () => {
  if (location.protocol === 'file:') return;
  for (const root of document.querySelectorAll('.alive')) {
    const wake = async () => (await import(singer)).open(root);
    const panel = root.closest('details');
    if (panel) panel.addEventListener('toggle', wake, { once: true });
    else wake();
  }
});
