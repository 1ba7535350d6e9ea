/* The page of all exercises: what is marked for another try, filters, and what the reader owns taken out, brought in or forgotten. */
(() => {
  'use strict';

  const { element, exerciseOf, forget, merge, onchange, read, serialise, state, WORDS, withData } = window.selftest;
  const KINDS = { derive: '推导', compute: '计算', design: '设计', critique: '辨析', open: '开放' };
  const MARKS = { none: '没有标记', ...WORDS };
  const TOO_LARGE = 2_000_000;

  const button = (text, action) => {
    const made = element('button', 'selftest-button', text);
    made.type = 'button';
    made.addEventListener('click', action);
    return made;
  };

  const choice = (name, options, action) => {
    const label = element('label', 'selftest-choice', name);
    const select = element('select', 'selftest-select');
    select.setAttribute('aria-label', name);
    select.append(new Option('全部', ''), ...Object.entries(options).map(([value, text]) => new Option(text, value)));
    select.addEventListener('change', action);
    label.append(select);
    return { label, select };
  };

  const build = (spot, { exercises }) => {
    const lines = [...document.querySelectorAll('ul.exercise-list > li')].map(line => ({ line, id: exerciseOf(line) })).filter(one => one.id);
    const said = element('p', 'selftest-said');
    said.setAttribute('role', 'status');
    const say = text => { said.textContent = text; };

    /* -- filters */
    const shown = element('span', 'selftest-shown');
    shown.setAttribute('role', 'status');
    const filter = () => {
      const marks = read();
      let count = 0;
      for (const { line, id } of lines) {
        const { statement, kind: own, difficulty: level } = exercises.get(id);
        const fits = (!kind.select.value || kind.select.value === own) && (!difficulty.select.value || difficulty.select.value === level)
          && (!mark.select.value || mark.select.value === (state(marks, id, statement) || 'none'));
        line.hidden = !fits;
        count += fits;
      }
      shown.textContent = `共 ${lines.length} 题，显示 ${count} 题`;
    };
    const kind = choice('种类', KINDS, filter);
    const difficulty = choice('难度', { 1: '1', 2: '2', 3: '3' }, filter);
    const mark = choice('标记', MARKS, filter);
    const filters = element('div', 'selftest-filters');
    filters.setAttribute('role', 'group');
    filters.setAttribute('aria-label', '筛选练习');
    filters.append(kind.label, difficulty.label, mark.label, shown);

    /* -- what to try again */
    const summary = element('p', 'selftest-summary');
    const again = element('ul', 'exercise-list selftest-again');
    const empty = element('p', 'selftest-empty', '没有标为“再练”的题。做错或没有把握的题，在题末点“再练”，就会列在这里。');
    const list = () => {
      const marks = read();
      const found = { done: 0, again: 0, updated: 0 };
      again.replaceChildren();
      for (const { line, id } of lines) {
        const now = state(marks, id, exercises.get(id).statement);
        if (now) found[now]++;
        if (now === 'again' || now === 'updated') {
          const copy = line.cloneNode(true);
          copy.hidden = false;
          for (const one of copy.querySelectorAll('.selftest-state')) one.remove();
          if (now === 'updated') copy.querySelector('p')?.append(' ', element('span', 'selftest-state updated', WORDS.updated));
          again.append(copy);
        }
      }
      again.hidden = !again.childElementCount;
      empty.hidden = !again.hidden;
      summary.textContent = `已完成 ${found.done} / ${lines.length} 题，再练 ${found.again} 题`
        + (found.updated ? `；${found.updated} 题在你做过之后改了题面，请再看一遍。` : '。');
    };

    /* -- out, in, away */
    const take = button('导出标记', () => {
      const link = element('a', '');
      const day = new Date().toLocaleDateString('sv');
      link.href = URL.createObjectURL(new Blob([serialise(read())], { type: 'application/json' }));
      link.download = `练习标记-${day}.json`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      say(`已导出 ${read().size} 条标记。`);
    });
    const file = Object.assign(element('input', 'selftest-spoken'), { type: 'file', accept: '.json,application/json', tabIndex: -1 });
    file.setAttribute('aria-label', '选择导出过的标记文件');
    file.addEventListener('change', async () => {
      const [given] = file.files;
      if (!given) return;
      try {
        if (given.size > TOO_LARGE) throw new RangeError('too large');
        const { added, newer, kept, bad } = merge(await given.text());
        say(`并入 ${added + newer} 条标记（新增 ${added}，更新 ${newer}），${kept} 条因本机的更新而保留原样${bad ? `，${bad} 条读不懂，略去` : ''}。`);
      } catch {
        say(`“${given.name}”不是本书导出的标记文件，什么也没有改动。`);
      }
      file.value = '';
    });
    const bring = button('导入标记', () => file.click());
    const drop = button('全部清除', () => {
      const { size } = read();
      if (!confirm(`清除本书在这个浏览器里保存的全部练习标记（${size} 条）与折叠状态？此事不能撤销；需要的话先导出。`)) return say('没有清除。');
      forget();
      say('已全部清除。');
    });
    drop.classList.add('selftest-drop');
    const own = element('div', 'selftest-own');
    own.append(take, bring, file, drop);

    const notice = element('p', 'selftest-notice');
    notice.setAttribute('role', 'status');
    const notify = () => { notice.textContent = window.selftest.notices.join(' '); };
    document.addEventListener('selftest:notice', notify);
    spot.append(element('h2', '', '再练'), summary, empty, again, own, said, notice, element('h2', '', '全部练习'), filters);
    onchange(() => { list(); filter(); });
    list();
    filter();
    notify();
  };

  withData(data => document.querySelectorAll('.selftest-review').forEach(spot => build(spot, data)));
})();
