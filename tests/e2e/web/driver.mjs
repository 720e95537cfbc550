// A page in Debian's Chromium, used through JSON lines: {"call": "click", "arguments": ["button"]} on stdin,
// {"value": …} or {"error": "…"} on stdout. browser.py is its other side.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const PATIENCE = 20_000;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--no-first-run'],
});

let context;
let page;
let seen;

const calls = {
  // A fresh page; what it does that an honest page would not is kept in `seen`.
  async open(url, { width = 1280, height = 900, dark = false } = {}) {
    await context?.close();
    seen = { dialogs: [], foreign: [], violations: [], errors: [] };
    context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', acceptDownloads: true });
    context.setDefaultTimeout(PATIENCE);
    page = await context.newPage();
    page.on('dialog', (dialog) => { seen.dialogs.push(dialog.message()); void dialog.dismiss(); });
    page.on('request', (request) => { if (!request.url().startsWith(url) && !request.url().startsWith(`blob:${url}`)) seen.foreign.push(request.url()); });
    page.on('pageerror', (error) => seen.errors.push(String(error)));
    page.on('console', (message) => { if (/Content Security Policy|Trusted ?Type/i.test(message.text())) seen.violations.push(message.text()); });
    await page.goto(url);
  },
  seen: () => seen,
  goto: (url) => page.goto(url).then(() => null),
  reload: () => page.reload().then(() => null),
  click: (selector) => page.click(selector),
  fill: (selector, text) => page.fill(selector, text),
  select: (selector, value) => page.selectOption(selector, value).then(() => null),
  press: (key) => page.keyboard.press(key),
  value: (selector) => page.inputValue(selector),
  text: (selector) => page.textContent(selector),
  // Waits until the element's text matches the regular expression.
  async wait_text(selector, pattern) {
    await page.locator(selector, { hasText: new RegExp(pattern) }).first().waitFor();
  },
  wait: (selector) => page.waitForSelector(selector).then(() => null),
  wait_gone: (selector) => page.waitForSelector(selector, { state: 'detached' }).then(() => null),
  count: (selector) => page.locator(selector).count(),
  run: (expression) => page.evaluate(expression),
  resize: (width, height) => page.setViewportSize({ width, height }),
  scheme: (name) => page.emulateMedia({ colorScheme: name }),
  async download(selector) {
    const [download] = await Promise.all([page.waitForEvent('download'), page.click(selector)]);
    return { name: download.suggestedFilename(), text: readFileSync(await download.path(), 'utf8') };
  },
  cookies: () => context.cookies(),
  screenshot: (path) => page.screenshot({ path }).then(() => null),
  // What axe-core finds that keeps people out.
  async axe() {
    await page.evaluate(AXE);
    const { violations } = await page.evaluate('axe.run(document, {resultTypes: ["violations"]})');
    return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join('; ')}`);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { call, arguments: given } = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await calls[call](...given)) ?? null };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
