// The checksum of an answer file, equal to Python's (listening/answers.py).

// SHA-256 (FIPS 180-4), because crypto.subtle is missing on file:// in some browsers
function sha256(text) {
  const primes = [];
  for (let n = 2; primes.length < 64; n++) {
    if (primes.every((prime) => n % prime)) primes.push(n);
  }
  const fraction = (x) => ((x - Math.floor(x)) * 2 ** 32) | 0;
  const constants = primes.map((prime) => fraction(Math.cbrt(prime)));
  const hash = primes.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
  const turn = (x, ...places) => places.reduce((sum, n) => sum ^ ((x >>> n) | (x << (32 - n))), 0);

  const octets = new TextEncoder().encode(text);
  const words = new Int32Array(16 * (((octets.length + 8) >> 6) + 1));
  [...octets, 0x80].forEach((octet, i) => {
    words[i >> 2] |= octet << (24 - 8 * (i & 3));
  });
  words[words.length - 1] = 8 * octets.length;

  for (let start = 0; start < words.length; start += 16) {
    const schedule = Array.from(words.subarray(start, start + 16));
    for (let i = 16; i < 64; i++) {
      const small = turn(schedule[i - 15], 7, 18) ^ (schedule[i - 15] >>> 3);
      const large = turn(schedule[i - 2], 17, 19) ^ (schedule[i - 2] >>> 10);
      schedule[i] = (schedule[i - 16] + schedule[i - 7] + small + large) | 0;
    }
    let state = [...hash];
    for (let i = 0; i < 64; i++) {
      const [a, b, c, d, e, f, g, h] = state;
      const choice = (e & f) ^ (~e & g);
      const majority = (a & b) ^ (a & c) ^ (b & c);
      const one = (h + turn(e, 6, 11, 25) + choice + constants[i] + schedule[i]) | 0;
      const two = (turn(a, 2, 13, 22) + majority) | 0;
      state = [(one + two) | 0, a, b, c, (d + one) | 0, e, f, g];
    }
    state.forEach((word, i) => {
      hash[i] = (hash[i] + word) | 0;
    });
  }
  return hash.map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
}

// the same text as Python's json.dumps(x, sort_keys=True, separators=(",", ":")): all numbers are
// whole, and what is not ASCII is escaped
function canonical(x) {
  const escaped = (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`;
  if (Array.isArray(x)) return `[${x.map(canonical).join(',')}]`;
  if (x === null || typeof x !== 'object') return JSON.stringify(x).replace(/[^ -~]/g, escaped);
  const fields = Object.keys(x).sort().map((key) => `${canonical(key)}:${canonical(x[key])}`);
  return `{${fields.join(',')}}`;
}

function seal(body) {
  return canonical({ ...body, checksum: sha256(canonical(body)) });
}
