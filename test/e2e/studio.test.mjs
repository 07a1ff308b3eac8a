// Broadcasts from the studio page by WebCodecs and WebTransport.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Cluster, eventually } from './lib/freshet.mjs';
import { Viewer, assertAdvancing, launch, open } from './lib/browser.mjs';

describe('studio', () => {
  let cluster, browser;
  before(async () => {
    cluster = await Cluster.start();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await cluster?.stop();
  });

  test('test pattern to a viewer at the relay: glass to glass', async (t) => {
    const studio = await open(browser, `${cluster.page}/studio/demo#key=${cluster.key}`);
    t.after(() => studio.context().close());
    await studio.getByLabel(/source/i).first().selectOption({ label: 'Test pattern' });
    await studio.getByRole('button', { name: /go live|start/i }).click();
    const viewer = await Viewer.open(browser, `${cluster.page}/r/demo?measure`);
    t.after(() => viewer.close());
    const state = await viewer.playing();
    await viewer.glassToGlass(); // begins the measurement
    assert.equal(state.transport, 'moq');
    // What is published at the relay is known at the origin, and so to the API.
    await eventually('the lobby lists the room', async () => (await (await fetch(`${cluster.page}/v1/rooms?live=1`)).json()).rooms.length === 1);
    assertAdvancing(assert, await viewer.counters(5000), { rate: 1000, duration: 5000 });
    await viewer.hears(440);
    const g2g = await viewer.glassToGlass();
    console.log(`glass to glass over WebTransport through a relay, 640x360: p50 ${g2g.p50} ms, p90 ${g2g.p90} ms, n ${g2g.n}`);
    t.diagnostic(`glass to glass: p50 ${g2g.p50} ms, p90 ${g2g.p90} ms, n ${g2g.n}`);
    assert.ok(g2g.n > 20);
    assert.deepEqual(viewer.page.errors, []);
    assert.deepEqual(studio.errors, []);
  });
});
