// A headless Chromium that watches or publishes.
import { chromium } from 'playwright-core';
import { eventually } from './freshet.mjs';

const flags = [
  '--no-sandbox', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--autoplay-policy=no-user-gesture-required', '--allow-loopback-in-peer-connection',
  '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream=fps=30',
];

export function launch(options = {}) {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: flags, ...options });
}

/** Opens a page and keeps what it says on its console. */
export async function open(browser, url) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  page.messages = [];
  page.errors = [];
  page.on('console', (m) => {
    page.messages.push(`${m.type()}: ${m.text()}`);
    if (m.type() === 'error') page.errors.push(m.text());
  });
  page.on('pageerror', (err) => page.errors.push(String(err)));
  await page.goto(url);
  return page;
}

/** A viewer's page, whose window.freshet tells what is painted and heard. */
export class Viewer {
  static async open(browser, url) {
    const v = new Viewer();
    v.page = await open(browser, url);
    return v;
  }

  state() {
    return this.page.evaluate(() => window.freshet?.state() ?? null);
  }

  counter() {
    return this.page.evaluate(() => window.freshet?.counter() ?? null);
  }

  glassToGlass() {
    return this.page.evaluate(() => window.freshet.glassToGlass());
  }

  /** Waits for the first picture; returns the player's state then. */
  async playing(timeout = 20_000) {
    try {
      return await eventually('the viewer plays', async () => {
        const s = await this.state();
        return s && s.paintedFrames > 0 ? s : null;
      }, timeout);
    } catch (err) {
      throw new Error(`${err.message}\nstate ${JSON.stringify(await this.state())}\nconsole\n${this.page.messages.slice(-30).join('\n')}`);
    }
  }

  /** Samples the painted counter every 100 ms; nulls are left out. */
  async counters(duration) {
    return this.page.evaluate(async (ms) => {
      const seen = [];
      const end = performance.now() + ms;
      while (performance.now() < end) {
        const c = window.freshet.counter();
        if (c !== null) seen.push(c);
        await new Promise((r) => setTimeout(r, 100));
      }
      return seen;
    }, duration);
  }

  /** Waits until a tone of this frequency is heard. */
  async hears(hz, timeout = 15_000) {
    return eventually(`a tone of ${hz} Hz is heard`, async () => {
      const s = await this.state();
      if (s.audioLevel > 0.005 && Math.abs(s.audioFrequencyHz - hz) < hz * 0.05) return s;
      throw new Error(`level ${s.audioLevel}, frequency ${s.audioFrequencyHz}`);
    }, timeout);
  }

  /**
   * Closes the page as a viewer does. Its context goes with the browser: closed right away it would tear the page from
   * the network in the middle of its farewell.
   */
  close() {
    return this.page.close();
  }
}

/** Fails unless the counters rise, at about `rate` a second. */
export function assertAdvancing(assert, counters, { rate = 30, duration }) {
  assert.ok(counters.length > 5, `the counter was read only ${counters.length} times: ${counters}`);
  for (let i = 1; i < counters.length; i++) assert.ok(counters[i] >= counters[i - 1], `the counter went back: ${counters}`);
  const advanced = counters.at(-1) - counters[0];
  const expected = (rate * duration) / 1000;
  assert.ok(advanced > expected * 0.6 && advanced < expected * 1.5, `the counter advanced by ${advanced} where about ${expected} were due: ${counters}`);
}
