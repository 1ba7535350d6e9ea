/* Reads a number as a reader writes it and asks the boxes of a field about it. The boxes are made by _ext/selftest/sealed.py. */
(() => {
  'use strict';

  const ROUNDS = 200, TAG = 8, ZERO = 1e-12;

  /* SHA-256. The browser's own answers later, and not at all on a page opened from a disk or without https. */
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every(p => n % p)) primes.push(n);
  const fraction = x => Math.floor((x - Math.floor(x)) * 2 ** 32) | 0;
  const START = primes.slice(0, 8).map(p => fraction(Math.sqrt(p)));
  const K = primes.map(p => fraction(Math.cbrt(p)));
  const turn = (x, n) => (x >>> n) | (x << (32 - n));

  const sha256 = bytes => {
    const data = new DataView(new ArrayBuffer(((bytes.length + 8 >> 6) + 1) * 64));
    bytes.forEach((byte, i) => data.setUint8(i, byte));
    data.setUint8(bytes.length, 0x80);
    data.setUint32(data.byteLength - 4, bytes.length * 8);
    const state = START.slice(), w = new Int32Array(64);
    for (let at = 0; at < data.byteLength; at += 64) {
      for (let i = 0; i < 64; i++) {
        const a = w[i - 15], b = w[i - 2];
        w[i] = i < 16 ? data.getInt32(at + i * 4)
          : w[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ (a >>> 3)) + w[i - 7] + (turn(b, 17) ^ turn(b, 19) ^ (b >>> 10));
      }
      let [a, b, c, d, e, f, g, h] = state;
      for (let i = 0; i < 64; i++) {
        const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
        const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        h = g; g = f; f = e; e = (d + one) | 0; d = c; c = b; b = a; a = (one + two) | 0;
      }
      [a, b, c, d, e, f, g, h].forEach((word, i) => { state[i] = (state[i] + word) | 0; });
    }
    const result = new DataView(new ArrayBuffer(32));
    state.forEach((word, i) => result.setInt32(i * 4, word));
    return new Uint8Array(result.buffer);
  };

  const digest = text => {
    let result = sha256(new TextEncoder().encode(text));
    for (let i = 0; i < ROUNDS; i++) result = sha256(result);
    return result;
  };

  /* -- what was typed ----------------------------------------------------------------------------------------------- */

  const RAISED = { '⁰': 0, '¹': 1, '²': 2, '³': 3, '⁴': 4, '⁵': 5, '⁶': 6, '⁷': 7, '⁸': 8, '⁹': 9, '⁻': '-', '⁺': '+' };
  const tidy = text => text
    .replace(/[⁰¹²³⁴-⁹⁻⁺]+/g, run => '^' + [...run].map(one => RAISED[one]).join(''))
    .normalize('NFKC')
    .replace(/[−–—]/g, '-').replace(/⁄/g, '/').replace(/[，、；;]/g, ',')
    .trim().replace(/^[=≈~]\s*/, '');

  const NUMBER = new RegExp('^([-+]?)\\s*(?:10\\s*\\^\\s*\\{?([-+]?\\d+)\\}?'
    + '|(\\d{1,3}(?:,\\d{3})+(?:\\.\\d+)?(?!\\d)|\\d+\\.?\\d*|\\.\\d+)'
    + '(?:[eE]([-+]?\\d+)|\\s*[×xX*·∙⋅]\\s*10\\s*\\^\\s*\\{?([-+]?\\d+)\\}?)?'
    + '(?:\\s*/\\s*(\\d+(?:\\.\\d+)?))?(\\s*%)?)');

  /* {value, rest, percent}, or nothing when the text does not begin with a number. */
  const number = text => {
    const found = NUMBER.exec(text);
    if (!found) return null;
    const [whole, sign, bare, mantissa = '1', e = '0', power = '0', below = '1', percent] = found;
    const scale = Number(bare ?? 0) + Number(e) + Number(power) - (percent ? 2 : 0);
    const value = Number(`${sign}${mantissa.replace(/,/g, '')}e${scale}`) / Number(below);
    return Number.isFinite(value) ? { value, rest: text.slice(whole.length).trim(), percent: Boolean(percent) } : null;
  };

  class Unreadable extends Error {}
  const FORMS = '写成 64、8.5、1.2e12、3.4×10^12、1/3 或 12.5%';

  /* What one of the declared unit is worth, for the unit typed. */
  const worth = (typed, field) => {
    if (!typed) return 1;
    if (!field.units) {
      if (/^\p{Script=Han}{1,2}$/u.test(typed)) return 1;       // 40 层: a counting word, not a unit
      throw new Unreadable(field.unit === '%' ? `读不懂“${typed}”：这里填百分数` : `读不懂“${typed}”：这一问没有单位，${FORMS}`);
    }
    if (typed === field.unit) return 1;
    const pieces = typed.split(/\s*([/·*∙⋅])\s*|\s+/);
    let factor = 1;
    for (let i = 0; i < Math.max(field.units.length * 2 - 1, pieces.length); i += 2) {
      const [operator, table] = field.units[i / 2] ?? ['?', {}];
      const given = i ? (pieces[i - 1] ?? '·').replace(/[*∙⋅]/, '·') : '';
      const atom = pieces[i] ?? '';
      if (given !== operator || !Object.hasOwn(table, atom)) {
        const others = Object.keys(field.units[0][1]).filter(one => one !== field.unit).slice(0, 3).join('、');
        const also = field.units.length === 1 && others ? `，或 ${others} 等` : '';
        throw new Unreadable(`不认识或不能换算的单位“${typed}”：这一问用 ${field.unit}${also}，大小写有别`);
      }
      factor *= operator === '/' ? 1 / table[atom] : table[atom];
    }
    return factor;
  };

  /* For each number the values it may stand for, in the declared unit. */
  const read = (text, field) => {
    let typed = tidy(text), unit = '';
    const count = field.numbers.length;
    if (count > 1) {
      const inner = /^\((.*)\)(.*)$/.exec(typed);
      if (inner) [, typed, unit] = inner;
    }
    const pieces = count > 1 ? typed.split(',').map(one => one.trim()).filter(Boolean) : [typed];
    if (pieces.length !== count) throw new Unreadable(`要 ${count} 个数，用逗号分开；读到 ${pieces.length} 个`);
    const numbers = pieces.map((piece, i) => {
      const found = number(piece);
      if (!found || (found.rest && count > 1 && i < count - 1)) throw new Unreadable(`读不懂“${piece}”：${FORMS}`);
      return found;
    });
    const factor = worth((unit.trim() || numbers.at(-1).rest), field);
    return numbers.map(({ value, percent }) => {
      if (percent && field.units) throw new Unreadable(`这一问的单位是 ${field.unit}，不是百分数`);
      return field.unit === '%' && !percent ? [value / 100, value] : [value * factor];
    });
  };

  /* -- asking the boxes --------------------------------------------------------------------------------------------- */

  const cell = (value, grid) => {
    const size = Number(grid.slice(1));
    if (grid[0] === 's') return String(Math.floor(value / size));
    return Math.abs(value) <= ZERO ? '0' : value.toExponential(size - 1);
  };

  const bytes = hex => hex.match(/../g).map(pair => parseInt(pair, 16));

  const ask = (value, { grid, boxes }, salt) => {
    const key = digest(`${salt}|${cell(value, grid)}`);
    for (const box of boxes.map(bytes)) {
      if (!box.slice(0, TAG).every((byte, i) => byte === key[i])) continue;
      const ends = new DataView(Uint8Array.from(box.slice(TAG), (byte, i) => byte ^ key[TAG + i]).buffer);
      return value >= ends.getFloat64(0) && value <= ends.getFloat64(8) ? 'right' : 'near';
    }
    return 'wrong';
  };

  /* {state: right | near | wrong | unread, message} */
  const check = (text, field, salt) => {
    let values;
    try {
      values = read(text, field);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      return { state: 'unread', message: error.message };
    }
    const states = values.map((meanings, i) => {
      const found = meanings.map(value => ask(value, field.numbers[i], `${salt}|${field.part}|${i}`));
      return ['right', 'near', 'wrong'].find(state => found.includes(state));
    });
    const amiss = states.flatMap((state, i) => state === 'right' ? [] : [i + 1]);
    if (!amiss.length) return { state: 'right', message: '对' };
    const which = states.length > 1 ? `第 ${amiss.join('、')} 个数` : '';
    if (states.includes('wrong')) return { state: 'wrong', message: `${which}不对` };
    return { state: 'near', message: `${which}很接近，但不够准（要求：${field.asks.replace(/^.*都要 ?/, '')}）` };
  };

  Object.assign(window.selftest, { check, number: text => number(tidy(text)), sha256 });
})();
