// What makes a page live. Everything works without it: it saves the reload.

const live = document.querySelector('[data-live]');
const thread = document.querySelector('[data-thread]');

/** Asks for this page again and puts in place what differs. */
async function refresh() {
  if (!live || document.hidden) return;
  const answer = await fetch(location.href, {headers: {accept: 'text/html'}, redirect: 'error'}).catch(() => null);
  if (!answer?.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const next = page.querySelector('[data-live]');
  if (!next || !isFree()) return;
  const known = new Set([...live.querySelectorAll('[data-row]')].map((row) => row.dataset.row));
  const opened = [...live.querySelectorAll('details')].map((details) => details.open);
  const scrolled = [...live.querySelectorAll('.scroll, pre')].map((box) => [box.scrollLeft, box.scrollTop]);
  for (const row of next.querySelectorAll('[data-row]')) {
    if (known.size && !known.has(row.dataset.row)) row.classList.add('fresh');
  }
  [...next.querySelectorAll('details')].forEach((details, place) => { details.open = opened[place] ?? details.open; });
  live.replaceChildren(...next.childNodes);
  [...live.querySelectorAll('.scroll, pre')].forEach((box, place) => box.scrollTo(...(scrolled[place] ?? [0, 0])));
  copyButtons(live);
}

/** Nobody loses the place of the keyboard, a selection, or what is being written. */
function isFree() {
  const selection = getSelection();
  const selects = selection && !selection.isCollapsed && live.contains(selection.anchorNode);
  return !selects && !live.contains(document.activeElement);
}

function follow() {
  let wanted = false;
  const source = new EventSource('/ui/live/changes?of=' + live.dataset.live);
  const changed = () => {
    if (document.hidden) wanted = true;
    else refresh();
  };
  source.addEventListener('changed', changed);
  // It came back: something may have happened meanwhile.
  let lost = false;
  source.addEventListener('error', () => { lost = true; });
  source.addEventListener('open', () => { if (lost) changed(); lost = false; });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && wanted) { wanted = false; refresh(); }
  });
}

/** Puts in the pieces of a transcript as they are written. */
function listen() {
  const state = document.querySelector('[data-thread-state]');
  const source = new EventSource(thread.dataset.thread);
  const atEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
  source.addEventListener('open', () => { state.textContent = 'live'; });
  source.addEventListener('error', () => { state.textContent = 'not connected: trying again'; });
  source.addEventListener('pieces', (event) => {
    const stays = atEnd();
    const made = document.createElement('template');
    made.innerHTML = event.data;
    for (const piece of [...made.content.children]) {
      const known = document.getElementById(piece.id);
      if (known) known.replaceWith(piece);
      else thread.append(piece);
    }
    document.querySelector('[data-thread-empty]')?.remove();
    if (stays) scrollTo(0, document.documentElement.scrollHeight);
  });
}

function copyButtons(within) {
  if (!navigator.clipboard) return;
  for (const box of within.querySelectorAll('[data-copy]')) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = 'Copy';
    button.addEventListener('click', async () => {
      await navigator.clipboard.writeText(box.querySelector('code').textContent);
      button.textContent = 'Copied';
      setTimeout(() => { button.textContent = 'Copy'; }, 2000);
    });
    box.append(button);
  }
}

copyButtons(document);
if (live?.dataset.live) follow();
if (thread) listen();
