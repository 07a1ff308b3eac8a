// Broadcasts that Chromium, and libdatachannel as OBS uses it, publish by WHIP.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Cluster, eventually } from './lib/freshet.mjs';
import { Viewer, assertAdvancing, launch } from './lib/browser.mjs';
import { ObsPublisher, cleanup, publishFromChromium } from './lib/whip.mjs';
import { tone } from './lib/ffmpeg.mjs';

describe('WHIP', () => {
  let cluster, browser;
  before(async () => {
    cluster = await Cluster.start();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await cluster?.stop();
    cleanup();
  });

  const publish = (codec, options = {}) =>
    publishFromChromium(browser, { pageUrl: `${cluster.page}/config.json`, whip: `${cluster.whip}?takeover=1`, key: cluster.key, codec, ...options });

  test('a missing or wrong stream key is 401', async () => {
    for (const headers of [{}, { Authorization: 'Bearer wrong' }]) {
      const r = await fetch(cluster.whip, { method: 'POST', body: 'v=0\r\n', headers: { 'Content-Type': 'application/sdp', ...headers } });
      assert.equal(r.status, 401);
    }
  });

  for (const [codec, mime] of [['video/H264', /^avc1\./], ['video/VP8', /^vp8/], ['video/VP9', /^vp09/], ['video/AV1', /^av01\./]]) {
    test(`Chromium publishes ${codec}: painted and heard`, async (t) => {
      const publisher = await publish(codec);
      t.after(() => publisher.page.context().close());
      assert.equal(publisher.status, 201, publisher.text);
      const viewer = await Viewer.open(browser, `${cluster.page}/r/demo`);
      t.after(() => viewer.close());
      const state = await viewer.playing();
      assert.equal(state.transport, 'moq');
      assert.match(state.codec, mime);
      assertAdvancing(assert, await viewer.counters(4000), { rate: 1000, duration: 4000 });
      await viewer.hears(tone);
    });
  }

  test('as OBS does: no candidates in the offer, no reaction to PLI', async (t) => {
    const publisher = await ObsPublisher.start({ whip: cluster.whip, key: cluster.key, takeover: true });
    t.after(() => publisher.abandon());
    assert.equal(publisher.status, 201, publisher.answer);
    assert.doesNotMatch(publisher.offer, /a=candidate/);
    assert.match(publisher.answer, /a=candidate/);
    assert.match(publisher.location, /^https?:\/\//, 'OBS takes a relative Location for an absolute path');
    const viewer = await Viewer.open(browser, `${cluster.page}/r/demo`);
    t.after(() => viewer.close());
    const state = await viewer.playing();
    assert.match(state.codec, /^avc1\./);
    assertAdvancing(assert, await viewer.counters(4000), { duration: 4000 });
    await viewer.hears(tone);

    const second = await ObsPublisher.start({ whip: cluster.whip, key: cluster.key });
    t.after(() => second.abandon());
    assert.equal(second.status, 409, 'the room has a publisher that is not silent');

    assert.equal(await publisher.stop({ key: cluster.key }), 200, 'OBS expects 200 to its DELETE');
    await eventually('the broadcast ended', async () => {
      const { rooms } = await (await fetch(`${cluster.page}/v1/rooms?live=1`)).json();
      return rooms.length === 0;
    });
  });
});
