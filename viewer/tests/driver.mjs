// Drives a real browser for tests/view: a command per line of stdin as JSON, an answer per line of stdout.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [executablePath, profile] = process.argv.slice(2);
const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const TIMEOUT_MS = 30_000;

const browser = await chromium.launchPersistentContext(profile, {
  executablePath, args: FLAGS, viewport: { width: 1440, height: 900 }, permissions: ["clipboard-read", "clipboard-write"],
});
const page = browser.pages()[0] ?? (await browser.newPage());
page.setDefaultTimeout(TIMEOUT_MS);
const errors = [];
page.on("console", (message) => {
  if (message.type() === "error" || message.type() === "warning") errors.push(message.text());
});
page.on("pageerror", (error) => errors.push(`page error: ${error.message}`));
page.on("dialog", (dialog) => {
  errors.push(`dialog: ${dialog.message()}`);
  void dialog.dismiss();
});

/** `waitForFunction` would evaluate a text in the page, which its content security policy forbids. */
async function waitUntil(until) {
  const end = Date.now() + TIMEOUT_MS;
  while (!(await page.evaluate(until).catch(() => false))) {
    if (Date.now() > end) throw new Error(`not within ${TIMEOUT_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
  return null;
}

const commands = {
  goto: ({ url }) => page.goto(url).then(() => null),
  hash: () => page.evaluate(() => location.hash),
  text: ({ at }) => page.locator(at).first().innerText(),
  texts: ({ at }) => page.locator(at).allInnerTexts(),
  count: ({ at }) => page.locator(at).count(),
  click: ({ at }) => page.locator(at).first().click(),
  press: ({ key }) => page.keyboard.press(key),
  fill: ({ at, value }) => page.locator(at).first().fill(value),
  select: ({ at, value }) => page.locator(at).first().selectOption(value).then(() => null),
  wait: ({ until }) => waitUntil(until),
  evaluate: ({ script }) => page.evaluate(script),
  size: ({ width, height }) => page.setViewportSize({ width, height }),
  theme: ({ theme }) => page.emulateMedia({ colorScheme: theme }),
  screenshot: ({ path }) => page.screenshot({ path }).then(() => null),
  errors: () => errors.splice(0),
};

console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...given } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ value: (await commands[command](given)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: `${command} ${JSON.stringify(given)}: ${error.message.split("\n")[0]}` }));
  }
}
await browser.close();
