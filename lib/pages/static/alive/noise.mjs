// Random numbers that follow from a seed and a place alone: lib/musicgen/noise.py in JavaScript, integer
// by integer. Philox4x64-10 (Salmon et al. 2011): a block of four 64-bit integers is a function of a key,
// the song's seed, and a counter, the number of the block. An integer of 64 bits is two of 32 here.
const TWO_32 = 2 ** 32;
const FACTORS = [[0xd2e7470e, 0xe14c6c93], [0xca5a8263, 0x95121157]];
const KEY_STEPS = [[0x9e3779b9, 0x7f4a7c15], [0xbb67ae85, 0x84caa73b]];
const ROUNDS = 10;
const NUMBERS = 8; // of 32 bits in a block

// Both halves of a product of two integers of 32 bits; every sum on the way is below 2 ** 32.
function times(a, b, out) {
  const aHigh = a >>> 16;
  const aLow = a & 0xffff;
  const bHigh = b >>> 16;
  const bLow = b & 0xffff;
  const middle = aLow * bHigh + ((aLow * bLow) >>> 16);
  const other = aHigh * bLow + (middle & 0xffff);
  out[0] = aHigh * bHigh + (middle >>> 16) + (other >>> 16);
  out[1] = Math.imul(a, b) >>> 0;
}

const [LL, HL, LH, HH] = [0, 1, 2, 3].map(() => new Float64Array(2));

// A product of 128 bits, as four integers of 32, the highest first.
function product(high, low, factor, out) {
  times(low, factor[1], LL);
  times(high, factor[1], HL);
  times(low, factor[0], LH);
  times(high, factor[0], HH);
  const middle = LL[0] + HL[1] + LH[1];
  const upper = HH[1] + HL[0] + LH[0] + Math.floor(middle / TWO_32);
  out[0] = HH[0] + Math.floor(upper / TWO_32);
  out[1] = upper % TWO_32;
  out[2] = middle % TWO_32;
  out[3] = LL[1];
}

function added(key, step) {
  const low = key[1] + step[1];
  return [(key[0] + step[0] + Math.floor(low / TWO_32)) % TWO_32, low % TWO_32];
}

const FIRST = new Float64Array(4);
const SECOND = new Float64Array(4);

// The eight integers of 32 bits of one block, written from a place on.
function block(keys, number, out, at) {
  let words = [Math.floor(number / TWO_32), number % TWO_32, 0, 0, 0, 0, 0, 0];
  for (const [first, second] of keys) {
    product(words[0], words[1], FACTORS[0], FIRST);
    product(words[4], words[5], FACTORS[1], SECOND);
    words = [
      SECOND[0] ^ words[2] ^ first[0], SECOND[1] ^ words[3] ^ first[1], SECOND[2], SECOND[3],
      FIRST[0] ^ words[6] ^ second[0], FIRST[1] ^ words[7] ^ second[1], FIRST[2], FIRST[3],
    ];
    words = words.map((word) => word >>> 0);
  }
  for (let k = 0; k < 4; k++) {
    out[at + 2 * k] = words[2 * k + 1];
    out[at + 2 * k + 1] = words[2 * k];
  }
}

// Integers of 32 bits of so many blocks, from number `first` on.
export function integers(seed, first, blocks) {
  let own = [[Math.floor(seed / TWO_32), seed % TWO_32], [0, 0]];
  const keys = [];
  for (let round = 0; round < ROUNDS; round++) {
    keys.push(own);
    own = own.map((key, k) => added(key, KEY_STEPS[k]));
  }
  const found = new Uint32Array(NUMBERS * blocks);
  for (let k = 0; k < blocks; k++) block(keys, first + k, found, NUMBERS * k);
  return found;
}

// Gumbel noise of one step [codebook, card]: the largest sum of logit and noise is a sample of the softmax.
export function gumbel(seed, step, codebooks, card) {
  const count = codebooks * card;
  const blocks = Math.ceil(count / NUMBERS);
  const bits = integers(seed, step * blocks, blocks);
  const found = new Float32Array(count);
  for (let k = 0; k < count; k++) {
    const even = ((bits[k] >>> 9) + 0.5) * 2 ** -23;
    found[k] = -Math.log(Math.fround(-Math.log(even)));
  }
  return found;
}
