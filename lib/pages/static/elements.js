// Helpers that the pages share.

// Attributes by name, listeners as onclick and the like; what is null is left out.
function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) {
      node.addEventListener(name.slice(2), value);
    } else if (value !== null) {
      node.setAttribute(name, value);
    }
  }
  node.append(...children);
  return node;
}

function make(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function mp3(base64) {
  return `data:audio/mpeg;base64,${base64}`;
}
