// Sounds that stand in a page as it was written. Needs sound.js.
function draw(root) {
  root.querySelectorAll('.sound').forEach((node) => enliven(node));
  tellMissing(root);
}
