/* What a reference points to, shown beside it: equations, blocks, glossary terms, literature. On hover of a mouse or on focus by
 * keyboard; a touch follows the link as ever. A target on another page is fetched when it is first asked for (not from file://).
 * Nothing folded is shown: not a hint, not a solution. */
(() => {
  'use strict';

  const REFERENCES = '.bd-article a.reference.internal[href*="#"]';
  const DELAY = 250; // a pointer that only passes by asks for nothing
  const GONE = 'details, form, button, input, script, .headerlink, .check-mark, .block-meta, .eqno';
  const pages = new Map(); // address without fragment -> promise of its document
  let box = null, shownFor = null, timer = 0, turn = 0;

  function page(address) {
    if (address === location.href.split('#')[0]) return Promise.resolve(document);
    if (location.protocol === 'file:') return Promise.resolve(null);
    if (!pages.has(address)) {
      const asked = fetch(address).then((answer) => (answer.ok ? answer.text() : Promise.reject(new Error(answer.status))))
        .then((text) => new DOMParser().parseFromString(text, 'text/html'));
      asked.catch(() => pages.delete(address));
      pages.set(address, asked);
    }
    return pages.get(address);
  }

  /** The part of a page that answers "what is that?", or nothing for sections, figures and whatever is folded. */
  function parts(target) {
    if (!target || target.closest('details')) return [];
    if (target.matches('.math-display')) return [target];
    if (target.matches('dt')) {
      let described = target;
      while (described && !described.matches('dd')) described = described.nextElementSibling;
      return described ? [target, described] : [];
    }
    const whole = target.closest('.reference-entry, .citation, div.block');
    return whole && (whole === target || whole.matches('.reference-entry, .citation')) ? [whole] : [];
  }

  /** A copy that can stand elsewhere: no ids, no controls, links that still lead where they did. */
  function copied(part, address) {
    const copy = document.importNode(part, true);
    for (const one of copy.querySelectorAll(GONE)) one.remove();
    for (const one of [copy, ...copy.querySelectorAll('[id]')]) one.removeAttribute('id');
    for (const [name, selector] of [['href', 'a[href]'], ['src', 'img[src]']]) {
      for (const one of copy.querySelectorAll(selector)) one.setAttribute(name, new URL(one.getAttribute(name), address).href);
    }
    for (const link of copy.querySelectorAll('a')) link.tabIndex = -1;
    const holder = document.createElement('div');
    holder.append(...(copy.matches('dt, dd') ? copy.childNodes : [copy]));
    if (copy.matches('dt')) holder.className = 'preview-term';
    return holder;
  }

  function hide() {
    clearTimeout(timer);
    turn++;
    shownFor?.removeAttribute('aria-describedby');
    box?.remove();
    box = shownFor = null;
  }

  async function show(link) {
    hide();
    const mine = turn;
    const address = link.href.split('#')[0];
    let found = [];
    try {
      const source = await page(address);
      found = source ? parts(source.getElementById(decodeURIComponent(link.hash.slice(1)))) : [];
    } catch { /* no network, or not a well-formed hash: the link itself still works */ }
    if (!found.length || mine !== turn) return;
    box = document.createElement('div');
    box.id = 'book-preview';
    box.className = 'book-preview bd-article';
    box.setAttribute('role', 'tooltip');
    box.append(...found.map((part) => copied(part, address)));
    document.body.append(box);
    shownFor = link;
    link.setAttribute('aria-describedby', box.id);
    place(link);
  }

  /** Below the link, or above it where there is more room. */
  function place(link) {
    const at = link.getClientRects()[0];
    const below = innerHeight - at.bottom, left = Math.min(at.left, document.documentElement.clientWidth - box.offsetWidth - 12);
    const top = below > box.offsetHeight + 12 || below > at.top ? at.bottom + 4 : at.top - box.offsetHeight - 4;
    box.style.left = `${Math.max(12, left) + scrollX}px`;
    box.style.top = `${Math.max(4, top) + scrollY}px`;
  }

  document.addEventListener('pointerover', (event) => {
    if (event.pointerType !== 'mouse' || event.target.closest('#book-preview')) { if (event.pointerType === 'mouse') clearTimeout(timer); return; }
    const link = event.target.closest(REFERENCES);
    if (link && link === shownFor) return clearTimeout(timer);
    clearTimeout(timer);
    if (link) timer = setTimeout(show, DELAY, link);
    else if (box && document.activeElement !== shownFor) timer = setTimeout(hide, DELAY); // time to move into the preview
  });
  document.addEventListener('focusin', (event) => {
    const link = event.target.closest(REFERENCES);
    if (link?.matches(':focus-visible')) show(link);
    else if (!event.target.closest('#book-preview')) hide();
  });
  document.addEventListener('focusout', (event) => { if (event.target === shownFor) hide(); });
  document.addEventListener('keydown', (event) => { if (event.key === 'Escape') hide(); });
  addEventListener('hashchange', hide);
})();
