// Both themes bind a menu to the first button of its kind, which sphinx-book-theme hides: what is clicked
// is the one that a reader sees, in the header of the article.
document.addEventListener('DOMContentLoaded', () => {
  for (const kind of ['.primary-toggle', '.secondary-toggle']) {
    const [bound, ...seen] = document.querySelectorAll(kind);
    for (const button of seen) button.addEventListener('click', () => bound.click());
  }
});
