/* Search in the dialog (Ctrl+K) and on the search page.
 *
 * The index names, for each word or pair of Han characters, the pages that hold it. The records of the best of these pages are then
 * fetched to confirm the match, rank it and quote it (see _ext/search_zh/index.py). Everything arrives as a script, so that it also
 * works from file://. splitQuery and Stemmer come from Sphinx's language_data.js, where the build puts the book's SearchLanguage.
 */
(function () {
  "use strict";
  const ROOT = document.documentElement.dataset.content_root || "./";
  const BATCH = 10; // pages fetched and shown at a time
  const HAN = /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]/;
  const KINDS = { text: "正文", statement: "正文", exercise: "练习", solution: "解答", term: "术语" };
  const WEIGHTS = { text: 1, statement: 1.2, exercise: 0.5, solution: 0.4, term: 1.3 };

  /* ---- data ---- */

  const records = new Map(); // docname -> records
  const loading = new Map();
  let index = null;

  window.bookSearch = {
    index: (data) => { index = data; },
    page: (docname, data) => records.set(docname, data),
  };

  function load(path) {
    if (!loading.has(path)) {
      loading.set(path, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = ROOT + path;
        script.onload = resolve;
        script.onerror = () => { loading.delete(path); reject(new Error(path)); };
        document.head.append(script);
      }));
    }
    return loading.get(path);
  }

  const prepare = () => Promise.all([load("_static/language_data.js"), load("searchdata/index.js")]);

  /* ---- query ---- */

  const narrow = (text) => text.replace(/[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]/g, (c) => String.fromCharCode(c.charCodeAt(0) - 0xfee0))
    .replace(/\u3000/g, " ").trim().replace(/\s+/g, " ");
  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const bare = (text) => text.toLowerCase().replace(/[\s·“”‘’《》—-]+/g, "");

  function parse(input) {
    const text = narrow(input);
    const words = splitQuery(text).map((word) => word.toLowerCase());
    const stemmer = new Stemmer();
    // What all forms of a word begin with: "memori" also stands for "memory", "scale" for "scaling".
    const beginning = (word) => "(?<![a-z0-9])" + escaped(stemmer.stemWord(word).replace(/(?<=...)[eiy]$/, ""));
    // A space in the query or beside a Han character need not be in the text, and the reverse.
    const runs = text.match(/[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+|[^\s\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+/g) || [];
    const pattern = runs.map(escaped).join("\\s*");
    return {
      text,
      bare: bare(text),
      words,
      terms: [...new Set(words.map((word) => stemmer.stemWord(word)))],
      // Latin words match from their beginning: "cache" finds "caches", "KL" does not find "skl".
      phrase: new RegExp((/^[a-z0-9]/i.test(text) ? "(?<![a-z0-9])" : "") + pattern, "giu"),
      stems: words.map((word) => new RegExp(HAN.test(word) ? escaped(word) : beginning(word), "giu")),
    };
  }

  /** The query, then other names that the glossary has for the same thing: who asks for KV cache also wants KV 缓存. */
  function parsed(text) {
    const same = index.terms.filter((names) => names.some((name) => bare(name) === bare(text))).flat();
    const others = [...new Set(same)].filter((name) => bare(name) !== bare(text));
    return [parse(text), ...others.map((name) => ({ ...parse(name), other: true }))];
  }

  /* ---- which pages ---- */

  /** The 32 bits that _ext/search_zh/sets.py gives a word. */
  function digest(word) {
    let value = 0x811c9dc5;
    for (let at = 0; at < word.length; at++) value = Math.imul(value ^ word.charCodeAt(at), 0x01000193);
    value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
    value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
    return (value ^ (value >>> 16)) >>> 0;
  }

  /** A coded set of words as a function: is the word of this digest in it? At times yes where it is not, never the reverse. */
  function decoded([count, coded]) {
    const space = count * 2 ** index.bits;
    const values = new Set();
    const bytes = atob(coded);
    let value = -1, quotient = 0, rest = -1, read = 0;
    for (let at = 0; at < bytes.length * 8; at++) {
      const bit = (bytes.charCodeAt(at >> 3) >> (7 - (at & 7))) & 1;
      if (rest < 0) {
        if (bit) quotient++;
        else { rest = 0; read = 0; }
      } else {
        rest = rest * 2 + bit;
        if (++read === index.bits) {
          value += quotient * 2 ** index.bits + rest + 1;
          values.add(value);
          quotient = 0;
          rest = -1;
        }
      }
    }
    return (hash) => values.has(Math.floor((hash * space) / 2 ** 32));
  }

  /** Page -> whether it has the term often, for the pages that (seem to) have it. */
  function postings(term) {
    const hash = digest(term);
    index.sets ??= index.pages.map((page) => [decoded(page[4]), decoded(page[5])]);
    return new Map(index.sets.flatMap(([some, often], page) => some(hash) ? [[page, often(hash) ? 2 : 0]] : []));
  }

  /** How well a name (title, defined term) answers the query: 0 to 1000. */
  function named(name, query) {
    const candidate = bare(name);
    if (!query.bare || !candidate.includes(query.bare)) return 0;
    if (candidate === query.bare) return 1000;
    if (!HAN.test(query.text) && !new RegExp("(?<![a-z0-9])" + escaped(query.text) + "(?![a-z0-9])", "i").test(name)) return 0;
    return 300 + 400 * (query.bare.length / candidate.length) + (candidate.endsWith(query.bare) ? 50 : 0);
  }

  /** ``refused``: pages that only seemed to have the words. */
  function candidates(query, refused) {
    const lists = query.terms.map(postings);
    for (const list of lists) for (const page of refused) list.delete(page);
    const found = new Map(); // page -> number of terms it has
    const weight = new Map();
    for (const list of lists) {
      for (const [page, frequency] of list) {
        found.set(page, (found.get(page) || 0) + 1);
        weight.set(page, Math.min(weight.has(page) ? weight.get(page) : 2, frequency));
      }
    }
    const most = Math.max(0, ...found.values());
    const complete = most === lists.length;
    // Without a page that has everything, those with most of it are better than none.
    if (!complete && most < Math.max(2, lists.length * 0.6)) return { complete, pages: [] };
    const best = new Map();
    for (const [page, name] of index.names) {
      const score = named(name, query);
      if (score > (best.get(page) || 0)) best.set(page, score);
    }
    const pages = [...found.keys()].filter((page) => found.get(page) === most);
    const order = (page) => (best.get(page) || 0) + 60 * weight.get(page);
    return { complete, pages: pages.sort((a, b) => order(b) - order(a) || a - b) };
  }

  /* ---- which records ---- */

  function scored(record, page, query) {
    let score = named(record.title, query) * (record.level === 1 ? 1.2 : record.level === 2 ? 1 : 0.9);
    let defines = score >= 1000;
    for (const name of [record.number, ...record.names]) {
      const how = named(name, query);
      defines ||= how === 1000;
      score = Math.max(score, how === 1000 ? 900 : how * 0.5);
    }
    const hits = (record.text.match(query.phrase) || []).length;
    const inTitle = (record.title.match(query.phrase) || []).length;
    const missing = query.stems.filter((stem) => !(record.title + " " + record.text).match(stem)).length;
    if (hits || inTitle) score += 100 + 25 * Math.log2(1 + hits);
    else if (!missing) score += 40;
    else if (!score && missing === query.stems.length) return null;
    else score += 20 * (1 - missing / query.stems.length);
    return { record, page, query, defines, exact: hits + inTitle > 0, whole: !missing, score: score * WEIGHTS[record.kind] * (query.other ? 0.9 : 1) };
  }

  /** Of the hits on one page the best of each kind speaks for the others; a glossary term of that very name speaks for itself. */
  function merged(hits) {
    const groups = new Map();
    for (const hit of hits.sort((a, b) => b.score - a.score)) {
      const kind = KINDS[hit.record.kind];
      const key = hit.record.kind === "term" && hit.defines ? `${hit.page}#${hit.record.anchor}` : `${hit.page} ${kind}`;
      if (groups.has(key)) groups.get(key).others.push(hit);
      else groups.set(key, { ...hit, kind, others: [] });
    }
    return [...groups.values()];
  }

  /** Results of all names together: what two of them find is shown once, where it answers better. */
  function together(hits) {
    const seen = new Map();
    for (const hit of hits.sort((a, b) => b.score - a.score)) {
      const key = `${hit.page} ${hit.kind} ${hit.kind === KINDS.term ? hit.record.anchor : ""}`;
      if (!seen.has(key)) seen.set(key, hit);
    }
    return [...seen.values()];
  }

  async function search(query, pages, complete, refused) {
    await Promise.all(pages.map((page) => load(`searchdata/pages/${index.pages[page][0]}.js`)));
    const hits = [];
    for (const page of pages) {
      const here = records.get(index.pages[page][0]);
      const text = here.map((record) => [record.number, record.title, ...record.names, record.text].join(" ")).join(" ");
      if (complete && query.stems.some((stem) => text.search(stem) < 0)) {
        refused.add(page);
        continue;
      }
      const all = here.map((record) => scored(record, page, query)).filter(Boolean);
      const whole = all.filter((hit) => hit.whole || hit.exact || hit.score >= 250);
      // All words are on the page but in no single place: its best place stands for it.
      hits.push(...(whole.length ? whole : all.sort((a, b) => b.score - a.score).slice(0, 1)));
    }
    return merged(hits);
  }

  /* ---- showing ---- */

  function element(name, attributes, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  /** ``text`` as nodes, what the query matched inside <mark>. */
  function marked(text, query) {
    const spans = [];
    for (const pattern of text.match(query.phrase) ? [query.phrase] : query.stems) {
      for (const match of text.matchAll(pattern)) if (match[0]) spans.push([match.index, match.index + match[0].length]);
    }
    spans.sort((a, b) => a[0] - b[0]);
    const nodes = [];
    let at = 0;
    for (let [start, end] of spans) {
      if (end <= at) continue;
      start = Math.max(start, at);
      nodes.push(text.slice(at, start), element("mark", {}, text.slice(start, end)));
      at = end;
    }
    return [...nodes, text.slice(at)];
  }

  function snippet(text, query) {
    const first = [query.phrase, ...query.stems].map((pattern) => text.search(pattern)).find((position) => position >= 0) ?? 0;
    const stop = Math.max(text.lastIndexOf("。", first), text.lastIndexOf("；", first));
    const start = first - stop < 60 ? stop + 1 : Math.max(0, first - 36);
    const end = Math.min(text.length, start + 110);
    return (start && start !== stop + 1 ? "…" : "") + text.slice(start, end).trim() + (end < text.length ? "…" : "");
  }

  function heading(hit) {
    const { record } = hit;
    if (record.kind === "term" || !record.number) return record.title || record.number;
    const block = !record.level;
    return block && record.title ? `${record.number}（${record.title}）` : `${record.number} ${record.title}`.trim();
  }

  const address = (hit) => ROOT + index.pages[hit.page][1] + (hit.record.anchor ? `#${hit.record.anchor}` : "");

  function entry(hit) {
    const { query } = hit;
    const [, , number, title] = index.pages[hit.page];
    const link = element("a", { href: address(hit), class: "hit-link" },
      element("span", { class: `hit-kind hit-${hit.record.kind}` }, hit.kind), element("span", { class: "hit-title" }, ...marked(heading(hit), query)));
    const item = element("li", { class: "hit" }, link);
    if (hit.record.level !== 1) item.append(element("p", { class: "hit-page" }, `${number} ${title}`.trim()));
    // The text of a solution stays folded until its reader opens it.
    const text = hit.record.kind === "solution" ? "" : snippet(hit.record.text, query);
    if (hit.record.kind === "solution") item.append(element("p", { class: "hit-snippet" }, "解答里有，点开可见。"));
    else if (text) item.append(element("p", { class: "hit-snippet" }, ...marked(text, query)));
    if (hit.others.length) {
      const list = element("ul", {}, ...hit.others.map((other) => element("li", {}, element("a", { href: address(other) }, heading(other)))));
      item.append(element("details", { class: "hit-others" }, element("summary", {}, `同页另有 ${hit.others.length} 处${hit.kind}`), list));
    }
    return item;
  }

  function setUp(form) {
    const input = form.querySelector("input[name=q]");
    const dialog = form.closest("dialog");
    const status = element("p", { class: "search-status", role: "status" });
    const list = element("ol", { class: "search-hits" });
    const area = form.parentElement;
    const place = dialog ? area : document.getElementById("search-results");
    if (!input || !place) return;
    place.append(element("div", { class: "search-panel" }, status, list));
    let turn = 0;

    async function show() {
      const mine = ++turn;
      const text = narrow(input.value);
      area.classList.toggle("searching", Boolean(text));
      if (!text) { list.replaceChildren(); status.textContent = ""; return; }
      try {
        await prepare();
        const all = new Set();
        const others = [];
        let hits = [], complete = false, more = false;
        for (const query of parsed(text)) {
          const refused = new Set();
          const before = hits;
          let own = [], whole = true, pages = [], from = 0;
          for (let known = -1; query.terms.length && !own.length && refused.size > known;) {
            known = refused.size;
            ({ complete: whole, pages } = candidates(query, refused));
            if (query.other && !whole) pages = []; // another name is no reason for half an answer
            for (from = 0; from < pages.length && !(dialog && own.length); from += BATCH) {
              own = [...own, ...await search(query, pages.slice(from, from + BATCH), whole, refused)];
              if (mine !== turn) return; // the reader has typed on
              hits = together([...before, ...own]);
              list.replaceChildren(...hits.map(entry));
            }
          }
          pages.filter((page) => !refused.has(page)).forEach((page) => all.add(page));
          complete ||= whole && own.length > 0;
          more ||= dialog && from < pages.length;
          if (query.other && own.length) others.push(query.text);
        }
        if (!hits.length) list.replaceChildren();
        if (more) list.append(element("li", { class: "hit" }, element("a", { href: `${form.action}?q=${encodeURIComponent(text)}` }, `在全部 ${all.size} 页中查看`)));
        status.textContent = !hits.length ? `没有找到“${text}”。` : `${complete ? "" : "没有一页包含全部词语，以下最接近："}${all.size} 页，${hits.length} 条结果`
          + `${others.length ? `，包括“${others.join("”“")}”` : ""}${more ? `（先列出最相关的几页）` : ""}`;
      } catch (error) {
        if (mine === turn) status.textContent = "搜索数据没有载入，请检查网络后重试。";
      }
    }

    let timer = 0;
    input.addEventListener("focus", () => prepare().catch(() => {}), { once: true });
    input.addEventListener("input", (event) => {
      clearTimeout(timer);
      if (!event.isComposing) timer = setTimeout(show, 120); // letters of an unfinished pinyin are not a query
    });
    input.addEventListener("compositionend", show);
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && dialog && event.target !== input) dialog.close(); // in the field the theme does
      if (event.isComposing || !["ArrowDown", "ArrowUp"].includes(event.key)) return;
      const stops = [input, ...list.querySelectorAll("a, summary")].filter((stop) => stop.checkVisibility());
      const at = stops.indexOf(document.activeElement);
      const next = stops[at + (event.key === "ArrowDown" ? 1 : -1)];
      if (at < 0 || !next) return;
      event.preventDefault();
      next.focus();
    });
    // A hit on this very page changes only the fragment: the dialog would stay open above it.
    list.addEventListener("click", (event) => { if (dialog && event.target.closest("a")) dialog.close(); });
    if (!dialog) {
      form.addEventListener("submit", (event) => { event.preventDefault(); history.replaceState(null, "", `?q=${encodeURIComponent(input.value)}`); show(); });
      input.value = new URLSearchParams(location.search).get("q") || "";
      input.focus();
      show();
    }
  }

  document.querySelectorAll("form.bd-search").forEach(setUp);
})();
