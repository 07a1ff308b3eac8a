// Every page in every state that a visitor meets: fit for assistive technology
// by axe-core's rules, on wide and narrow screens, with a quiet console. What
// they look like is kept in out/.
import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Cluster } from './lib/freshet.mjs';
import { Viewer, launch, open } from './lib/browser.mjs';
import { aac, h264, publishRtsp } from './lib/ffmpeg.mjs';

const out = join(import.meta.dirname, 'out');
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const screens = { wide: { width: 1280, height: 800 }, narrow: { width: 390, height: 844 } };

/** Fails for what axe-core finds wrong, and for a page wider than its screen. */
async function inspect(page, name) {
  await page.evaluate(axe);
  for (const [screen, size] of Object.entries(screens)) {
    await page.setViewportSize(size);
    const { found, passes } = await page.evaluate(async () => {
      const { violations, passes } = await window.axe.run(document);
      const told = (v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => `${n.html} ${n.failureSummary}`).join('; ')}`;
      return { found: violations.map(told), passes: passes.length };
    });
    await page.screenshot({ path: join(out, `${name}-${screen}.png`), fullPage: true });
    assert.deepEqual(found, [], `${name}, ${screen}`);
    assert.ok(passes > 10, `only ${passes} rules looked at ${name}`);
    const overhang = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(overhang, 0, `${name}, ${screen}: pixels beyond the edge`);
  }
}

describe('pages', () => {
  let cluster, browser;
  before(async () => {
    await mkdir(out, { recursive: true });
    cluster = await Cluster.start();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await cluster?.stop();
  });

  /** Opens an address, waits until it shows what is given, and looks at it. */
  const look = async (t, name, path, shown) => {
    const page = await open(browser, cluster.page + path);
    t.after(() => page.close());
    await shown(page);
    await inspect(page, name);
    return page;
  };

  test('nobody is live', async (t) => {
    const pages = [
      await look(t, 'lobby-empty', '/', (page) => page.getByText('Nobody is live').waitFor()),
      await look(t, 'player-offline', '/r/demo', (page) => page.getByText(/offline/i).first().waitFor()),
      await look(t, 'studio-idle', '/studio/demo', (page) => page.getByRole('button', { name: 'Go live' }).waitFor()),
      await look(t, 'dashboard-empty', '/admin', (page) => page.getByRole('table').waitFor()),
      await look(t, 'no-such-page', '/r/demo/nothing', (page) => page.getByText('No such page').waitFor()),
    ];
    for (const page of pages) assert.deepEqual(page.errors, [], page.url());
  });

  test('a room that does not exist', async (t) => {
    const page = await look(t, 'player-missing', '/r/nowhere', (page) => page.getByText(/there is no room/i).waitFor());
    // The page learns of it from a refused token, and a browser may print what is refused.
    for (const error of page.errors) assert.match(error, /status of 404/);
  });

  test('a room is live', async (t) => {
    const publisher = publishRtsp(cluster.rtsp, [...h264(), ...aac]);
    t.after(() => publisher.kill());
    const viewer = await Viewer.open(browser, `${cluster.page}/r/demo`);
    t.after(() => viewer.close());
    await viewer.playing();
    await inspect(viewer.page, 'player-live');
    await viewer.page.setViewportSize(screens.wide);
    await viewer.page.keyboard.press('Tab'); // brings the controls back
    await viewer.page.getByRole('button', { name: /statistics/i }).click();
    await inspect(viewer.page, 'player-statistics');
    const pages = [
      viewer.page,
      await look(t, 'lobby-live', '/', (page) => page.getByRole('link', { name: /demo/i }).first().waitFor()),
      await look(t, 'dashboard-live', '/admin', (page) => page.getByText(/^live for/i).waitFor()),
    ];
    for (const page of pages) assert.deepEqual(page.errors, [], page.url());
  });

  test('the studio is live', async (t) => {
    const studio = await open(browser, `${cluster.page}/studio/demo#key=${cluster.key}`);
    t.after(() => studio.close());
    await studio.getByLabel(/source/i).first().selectOption({ label: 'Test pattern' });
    await studio.getByRole('button', { name: /go live/i }).click();
    await studio.getByText('Encoder').waitFor();
    await inspect(studio, 'studio-live');
    assert.deepEqual(studio.errors, []);
  });
});
