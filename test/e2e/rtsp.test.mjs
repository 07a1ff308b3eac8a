// Broadcasts that ffmpeg publishes by RTSP, watched at a relay.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Child, Cluster, eventually, tool } from './lib/freshet.mjs';
import { Viewer, assertAdvancing, launch } from './lib/browser.mjs';
import { aac, assertConsecutive, decodeCounters, h264, hevc, opus, publishRtsp, testSource, tone } from './lib/ffmpeg.mjs';

describe('RTSP', () => {
  let cluster, browser, dir;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'freshet-e2e-clips-'));
    cluster = await Cluster.start();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await cluster?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const subscribeFmp4 = () => tool([
    'subscribe', `moqt://${cluster.relay.ready.quic}`, '--room', 'demo', '--format', 'fmp4',
    '--tls-fingerprint', cluster.relay.ready.certificate_sha256, '--token', cluster.viewerToken,
  ], { rawStdout: true });

  before(async () => {
    const response = await fetch(`${cluster.page}/v1/rooms/demo/tokens`, { method: 'POST', body: '{}' });
    assert.equal(response.status, 200);
    cluster.viewerToken = (await response.json()).token;
  });

  test('a wrong stream key is refused', async () => {
    const child = publishRtsp(cluster.rtsp.replace(cluster.key, 'wrong'), [...h264(), ...aac]);
    const { code } = await child.exited;
    assert.notEqual(code, 0);
    assert.match(child.output, /401/);
  });

  test('H.264 and AAC: painted and heard', async (t) => {
    const publisher = publishRtsp(cluster.rtsp, [...h264(), ...aac]);
    t.after(() => publisher.kill());
    const viewer = await Viewer.open(browser, `${cluster.page}/r/demo`);
    t.after(() => viewer.close());
    const state = await viewer.playing();
    assert.equal(state.transport, 'moq');
    assert.match(state.codec, /^avc1\./);
    assert.equal(state.width, 640);
    assertAdvancing(assert, await viewer.counters(4000), { duration: 4000 });
    await viewer.hears(tone);
    assert.deepEqual(viewer.page.errors, []);
  });

  test('H.264 and AAC: the same room in hls.js', async (t) => {
    const publisher = publishRtsp(cluster.rtsp, [...h264(), ...aac]);
    t.after(() => publisher.kill());
    const viewer = await Viewer.open(browser, `${cluster.page}/r/demo?transport=hls`);
    t.after(() => viewer.close());
    const state = await viewer.playing(40_000);
    assert.equal(state.transport, 'hls');
    // The broadcast has just begun: hls.js finds its distance to the live edge in the first seconds.
    await sleep(4000);
    assertAdvancing(assert, await viewer.counters(5000), { duration: 5000 });
  });

  test('HEVC and Opus: read back by ffmpeg from MoQ and from LL-HLS', async (t) => {
    const publisher = publishRtsp(cluster.rtsp, [...hevc(), ...opus]);
    t.after(() => publisher.kill());
    await eventually('the room has H.265', async () => (await (await fetch(`${cluster.page}/v1/rooms/demo`)).json()).codecs.includes('H265'));
    const subscriber = subscribeFmp4();
    t.after(() => subscriber.kill());
    assertConsecutive(assert, await decodeCounters('-', { stdin: subscriber.process.stdout, count: 60 }));
    // ffmpeg's demuxer wants whole segments; the first is there after 4 to 6 s.
    const headers = { Authorization: `Bearer ${cluster.viewerToken}` };
    await eventually('a segment is listed', async () => {
      const r = await fetch(cluster.hls.replace('index.m3u8', 'p/open/video0.m3u8'), { headers });
      const text = await r.text();
      if (!text.includes('#EXTINF')) throw new Error(`${r.status} ${text}`);
      return true;
    }, 30_000);
    assertConsecutive(assert, await decodeCounters(cluster.hls, { count: 60, args: ['-headers', `Authorization: ${headers.Authorization}\r\n`] }));
  });

  test('AV1 and Opus by our own RTSP client: painted and heard', async (t) => {
    // Debian 12's ffmpeg cannot send AV1 by RTP: it encodes, and freshet sends.
    const clip = join(dir, 'clip.mkv');
    const encoder = new Child('ffmpeg', 'ffmpeg', [...testSource({ realtime: false }), '-t', '20', ...h264(), ...opus, clip]);
    assert.equal((await encoder.exited).code, 0, encoder.output);
    const publisher = tool(['publish', '--rtsp', cluster.rtsp, '--video', 'av1', clip]);
    t.after(() => publisher.kill());
    const viewer = await Viewer.open(browser, `${cluster.page}/r/demo`);
    t.after(() => viewer.close());
    const state = await viewer.playing(30_000);
    assert.match(state.codec, /^av01\./);
    assertAdvancing(assert, await viewer.counters(4000), { duration: 4000 });
    await viewer.hears(tone);
  });
});
