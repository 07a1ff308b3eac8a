// What a relay costs its upstream.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Cluster, eventually } from './lib/freshet.mjs';
import { Viewer, launch } from './lib/browser.mjs';
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
    await eventually('the tracks are let go', async () => (await cluster.relay.metric('freshet_pulled_tracks')) === 0, 40_000);
  });
});
