// The text encoder's tokenizer: a word of the captions is one token, any other is spelt in letters.
// data: {vocabulary: {piece: number}, unknown, end, most}, as lib/pages/alive.py gathers it.
const SPACE = /\p{White_Space}+/u;
const INSIDE = '##'; // how a piece begins that goes on with a word

// Words and commas of a text, in lower case.
export function split(text) {
  return text.toLowerCase().split(SPACE).flatMap((part) => part.split(/(,)/)).filter(Boolean);
}

// The pieces of a word, each the longest that there is; the one unknown piece where there are none.
export function pieces(word, { vocabulary, unknown, most }) {
  const letters = [...word];
  if (letters.length > most) return [unknown];
  const found = [];
  let start = 0;
  while (start < letters.length) {
    let end = letters.length;
    let piece;
    do {
      piece = (start ? INSIDE : '') + letters.slice(start, end).join('');
    } while (!Object.hasOwn(vocabulary, piece) && --end > start);
    if (end === start) return [unknown];
    found.push(piece);
    start = end;
  }
  return found;
}

// Numbers of a text's tokens, the last of which ends it.
export function tokenize(text, data) {
  const found = split(text).flatMap((word) => pieces(word, data));
  return [...found, data.end].map((piece) => data.vocabulary[piece]);
}

// Words that the text encoder cannot have learned.
export function unread(text, data) {
  const spelt = (word) => pieces(word, data).some((p) => p.startsWith(INSIDE) || p === data.unknown);
  return [...new Set(split(text).filter(spelt))];
}
