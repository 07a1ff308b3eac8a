// What a relay costs its upstream, and when it forgets who left.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Cluster, eventually } from './lib/freshet.mjs';
import { Viewer, assertAdvancing, launch, open } from './lib/browser.mjs';
import { aac, h264, publishRtsp } from './lib/ffmpeg.mjs';

describe('relay', () => {
  let cluster, browser;
  before(async () => {
    cluster = await Cluster.start();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await cluster?.stop();
  });

  test('a track is pulled once for three viewers, and let go after the last', async (t) => {
    const publisher = publishRtsp(cluster.rtsp, [...h264(), ...aac]);
    t.after(() => publisher.kill());
    const viewers = [];
    t.after(() => Promise.all(viewers.map((v) => v.close().catch(() => {}))));
    for (let i = 0; i < 3; i++) {
      const v = await Viewer.open(browser, `${cluster.page}/r/demo`);
      viewers.push(v);
      await v.playing();
    }
    assert.equal(await cluster.relay.metric('freshet_sessions'), 3);
    assert.equal(await cluster.relay.metric('freshet_pulled_tracks'), 3, 'catalog, video and audio');
    for (const v of viewers.splice(0)) await v.close();
    const closed = Date.now();
    // Far sooner than the 15 s after which a silent peer is given up: a page that is left ends its session.
    await eventually('the sessions are over', async () => (await cluster.relay.metric('freshet_sessions')) === 0, 3_000);
    t.diagnostic(`the last session was over ${Date.now() - closed} ms after its page`);
    await eventually('the tracks are let go', async () => (await cluster.relay.metric('freshet_pulled_tracks')) === 0, 10_000);
    t.diagnostic(`the tracks were let go after ${Date.now() - closed} ms`);
  });

  test('a viewer who goes on to another page is gone, and back when they come back', async (t) => {
    const publisher = publishRtsp(cluster.rtsp, [...h264(), ...aac]);
    t.after(() => publisher.kill());
    // Browsers keep a page that was left for the way back; Playwright tells them not to unless told otherwise.
    const keeping = await launch({ ignoreDefaultArgs: ['--disable-back-forward-cache'] });
    t.after(() => keeping.close());
    const viewer = await Viewer.open(keeping, `${cluster.page}/r/demo`);
    await viewer.playing();
    await viewer.page.evaluate(() => addEventListener('pageshow', (event) => (window.kept = event.persisted)));
    await viewer.page.goto('about:blank');
    await eventually('the session is over', async () => (await cluster.relay.metric('freshet_sessions')) === 0, 3_000);
    await viewer.page.goBack({ waitUntil: 'commit' });
    assert.equal(await viewer.page.evaluate(() => window.kept), true, 'the page was kept');
    assertAdvancing(assert, await viewer.counters(3000), { duration: 3000 });
    await viewer.hears(440);
    await viewer.close();
    await eventually('the session is over again', async () => (await cluster.relay.metric('freshet_sessions')) === 0, 3_000);
  });

  test('a streamer who leaves the studio is gone at once', async (t) => {
    const studio = await open(browser, `${cluster.page}/studio/demo#key=${cluster.key}`);
    t.after(() => studio.context().close());
    await studio.getByLabel(/source/i).first().selectOption({ label: 'Test pattern' });
    await studio.getByRole('button', { name: /go live/i }).click();
    await studio.getByText(/^live \d/i).waitFor({ timeout: 20_000 });
    assert.equal(await cluster.relay.metric('freshet_sessions'), 1);
    const closed = Date.now();
    await studio.close();
    await eventually('the session is over', async () => (await cluster.relay.metric('freshet_sessions')) === 0, 3_000);
    t.diagnostic(`the session was over ${Date.now() - closed} ms after the page was closed`);
  });
});
