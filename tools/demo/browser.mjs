// A page in Debian's Chromium that uses fetch and sendBeacon: node browser.mjs PAGE_URL COLLECTOR KEY PREFIX
// Prints the event ids the page sent as a JSON array, the one it sends when it is left included.
import {chromium} from 'playwright-core';

const [page, collector, key, prefix] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
});
try {
  const tab = await browser.newPage();
  const errors = [];
  tab.on('pageerror', (error) => errors.push(String(error)));
  await tab.goto(`${page}?${new URLSearchParams({collector, key, prefix})}`);
  const result = await tab.evaluate(() => window.sendEverything());
  await tab.goto('about:blank');           // leaves the page: its pagehide beacon goes out
  await new Promise((resolve) => setTimeout(resolve, 500));
  if (errors.length || result.failures.length) {
    console.error([...errors, ...result.failures].join('\n'));
    process.exitCode = 1;
  }
  console.log(JSON.stringify(result.ids));
} finally {
  await browser.close();
}
