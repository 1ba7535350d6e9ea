/* At the end of each exercise: fields for its answer, the way to the hints and the solution, two marks. Before the first: all solutions at once. */
(() => {
  'use strict';

  const { check, element, onchange, read, set, state, WORDS } = window.selftest;

  const button = (text, className, action) => {
    const made = element('button', `selftest-button ${className}`, text);
    made.type = 'button';
    made.addEventListener('click', action);
    return made;
  };

  const open = fold => {
    fold.open = true;
    const summary = fold.querySelector('summary');
    summary.focus({ preventScroll: true });
    fold.scrollIntoView({ block: 'nearest' });
  };

  /* -- the answer --------------------------------------------------------------------------------------------------- */

  /* Hints in their order, then the solution: the first that is still closed. */
  const nextFold = exercise => {
    const folds = [...exercise.querySelectorAll('details.hint')];
    const solution = solutionOf(exercise);
    if (solution) folds.push(solution);
    return folds.find(fold => !fold.open);
  };

  /* The solution is written right after its exercise; one that stands elsewhere is linked there. */
  const solutionOf = exercise => {
    const next = exercise.nextElementSibling;
    return next?.matches('details.solution') ? next : null;
  };

  const field = (facts, id, only) => {
    const line = element('div', 'selftest-field');
    const label = element('label', 'selftest-label', facts.label);
    const input = element('input', `selftest-input${facts.numbers.length > 1 ? ' several' : ''}`);
    const unit = element('span', 'selftest-unit', facts.unit ?? '');
    const note = element('span', 'selftest-note', facts.asks);
    const verdict = element('span', 'selftest-verdict');
    input.id = `${id}-field-${facts.part || 'answer'}`;
    label.htmlFor = input.id;
    note.id = `${input.id}-note`;
    verdict.id = `${input.id}-verdict`;
    Object.assign(input, { type: 'text', autocomplete: 'off', spellcheck: false });
    input.setAttribute('autocapitalize', 'off');
    input.setAttribute('aria-label', `${only ? '答案' : `${facts.label} 的答案`}${facts.unit ? `，单位 ${facts.unit}` : ''}`);
    input.setAttribute('aria-describedby', `${note.id} ${verdict.id}`);
    const answer = element('span', 'selftest-answer');
    answer.append(input, unit, note, verdict);
    line.append(label, answer);
    const show = ({ state, message }) => {
      line.dataset.state = state;
      verdict.textContent = message;
      if (state === 'right' || !state) input.removeAttribute('aria-invalid');
      else input.setAttribute('aria-invalid', 'true');
    };
    input.addEventListener('input', () => show({ state: '', message: '' }));
    return { line, input, label: facts.label, show };
  };

  const form = (exercise, id, statement, facts, marks, said, done) => {
    const made = element('form', 'selftest-answers');
    const fields = facts.map(one => ({ facts: one, ...field(one, id, facts.length === 1) }));
    const submit = element('button', 'selftest-button selftest-check', '核对');
    const help = button('', 'selftest-help', () => {
      const fold = nextFold(exercise);
      if (fold) open(fold);
      offer();
    });
    const name = fold => fold.querySelector('.block-caption').lastChild.textContent.trim();
    const offer = () => {
      const fold = nextFold(exercise);
      help.hidden = !fold;
      if (fold) help.textContent = fold.matches('.hint') ? `看${name(fold)}` : '看解答';
    };
    help.hidden = true;
    submit.type = 'submit';
    made.noValidate = true;
    made.addEventListener('submit', event => {
      event.preventDefault();
      const filled = fields.filter(one => one.input.value.trim());
      if (!filled.length) {
        said.textContent = '先填上你的答案，再核对。';
        fields[0].input.focus();
        return;
      }
      const results = filled.map(one => {
        const result = check(one.input.value, one.facts, `${id}:${statement}`);
        one.show(result);
        return { ...one, ...result };
      });
      const wrong = results.filter(one => one.state !== 'right');
      const names = list => list.map(one => one.label).join('、');
      if (!wrong.length && filled.length === fields.length) {
        said.textContent = fields.length > 1 ? '全部正确。' : '正确。';
        help.hidden = true;
        done();
      } else if (!wrong.length) {
        said.textContent = `${names(results)} 正确；还有 ${names(fields.filter(one => !filled.includes(one)))} 没有填。`;
      } else {
        said.textContent = wrong.map(one => fields.length > 1 ? `${one.label} ${one.message}` : one.message).join('；') + '。';
        if (wrong.some(one => one.state !== 'unread')) offer();
        wrong[0].input.focus();
      }
    });
    const grid = element('div', 'selftest-fields');
    grid.append(...fields.map(one => one.line));
    const actions = element('div', 'selftest-actions');
    actions.append(submit, help, marks);
    made.append(grid, actions, said);
    return made;
  };

  /* -- the marks ---------------------------------------------------------------------------------------------------- */

  const place = spot => {
    const { exercise: id, statement, fields } = spot.dataset;
    const exercise = spot.closest('.block-exercise');
    const caption = exercise.querySelector('.block-caption')?.textContent.trim() ?? '';
    const said = element('p', 'selftest-said');
    said.setAttribute('role', 'status');
    const marks = element('div', 'selftest-marks');
    const updated = element('span', 'selftest-updated', `${WORDS.updated}，请重新标记`);
    const toggles = ['done', 'again'].map(mark => {
      const made = button(WORDS[mark], `selftest-mark ${mark}`, () => set(id, statement, state(read(), id, statement) === mark ? '' : mark));
      return [mark, made];
    });
    marks.setAttribute('role', 'group');
    marks.setAttribute('aria-label', `${caption}的标记`);
    marks.append(...toggles.map(([, made]) => made), updated);
    const paint = () => {
      const now = state(read(), id, statement);
      for (const [mark, made] of toggles) made.setAttribute('aria-pressed', String(now === mark));
      updated.hidden = now !== 'updated';
      exercise.dataset.mark = now;
    };
    spot.replaceChildren(fields ? form(exercise, id, statement, JSON.parse(fields), marks, said, () => {
      if (state(read(), id, statement) !== 'again') set(id, statement, 'done');
    }) : marks);
    onchange(paint);
    paint();
  };

  /* -- the bar ------------------------------------------------------------------------------------------------------ */

  const bar = spot => {
    const solutions = [...document.querySelectorAll('details.solution')];
    const exercises = [...document.querySelectorAll('.selftest-form')];
    const counted = element('span', 'selftest-page');
    const notice = element('p', 'selftest-notice');
    notice.setAttribute('role', 'status');
    const toggle = button('', 'selftest-all', () => {
      const opening = solutions.some(fold => !fold.open);
      for (const fold of solutions) fold.open = opening;
    });
    const paint = () => {
      const marks = read();
      const done = exercises.filter(one => state(marks, one.dataset.exercise, one.dataset.statement) === 'done').length;
      counted.textContent = `本页已完成 ${done}/${exercises.length}`;
      toggle.textContent = solutions.some(fold => !fold.open) ? '展开全部解答' : '收起全部解答';
    };
    if (solutions.length > 1) spot.append(toggle);
    spot.append(counted);
    if (spot.dataset.review) spot.append(Object.assign(element('a', 'selftest-review-link', '练习与复习'), { href: spot.dataset.review }));
    spot.append(notice);
    const say = () => { notice.textContent = window.selftest.notices.join(' '); };
    document.addEventListener('selftest:notice', say);
    addEventListener('toggle', paint, true);
    onchange(paint);
    paint();
    say();
  };

  /* -- which folds were open ---------------------------------------------------------------------------------------- */

  const KEY = `${window.selftest.book}:folds:${location.pathname}`;
  const idOf = fold => fold.querySelector(':scope > .block-body')?.id;
  const folds = [...document.querySelectorAll('details.block-fold')];
  const remember = () => {
    const ids = folds.filter(fold => fold.open).map(idOf);
    try {
      if (ids.length) sessionStorage.setItem(KEY, JSON.stringify(ids));
      else sessionStorage.removeItem(KEY);
    } catch { /* then they are closed next time */ }
  };
  try {
    const ids = JSON.parse(sessionStorage.getItem(KEY));
    if (Array.isArray(ids)) for (const fold of folds) if (ids.includes(idOf(fold))) fold.open = true;
  } catch { /* nothing is remembered */ }
  addEventListener('toggle', event => { if (event.target.matches?.('details.block-fold')) remember(); }, true);

  // For each form the browser looks at the page around it, to fill it in: where the page is laid out as it is read (book.css), not before it comes near.
  const near = new IntersectionObserver(entries => entries.filter(one => one.isIntersecting).forEach(({ target }) => {
    near.unobserve(target);
    place(target);
  }), { rootMargin: '100% 0%' });
  for (const spot of document.querySelectorAll('.selftest-form')) {
    if (spot.matches('.lazy .bd-article > section > section:nth-of-type(n+3) *')) near.observe(spot);
    else place(spot);
  }
  document.querySelectorAll('.selftest-bar').forEach(bar);
})();
