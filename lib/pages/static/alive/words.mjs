// A field for words of the organism's language, which are offered as one types (the combobox pattern of
// WAI-ARIA: arrows choose, Enter or Tab takes, Escape closes).
import { make, shade } from './elements.mjs';
import { split, unread } from './tokenizer.mjs';

const SHOWN = 8; // words at once
const STARTS = ['a', 'happy', 'sad', 'calm', 'tense', 'energetic', 'slow', 'fast'];

// data: {words: {word: what it says}, tokenizer, colors}; onenter() when the text is to be sung.
export function wordField(data, id, value, onenter) {
  const list = make('ul', { role: 'listbox', id: `${id}-words`, 'aria-label': 'Words it knows' });
  const note = make('p', { class: 'note', id: `${id}-note`, 'aria-live': 'polite' });
  const input = make('input', {
    id, type: 'text', role: 'combobox', value, maxlength: 200, autocomplete: 'off', spellcheck: 'false',
    autocapitalize: 'none', 'aria-autocomplete': 'list', 'aria-expanded': 'false',
    'aria-controls': list.id, 'aria-describedby': note.id });
  let offered = [];
  let chosen = -1;

  // The word under the caret, and where it begins and ends.
  const current = () => {
    const caret = input.selectionStart ?? input.value.length;
    const start = input.value.slice(0, caret).search(/[^\s,]*$/);
    const end = caret + input.value.slice(caret).search(/[\s,]|$/);
    return { start, end, word: input.value.slice(start, end).toLowerCase() };
  };

  const matching = (word) => {
    if (!word) return STARTS.filter((start) => start in data.words);
    const known = Object.keys(data.words);
    const begins = known.filter((other) => other.startsWith(word) && other !== word);
    const within = known.filter((other) => !other.startsWith(word) && other.includes(word));
    const meant = known.filter((other) => data.words[other].split(', ').includes(word));
    return [...new Set([...begins, ...meant, ...(word.length > 2 ? within : [])])].slice(0, SHOWN);
  };

  const close = () => {
    offered = [];
    chosen = -1;
    list.replaceChildren();
    input.setAttribute('aria-expanded', 'false');
    input.removeAttribute('aria-activedescendant');
  };

  const choose = (number) => {
    chosen = (number + offered.length) % offered.length;
    [...list.children].forEach((option, k) => option.setAttribute('aria-selected', k === chosen));
    const option = list.children[chosen];
    option.scrollIntoView({ block: 'nearest' });
    input.setAttribute('aria-activedescendant', option.id);
  };

  const take = (number) => {
    const { start, end } = current();
    const after = input.value.slice(end);
    const before = input.value.slice(0, start) + offered[number] + (after ? '' : ' ');
    input.value = before + after;
    input.setSelectionRange(before.length, before.length);
    close();
    check();
    input.focus();
  };

  const offer = () => {
    close();
    offered = matching(current().word);
    list.replaceChildren(...offered.map((word, k) => {
      const says = data.words[word];
      const option = make('li', { role: 'option', id: `${list.id}-${k}`, 'aria-selected': 'false',
        onpointerdown: (event) => { event.preventDefault(); take(k); } },
      word, make('span', {}, says === word ? '' : says));
      option.style.borderColor = data.colors[says] ? shade(data.colors[says]) : 'transparent';
      return option;
    }));
    input.setAttribute('aria-expanded', String(offered.length > 0));
  };

  const check = () => {
    const strange = unread(input.value, data.tokenizer);
    note.textContent = strange.length
      ? `Not in its language, so it reads only the letters: ${strange.join(', ')}.`
      : split(input.value).length ? '' : 'Without words it sings whatever comes.';
  };

  input.addEventListener('input', () => { offer(); check(); });
  input.addEventListener('click', offer);
  input.addEventListener('blur', close);
  input.addEventListener('keydown', (event) => {
    const open = offered.length > 0;
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      if (!open) offer();
      const down = event.key === 'ArrowDown';
      if (offered.length) choose(chosen < 0 && !down ? -1 : chosen + (down ? 1 : -1));
    } else if (open && chosen >= 0 && (event.key === 'Enter' || event.key === 'Tab')) {
      take(chosen);
    } else if (event.key === 'Enter') {
      close();
      onenter();
    } else if (event.key === 'Escape' && open) {
      close();
    } else {
      return;
    }
    event.preventDefault();
  });
  check();
  const node = make('div', { class: 'words' },
    make('label', { for: id }, 'What should it sing?'), input, list, note);
  const say = (text) => {
    input.value = text;
    close();
    check();
  };
  return { node, say, get text() { return input.value.trim(); } };
}
