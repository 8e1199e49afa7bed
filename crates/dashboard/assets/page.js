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

/**
 * An event source that outlives what a browser gives up on, such as a proxy's error while the server
 * is away. Once the session is over, the page leads to the sign-in.
 */
function listen(path, heard, tell = () => {}) {
  let last = '';
  const open = () => {
    const source = new EventSource(last ? `${path}&last=${last}` : path);
    for (const [name, hear] of Object.entries(heard)) {
      source.addEventListener(name, (event) => {
        last = event.lastEventId;
        hear(event);
      });
    }
    source.addEventListener('open', () => tell(true));
    source.addEventListener('error', () => {
      tell(false);
      if (source.readyState === EventSource.CLOSED) setTimeout(again, 3000);
    });
  };
  const again = async () => {
    const answer = await fetch(location.href, {redirect: 'manual'}).catch(() => null);
    if (answer?.type === 'opaqueredirect') location.reload();
    else if (answer?.ok) open();
    else setTimeout(again, 3000);
  };
  open();
}

function followPage() {
  let wanted = false;
  let lost = false;
  const changed = () => {
    wanted = document.hidden;
    if (!wanted) refresh();
  };
  listen('/ui/live/changes?of=' + live.dataset.live, {changed}, (connected) => {
    // It came back: something may have happened meanwhile.
    if (connected && lost) changed();
    lost = !connected;
  });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && wanted) changed();
  });
}

/** Puts in the pieces of a transcript as they are written. */
function followThread() {
  const state = document.querySelector('[data-thread-state]');
  const pieces = (event) => {
    const isAtEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
    const made = document.createElement('template');
    made.innerHTML = event.data;
    for (const piece of [...made.content.children]) {
      const known = document.getElementById(piece.id);
      if (known) known.replaceWith(piece);
      else thread.append(piece);
    }
    document.querySelector('[data-thread-empty]')?.remove();
    if (isAtEnd) scrollTo(0, document.documentElement.scrollHeight);
  };
  listen(thread.dataset.thread, {pieces}, (connected) => {
    state.textContent = connected ? 'live' : 'not connected: trying again';
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
// On a phone the way around is wider than the screen.
const section = document.querySelector('.around [aria-current]');
section?.closest('nav').scrollTo(section.offsetLeft - 16, 0);
if (live?.dataset.live) followPage();
if (thread) followThread();
