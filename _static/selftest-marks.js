/* Marks on exercises, kept in this browser and nowhere else; how many are done, in the sidebar, on the home page and in lists of exercises. */
(() => {
  'use strict';

  const script = document.currentScript;
  const KEY = `${script.dataset.book}:exercises`;
  const FORMAT = 'exercise-marks';
  const WORDS = { done: '已完成', again: '再练', updated: '题目已更新' };
  const ID = /^\p{L}[\p{L}\p{N}_.:-]{0,199}$/u;
  const root = new URL(document.documentElement.dataset.content_root ?? './', location.href);

  /* -- keeping ------------------------------------------------------------------------------------------------------ */

  let unsaved = null;             // what the browser would not keep: it lasts as long as the page
  const notices = [], listeners = [];
  const tell = text => {
    if (notices.includes(text)) return;
    notices.push(text);
    document.dispatchEvent(new CustomEvent('selftest:notice', { detail: text }));
  };

  /* A map of id -> {mark, statement, at} out of anything, with the number of entries that were none. */
  const validate = data => {
    if (data?.format !== FORMAT || data.version !== 1 || typeof data.marks !== 'object' || !data.marks) throw new TypeError('no marks');
    const marks = new Map();
    let bad = 0;
    for (const [id, one] of Object.entries(data.marks)) {
      const good = ID.test(id) && ['done', 'again'].includes(one?.mark) && /^[0-9a-f]{4,64}$/.test(one.statement) && !Number.isNaN(Date.parse(one.at));
      if (good) marks.set(id, { mark: one.mark, statement: one.statement, at: new Date(one.at).toISOString() });
      else bad++;
    }
    return { marks, bad };
  };

  const serialise = marks => JSON.stringify({ format: FORMAT, version: 1, marks: Object.fromEntries([...marks].sort()) });

  const read = () => {
    let text = unsaved;
    if (text === null) {
      try { text = localStorage.getItem(KEY); } catch { return new Map(); }
    }
    if (text === null) return new Map();
    try {
      return validate(JSON.parse(text)).marks;
    } catch {
      try {
        localStorage.setItem(`${KEY}:unreadable`, text);
        localStorage.removeItem(KEY);
      } catch { /* it stays where it is, and is written over by the next mark */ }
      tell('浏览器里存的练习标记已损坏，读不出来；原文另存了一份，标记从头开始。');
      return new Map();
    }
  };

  const write = marks => {
    const text = serialise(marks);
    try {
      if (marks.size) localStorage.setItem(KEY, text);
      else localStorage.removeItem(KEY);
      unsaved = null;
    } catch {
      unsaved = text;
      tell('浏览器不让本页保存（无痕模式，或空间已满）：标记只在这一页有效，可以在“练习与复习”页导出。');
    }
    changed();
  };

  const changed = () => { for (const listener of listeners) listener(); };
  addEventListener('storage', event => { if (event.key === KEY || event.key === null) changed(); });
  addEventListener('pageshow', event => { if (event.persisted) changed(); });

  const state = (marks, id, statement) => {
    const one = marks.get(id);
    return !one ? '' : one.statement === statement ? one.mark : 'updated';
  };

  /* Always from what is stored now: another tab may have written since. */
  const set = (id, statement, mark) => {
    const marks = read();
    if (mark) marks.set(id, { mark, statement, at: new Date().toISOString() });
    else marks.delete(id);
    write(marks);
  };

  const merge = text => {
    const { marks: given, bad } = validate(JSON.parse(text));
    const marks = read();
    let added = 0, newer = 0;
    for (const [id, one] of given) {
      const own = marks.get(id);
      if (own && own.at >= one.at) continue;
      if (own) newer++; else added++;
      marks.set(id, one);
    }
    write(marks);
    return { added, newer, kept: given.size - added - newer, bad };
  };

  const forget = () => {
    write(new Map());
    for (const kind of ['localStorage', 'sessionStorage']) {
      try {
        for (const key of Object.keys(window[kind])) if (key.startsWith(`${script.dataset.book}:`)) window[kind].removeItem(key);
      } catch { /* nothing is kept there */ }
    }
  };

  /* -- counting ----------------------------------------------------------------------------------------------------- */

  let data = null, asked = false;
  const waiting = [];
  const withData = callback => {
    if (data) return callback(data);
    waiting.push(callback);
    if (asked) return;
    asked = true;
    document.head.append(Object.assign(document.createElement('script'), { src: new URL('_static/exercises-data.js', root).href }));
  };

  const plain = url => url.origin + url.pathname;
  const arrived = rows => {
    data = { exercises: new Map(), pages: new Map() };
    for (const [above, exercises] of rows) {
      for (const line of exercises) {
        const [id, statement, kind, difficulty] = line.split(' ');
        data.exercises.set(id, { statement, kind, difficulty });
        for (const uri of above) {
          const page = plain(new URL(uri, root));
          data.pages.set(page, [...(data.pages.get(page) ?? []), id]);
        }
      }
    }
    for (const callback of waiting.splice(0)) callback(data);
  };

  const count = (ids, marks) => {
    const found = { done: 0, again: 0, updated: 0, total: 0 };
    for (const id of ids) {
      found.total++;
      const mark = state(marks, id, data.exercises.get(id).statement);
      if (mark) found[mark]++;
    }
    return found;
  };

  const element = (name, className, text = '') => Object.assign(document.createElement(name), { className, textContent: text });

  const badge = (place, { done, total }) => {
    const shown = element('span', 'selftest-count');
    const seen = element('span', '', `${done}/${total}`);
    seen.ariaHidden = 'true';
    shown.append(seen, element('span', 'selftest-spoken', `，${total} 道练习已完成 ${done} 道`));
    place.append(shown);
  };

  const paint = () => {
    const marks = read();
    for (const old of document.querySelectorAll('.selftest-count, .selftest-state')) old.remove();
    if (!marks.size) return;
    withData(() => {
      const marks = read();
      for (const old of document.querySelectorAll('.selftest-count, .selftest-state')) old.remove();
      for (const link of document.querySelectorAll('nav.bd-links a.reference.internal[href], .sd-card > a.sd-stretched-link[href]')) {
        const ids = data.pages.get(plain(new URL(link.href, location.href)));
        const found = ids && count(ids, marks);
        if (found && found.done + found.again + found.updated) {
          badge(link.closest('.sd-card')?.querySelector('.sd-card-title') ?? link, found);
        }
      }
      for (const line of document.querySelectorAll('ul.exercise-list > li')) {
        const id = exerciseOf(line), mark = id && state(marks, id, data.exercises.get(id).statement);
        if (mark) (line.querySelector('p') ?? line).append(' ', element('span', `selftest-state ${mark}`, WORDS[mark]));
      }
    });
  };

  const exerciseOf = line => {
    const hash = line.querySelector('a[href*="#"]')?.hash.slice(1);
    const id = hash && decodeURIComponent(hash);
    return data.exercises.has(id) ? id : '';
  };

  window.selftest = {
    WORDS, arrived, count: (ids, marks) => count(ids, marks), element, exerciseOf, forget, merge, notices, read, serialise, set, state, tell, withData,
    book: script.dataset.book, onchange: listener => listeners.push(listener),
  };
  listeners.push(paint);
  paint();
})();
