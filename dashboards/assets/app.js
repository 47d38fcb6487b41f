// Seatrial: hover, synced cursors, keyboard, theme, live fragments. Everything here is an extra; pages read without it.
(() => {
  'use strict';
  const d = document, root = d.documentElement;
  const keep = (key, value) => { try { value === undefined ? null : localStorage.setItem(key, value); return localStorage.getItem(key); } catch { return null; } };
  root.classList.add('js');
  // theme
  const saved = new URLSearchParams(location.search).get('theme') || keep('theme');
  if (saved === 'dark' || saved === 'light') root.dataset.theme = saved;
  const dark = () => root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme:dark)').matches;
  const flip = () => { root.dataset.theme = dark() ? 'light' : 'dark'; keep('theme', root.dataset.theme); };
  const newest = at => at.querySelectorAll('.chart[data-end]').forEach(c => { c.scrollLeft = c.scrollWidth; });
  newest(d);
  // tip: text only, first line bold; equal data-i moves the cursor in every synced chart
  const tip = d.createElement('div'), NS = 'http://www.w3.org/2000/svg';
  tip.id = 'tip'; tip.setAttribute('role', 'status'); d.body.append(tip);
  const hide = () => { tip.style.display = 'none'; d.querySelectorAll('.cur').forEach(c => c.remove()); };
  const show = (el, x, y) => {
    const [head, ...rest] = el.dataset.tip.split('|'), b = d.createElement('b');
    b.textContent = head; tip.replaceChildren(b, rest.length ? '\n' + rest.join('\n') : '');
    tip.style.display = 'block';
    const r = tip.getBoundingClientRect();
    tip.style.left = Math.max(8, Math.min(x + 14, innerWidth - r.width - 8)) + 'px';
    tip.style.top = (y + 18 + r.height > innerHeight ? y - r.height - 12 : y + 18) + 'px';
    d.querySelectorAll('.cur').forEach(c => c.remove());
    if (el.dataset.i && el.closest('[data-sync]')) d.querySelectorAll(`[data-sync] [data-i="${el.dataset.i}"]`).forEach(h => {
      const l = d.createElementNS(NS, 'line'), cx = +h.getAttribute('x') + h.getAttribute('width') / 2, top = +h.getAttribute('y');
      for (const [k, v] of Object.entries({ x1: cx, x2: cx, y1: top, y2: top + +h.getAttribute('height'), class: 'cur' })) l.setAttribute(k, v);
      h.parentNode.append(l);
    });
  };
  d.addEventListener('pointermove', e => { const t = e.target.closest?.('[data-tip]'); t ? show(t, e.clientX, e.clientY) : hide(); });
  d.addEventListener('focusin', e => { const t = e.target.closest('[data-tip]'); if (t) { const r = t.getBoundingClientRect(); show(t, r.left, r.bottom - 12); } else hide(); });
  // rows
  let at = null;
  const move = n => {
    const rows = [...d.querySelectorAll('[data-row]')].filter(r => r.offsetParent !== null);
    if (!rows.length) return;
    const i = rows.indexOf(at);
    at?.removeAttribute('aria-selected');
    at = rows[i < 0 ? (n > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, i + n))];
    at.setAttribute('aria-selected', 'true'); at.scrollIntoView({ block: 'nearest' });
  };
  const open = e => { if (at && e.target === d.body) (at.matches('a') ? at : at.querySelector('a'))?.click(); };
  // keyboard
  const help = d.querySelector('dialog'), box = help?.querySelector('[data-act=keys]');
  if (box) { box.checked = keep('keys') !== 'off'; box.addEventListener('change', () => keep('keys', box.checked ? 'on' : 'off')); }
  const press = sel => d.querySelector(sel)?.click();
  let g = false;
  d.addEventListener('keydown', e => {
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName)) { if (e.key === 'Escape') e.target.blur(); return; }
    if (e.ctrlKey || e.metaKey || e.altKey || keep('keys') === 'off') return;
    if (g) { g = false; press(`.nav [data-key="${CSS.escape(e.key)}"]`); return; }
    ({
      j: () => move(1), k: () => move(-1), Enter: () => open(e), u: () => press('a[rel=up]'), t: flip,
      l: () => press('[data-act=language]'), '.': () => press('form.again button'),
      '/': () => { e.preventDefault(); d.querySelector('.search')?.focus(); },
      '?': () => help?.showModal(), g: () => { g = true; setTimeout(() => { g = false; }, 1200); }
    })[e.key]?.();
  });
  d.addEventListener('click', e => {
    const b = e.target.closest('button[data-act]');
    if (!b) return;
    ({
      theme: flip, help: () => help.showModal(), close: () => help.close(),
      copy: () => navigator.clipboard?.writeText(b.previousElementSibling.textContent).then(() => { const was = b.textContent; b.textContent = b.dataset.done; setTimeout(() => { b.textContent = was; }, 1500); })
    })[b.dataset.act]?.();
  });
  // count of a selector
  d.querySelectorAll('[data-count]').forEach(input => {
    let wait = 0;
    input.addEventListener('input', () => {
      clearTimeout(wait);
      wait = setTimeout(() => fetch(`${input.dataset.count}?devices=${encodeURIComponent(input.value)}`, { headers: { accept: 'application/json' } })
        .then(r => r.json()).then(r => { if (r.text) d.getElementById('count').textContent = r.text; }).catch(() => {}), 250);
    });
  });
  // live: a fragment replaces the element that has its id; one under the pointer or the focus waits
  const live = d.body.dataset.live;
  if (live && window.EventSource) {
    const waiting = new Map(), stale = d.querySelector('.stale');
    let lost = 0, told = d.querySelector('h1')?.textContent, last = 0;
    // what changed is said in one sentence, at most every 20 s, and its end at once
    const say = over => {
      const now = d.querySelector('h1')?.textContent;
      if (now === told || (!over && Date.now() - last < 20000)) return;
      told = now; last = Date.now();
      d.getElementById('said').textContent = now;
    };
    const put = (id, html) => {
      const old = d.getElementById(id);
      if (!old) return;
      if (old.contains(d.activeElement) && d.activeElement !== d.body) { waiting.set(id, html); return; }
      const t = d.createElement('template'), was = at && old.contains(at) ? [...old.querySelectorAll('[data-row]')].indexOf(at) : -1;
      const bars = [...old.querySelectorAll('.scroll,.chart')].map(s => s.scrollLeft), opened = [...old.querySelectorAll('details')].map(s => s.open);
      t.innerHTML = html;
      const fresh = t.content.firstElementChild;
      if (!fresh || fresh.id !== id) return;
      old.replaceWith(fresh);
      fresh.querySelectorAll('.scroll,.chart').forEach((s, i) => { s.scrollLeft = bars[i] ?? 0; });
      fresh.querySelectorAll('details').forEach((s, i) => { s.open ||= opened[i] ?? false; });
      if (was >= 0) { at = fresh.querySelectorAll('[data-row]')[was] ?? null; at?.setAttribute('aria-selected', 'true'); }
    };
    d.addEventListener('focusout', () => setTimeout(() => { for (const [id, html] of waiting) { waiting.delete(id); put(id, html); } }));
    const stream = new EventSource(live);
    stream.addEventListener('fragment', e => { put(e.lastEventId, e.data); say(false); });
    stream.addEventListener('over', () => { stream.close(); say(true); });
    stream.onopen = () => { lost = 0; if (stale) stale.hidden = true; };
    stream.onerror = () => { lost ||= Date.now(); };
    setInterval(() => {
      const age = Math.round((Date.now() - lost) / 1000);
      if (!lost || age < 5 || !stale) return;
      stale.hidden = false; stale.textContent = d.body.dataset.paused.replace('{n}', age);
      stale.classList.toggle('s-suspect', age > 120);
    }, 5000);
    addEventListener('pagehide', () => stream.close());
  }
})();
