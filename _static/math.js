/* Reading aids for formulas; pages are complete without them. */
(() => {
  'use strict';
  // Copied text holds the TeX of the formulas in the selection; a formula is copied whole.
  const all = [...document.querySelectorAll('article math')];
  const source = document.querySelector('meta[name="book-tex"]')?.content;
  const tex = (math) => {
    const list = window.bookTex;
    const mark = math.getAttribute('display') === 'block' ? '$$' : '$';
    return list?.length === all.length && all.includes(math) ? mark + list[all.indexOf(math)] + mark : math.textContent;
  };
  const around = (node) => (node.nodeType === 1 ? node : node.parentElement)?.closest('math');

  const fetchTex = () => {
    if (document.getSelection().isCollapsed) return;
    document.removeEventListener('selectionchange', fetchTex);
    document.head.append(Object.assign(document.createElement('script'), { src: source }));
  };
  if (source) document.addEventListener('selectionchange', fetchTex);

  document.addEventListener('copy', (event) => {
    const selection = document.getSelection();
    if (selection.isCollapsed || !event.clipboardData) return;
    const range = selection.getRangeAt(0).cloneRange();
    const [first, last] = [around(range.startContainer), around(range.endContainer)];
    if (first) range.setStartBefore(first);
    if (last) range.setEndAfter(last);
    const formulas = [...document.querySelectorAll('math')].filter((math) => range.intersectsNode(math)).map(tex);
    if (!formulas.length) return;
    const part = range.cloneContents();
    const html = document.createElement('div');
    html.append(part.cloneNode(true));
    part.querySelectorAll('math').forEach((math, place) => math.replaceWith(formulas[place]));
    event.clipboardData.setData('text/html', html.innerHTML);
    event.clipboardData.setData('text/plain', part.textContent);
    event.preventDefault();
  });

  // What scrolls can be reached by keyboard in every browser.
  const watch = new ResizeObserver((entries) => entries.forEach(({ target }) => {
    const wide = target.scrollWidth > target.clientWidth + 1;
    const wanted = target.matches('math') ? { tabindex: '0' } : { tabindex: '0', role: 'group', 'aria-label': '可横向滚动的公式' };
    for (const [name, value] of Object.entries(wanted)) {
      if (wide) target.setAttribute(name, value); else target.removeAttribute(name);
    }
  }));
  document.querySelectorAll('.math-scroll, math:not([display])').forEach((box) => watch.observe(box));
})();
