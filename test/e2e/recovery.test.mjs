// What a viewer at a relay sees when publishers and nodes are killed.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster, eventually } from './lib/freshet.mjs';
import { Viewer, assertAdvancing, launch } from './lib/browser.mjs';
import { aac, h264, publishRtsp } from './lib/ffmpeg.mjs';

const jump = 1_000_000; // what a restarted publisher's counter begins with

describe('recovery', () => {
  let cluster, browser;
  before(async () => {
    cluster = await Cluster.start();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await cluster?.stop();
  });

  const publish = (offset) => publishRtsp(cluster.rtsp, [...h264(), ...aac], { offset });

  /** Waits until the viewer paints what the publisher with this offset sends. */
  const paints = (viewer, offset, timeout = 25_000) =>
    eventually(`the viewer paints counters from ${offset} on`, async () => {
      const c = await viewer.counter();
      return c !== null && c >= offset && c < offset + jump;
    }, timeout);

  test('the publisher is killed and restarted', async (t) => {
    let publisher = publish(0);
    t.after(() => publisher.kill());
    const viewer = await Viewer.open(browser, `${cluster.page}/r/demo`);
    t.after(() => viewer.close());
    await viewer.playing();
    await publisher.kill();
    await sleep(3_000);
    publisher = publish(jump);
    const begun = Date.now();
    await paints(viewer, jump);
    t.diagnostic(`painting again ${Date.now() - begun} ms after the publisher's restart`);
    assertAdvancing(assert, await viewer.counters(3000), { duration: 3000 });
  });

  test('the origin is killed and restarted', async (t) => {
    let publisher = publish(0);
    t.after(() => publisher.kill());
    const viewer = await Viewer.open(browser, `${cluster.page}/r/demo`);
    t.after(() => viewer.close());
    await viewer.playing();
    await viewer.page.evaluate(() => {
      window.told = ['live'];
      setInterval(() => {
        const { status } = window.freshet.state();
        if (window.told.at(-1) !== status) window.told.push(status);
      }, 50);
    });
    await cluster.origin.kill();
    await publisher.kill();
    await cluster.startOrigin();
    publisher = publish(2 * jump);
    const begun = Date.now();
    await paints(viewer, 2 * jump);
    t.diagnostic(`painting again ${Date.now() - begun} ms after the origin's restart`);
    assertAdvancing(assert, await viewer.counters(3000), { duration: 3000 });
    // The relay still has the last Group of before; having it again is not being live again.
    assert.deepEqual(await viewer.page.evaluate(() => window.told), ['live', 'reconnecting', 'live']);
  });

  test('a page opened during a restart never shows the broadcast before it', async (t) => {
    let publisher = publish(3 * jump);
    t.after(() => publisher.kill());
    // Someone watches all the while, so the relay holds the old broadcast's last Groups.
    const before = await Viewer.open(browser, `${cluster.page}/r/demo`);
    t.after(() => before.close());
    await paints(before, 3 * jump);
    await publisher.kill();
    const pages = [];
    t.after(() => Promise.all(pages.map((v) => v.close())));
    const openOne = async () => {
      const v = await Viewer.open(browser, `${cluster.page}/r/demo`);
      pages.push(v);
      // A picture stays on show until the next, so looking this often misses none that lasts.
      await v.page.evaluate(() => {
        window.seen = [];
        setInterval(() => {
          const counter = window.freshet?.counter() ?? null;
          if (counter !== null && window.seen.at(-1) !== counter) window.seen.push(counter);
        }, 20);
      });
    };
    await openOne(); // nobody is live
    publisher = publish(4 * jump);
    await openOne(); // the new broadcast is about to begin
    await paints(pages[1], 4 * jump);
    await openOne(); // it has begun
    for (const v of pages) {
      await paints(v, 4 * jump);
      const old = await v.page.evaluate((from) => window.seen.filter((c) => c < from), 4 * jump);
      assert.deepEqual(old, []);
    }
  });
});
