/* Reading aids for formulas; pages are complete without them. */
(() => {
  'use strict';
  const tex = (math) => {
    const note = math.querySelector('annotation[encoding="application/x-tex"]');
    const mark = math.getAttribute('display') === 'block' ? '$$' : '$';
    return note ? mark + note.textContent + mark : math.textContent;
  };
  const around = (node) => (node.nodeType === 1 ? node : node.parentElement)?.closest('math');

  // Copied text holds the TeX of the formulas in the selection; a formula is copied whole.
  document.addEventListener('copy', (event) => {
    const selection = document.getSelection();
    if (selection.isCollapsed || !event.clipboardData) return;
    const range = selection.getRangeAt(0).cloneRange();
    const [first, last] = [around(range.startContainer), around(range.endContainer)];
    if (first) range.setStartBefore(first);
    if (last) range.setEndAfter(last);
    const part = range.cloneContents();
    const formulas = part.querySelectorAll('math');
    if (!formulas.length) return;
    const html = document.createElement('div');
    html.append(part.cloneNode(true));
    formulas.forEach((math) => math.replaceWith(tex(math)));
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
