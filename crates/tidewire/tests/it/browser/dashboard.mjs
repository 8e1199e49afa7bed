// A person at the dashboard. Arguments: the folder with node_modules, the server's URL, a tenant's key, the operator's.
// Wishes go to standard output, a line each; the other side answers on standard input.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import {createRequire} from 'node:module';
import readline from 'node:readline';

const [folder, base, key, operatorsKey] = process.argv.slice(2);
const require = createRequire(folder + '/package.json');
const {chromium} = require('playwright-core');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const shots = process.env.TIDEWIRE_TEST_SHOTS;
if (shots) fs.mkdirSync(shots, {recursive: true});

const answers = readline.createInterface({input: process.stdin})[Symbol.asyncIterator]();
async function wish(text) {
  console.log(text);
  return (await answers.next()).value;
}

const LARGEST = 100_000;
const browser = await chromium.launch({executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox']});
/** What a page must not do: throw, break the policy, or ask anybody else. */
const wrong = [];

async function open(options = {}) {
  const context = await browser.newContext({viewport: {width: 1280, height: 860}, ...options});
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.on('pageerror', (error) => wrong.push(`an error on ${page.url()}: ${error.message}`));
  page.on('console', (line) => {
    if (/content security policy/i.test(line.text())) wrong.push(line.text());
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.protocol !== 'data:' && url.origin !== base) wrong.push(`a request to ${url}`);
  });
  return page;
}

async function signIn(page, key) {
  await page.goto(base + '/ui/sign-in');
  await page.getByLabel('API key').fill(key);
  await page.getByRole('button', {name: 'Sign in'}).click();
  await page.waitForURL(base + '/');
}

/** Nothing serious is wrong with the page, and it is no wider than the window. */
async function judge(page, name) {
  await page.evaluate(axe);
  const {violations} = await page.evaluate(() => globalThis.axe.run(document, {resultTypes: ['violations']}));
  const serious = violations.filter(({impact}) => impact === 'serious' || impact === 'critical');
  const told = serious.map(({id, nodes}) => `${id}: ${nodes.map(({target}) => target.join(' ')).join(', ')}`);
  assert.deepEqual(told, [], name);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(over <= 0, `${name} is ${over} pixels too wide`);
  if (shots) await page.screenshot({path: `${shots}/${name}.png`});
}

const known = JSON.parse(await wish('what is there'));

// A wrong key is told so, the right one leads back to where somebody wanted to be.
const page = await open();
await page.goto(base + '/ui/jobs?status=failed');
assert.match(page.url(), /\/ui\/sign-in\?back=/);
await page.getByLabel('API key').fill('tw_wrong');
await page.getByRole('button', {name: 'Sign in'}).click();
await page.getByRole('alert').getByText('not valid').waitFor();
await judge(page, 'sign-in');
await page.getByLabel('API key').fill(key);
await page.getByRole('button', {name: 'Sign in'}).click();
await page.waitForURL(base + '/ui/jobs?status=failed');

// The first page is small, with all that it needs.
{
  const first = await open();
  await signIn(first, key);
  const fresh = await open({storageState: await first.context().storageState()});
  await fresh.goto(base + '/', {waitUntil: 'load'});
  const weight = await fresh.evaluate(() => {
    const parts = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
    return parts.filter(({name}) => !name.includes('/ui/live/')).reduce((sum, {decodedBodySize}) => sum + decodedBodySize, 0);
  });
  assert.ok(weight > 10_000 && weight < LARGEST, `the first page weighs ${weight} bytes`);
  console.error(`the first page weighs ${weight} bytes`);
  await first.context().close();
  await fresh.context().close();
}

// Every page, light and dark, and on a phone.
const pages = {
  overview: '/',
  log: '/ui/log',
  event: `/ui/log/${known.event}`,
  jobs: '/ui/jobs',
  job: `/ui/jobs/${known.job}`,
  triggers: '/ui/triggers',
  trigger: `/ui/triggers/${known.trigger}`,
  executions: '/ui/executions',
  execution: `/ui/executions/${known.execution}`,
  threads: '/ui/threads',
  thread: '/ui/threads/support',
  sites: '/ui/sites',
  fleet: '/ui/fleet',
  archives: '/ui/archives',
  archive: `/ui/archives/${known.archive}`,
  'not-found': '/ui/jobs/nobody',
};
/** Looks at pages in the ways in which people look. */
async function lookAt(pages, storageState) {
  for (const [kind, options] of Object.entries({
    light: {colorScheme: 'light'},
    dark: {colorScheme: 'dark'},
    phone: {colorScheme: 'light', viewport: {width: 375, height: 760}},
  })) {
    const eyes = await open({...options, storageState});
    for (const [name, path] of Object.entries(pages)) {
      await eyes.goto(base + path, {waitUntil: 'load'});
      await judge(eyes, `${name}-${kind}`);
    }
    await eyes.context().close();
  }
}
await lookAt(pages, await page.context().storageState());

// By keyboard: past the way around, and along it.
await page.goto(base + '/');
await page.keyboard.press('Tab');
assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
await page.keyboard.press('Enter');
assert.equal(await page.evaluate(() => document.activeElement.id), 'main');

// Light or dark is a choice that stays.
await page.getByRole('button', {name: /colours: change to dark/}).click();
await page.locator('html[data-theme="dark"]').waitFor();
await page.goto(base + '/ui/log');
assert.equal(await page.locator('html').getAttribute('data-theme'), 'dark');

// The log is narrowed.
await page.getByLabel('Type').fill('order.paid');
await page.getByRole('button', {name: 'Filter'}).click();
await page.waitForURL(/type=order.paid/);
const kinds = await page.locator('tbody tr td:nth-child(2)').allTextContents();
assert.ok(kinds.length > 5 && kinds.every((kind) => kind === 'order.paid'), String(kinds));
await page.getByRole('link', {name: 'Clear'}).click();
await page.waitForURL(base + '/ui/log');

// What failed is retried, and the page says by itself that it is done.
await page.goto(base + '/ui/jobs');
await page.getByLabel('Status').selectOption('failed');
await page.getByRole('button', {name: 'Filter'}).click();
await page.getByRole('link', {name: known.job}).click();
await page.getByRole('button', {name: 'Retry'}).click();
await page.getByText('The job is back in its queue.').waitFor();
await page.locator('.head-line .badge', {hasText: 'done'}).waitFor();

// A trigger is tested; its delivery is looked into.
await page.goto(base + `/ui/triggers/${known.trigger}`);
await page.getByLabel(/Payload/).fill('{"month": "2026-10"}');
await page.getByRole('button', {name: 'Fire a test'}).click();
await page.waitForURL(/\/ui\/executions\//);
await page.locator('.head-line .badge', {hasText: 'success'}).waitFor();
await page.getByText('"month": "2026-10"').waitFor();
assert.match(await page.locator('.pair').textContent(), /webhook-signature/);
await page.goto(base + `/ui/triggers/${known.tested}`);
await page.getByRole('button', {name: 'Deactivate'}).click();
await page.getByText('The trigger is inactive').waitFor();

// A thread goes on as it is written, also over a restart of the server.
await page.goto(base + '/ui/threads/support');
await page.locator('[data-thread-state]', {hasText: /^live$/}).waitFor();
const words = page.locator('.transcript .words').last();
await wish('say more');
await page.getByText('It is on its way: it comes tomorrow.').waitFor();
await wish('restart');
await wish('say more');
await page.getByText('It is on its way: it comes tomorrow. it comes tomorrow.').waitFor();
await wish('end the turn');
await page.locator('.transcript .line', {hasText: 'completed'}).waitFor();
assert.equal((await words.textContent()).trim(), 'It is on its way: it comes tomorrow. it comes tomorrow.');
assert.equal(await page.locator('.transcript article').count(), 4);

// The operator has a site synced, and sees it go on.
const operator = await open();
await signIn(operator, operatorsKey);
await operator.goto(base + `/ui/sites/${known.site}`);
await operator.getByText('It was never synced.').first().waitFor();
const orders = operator.locator('section.panel', {has: operator.getByRole('heading', {name: 'orders'})});
await orders.getByRole('button', {name: 'Sync now'}).click();
await operator.getByText('The sync is queued').waitFor();
await orders.getByText('60 read').waitFor();
await orders.getByText('completed').waitFor();

// Two of three agents drift, one of which refuses what it is offered. The older version is brought back.
await operator.goto(base + '/ui/fleet');
const drift = (agent) => operator.locator(`tr[data-row="${agent}"] td:nth-child(2)`);
await drift('edge-1').getByText('drifts').waitFor();
await drift('edge-2').getByText('refuses it').waitFor();
await operator.getByText('`https` wants a certificate').waitFor();
await lookAt({'sites-with': '/ui/sites', 'site': `/ui/sites/${known.site}`, 'fleet-with': '/ui/fleet'}, await operator.context().storageState());
await operator.getByRole('button', {name: 'Bring back version 1'}).click();
await operator.getByText('The older configuration is offered again').waitFor();
await operator.locator('tr[data-row="version-3"]').getByText('as 1').waitFor();
await drift('edge-1').locator('..').getByText('3', {exact: true}).waitFor();

// Without scripts it is older, and works.
const plain = await open({javaScriptEnabled: false});
await signIn(plain, key);
await plain.goto(base + '/ui/jobs?queue=mail');
await plain.locator('tbody a.id').first().click();
await plain.getByRole('button', {name: 'Cancel'}).click();
await plain.getByText('The job is cancelled.').waitFor();

// Signed out is out.
await page.getByRole('button', {name: 'Sign out'}).click();
await page.waitForURL(base + '/ui/sign-in');
await page.goto(base + '/ui/log');
assert.match(page.url(), /\/ui\/sign-in/);

assert.deepEqual(wrong, []);
await browser.close();
answers.return?.();
process.exit(0);
