// What the browser keeps between two visits. Where it refuses (a private window, a blocked or full
// store), the page remembers until it is closed, and lasting() is false: nothing may be promised then.
function memory(prefix) {
  const here = new Map();
  let refused = false;
  const stored = (name) => {
    try {
      return localStorage.getItem(prefix + name);
    } catch {
      return null;
    }
  };
  const keep = (name, value) => {
    const text = JSON.stringify(value);
    here.set(name, text);
    try {
      localStorage.setItem(prefix + name, text);
    } catch {
      refused = true;
    }
    refused ||= stored(name) !== text;
  };
  const recall = (name) => {
    const known = refused && here.has(name);
    return JSON.parse(known ? here.get(name) : stored(name));
  };
  keep('try', true);
  return { keep, recall, lasting: () => !refused };
}
