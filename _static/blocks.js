/* What native <details> leaves to do: browsers that do not open a fold for a link into it, and those that print it closed. */
(() => {
  'use strict';

  const reveal = () => {
    let target = null;
    try { target = document.getElementById(decodeURIComponent(location.hash.slice(1))); } catch { /* not a well-formed hash */ }
    const closed = [];
    for (let fold = target?.closest('details'); fold; fold = fold.parentElement.closest('details')) {
      if (!fold.open) closed.push(fold);
    }
    if (!closed.length) return;
    for (const fold of closed) fold.open = true;
    target.scrollIntoView();
  };

  let opened = [];
  addEventListener('hashchange', reveal);
  addEventListener('beforeprint', () => {
    opened = [...document.querySelectorAll('details.block-fold:not([open])')];
    for (const fold of opened) fold.open = true;
  });
  addEventListener('afterprint', () => {
    for (const fold of opened) fold.open = false;
    opened = [];
  });
  reveal();
})();
