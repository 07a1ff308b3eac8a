// hls.js chooses a rendition by what the path carries.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Child, Node, eventually } from './lib/freshet.mjs';
import { launch } from './lib/browser.mjs';
import { aac, testSource } from './lib/ffmpeg.mjs';
import { NarrowPath } from './lib/narrow.mjs';
import { Pages, inChromium } from './lib/players.mjs';
import { stalls, stepsBack } from './lib/painted.mjs';

const rate = 30;
const wide = 6_000_000; // bit/s
const narrow = 700_000;
// What it remembers of the path, in seconds: by default longer than a buffer of low latency lasts.
const hlsConfig = { abrEwmaFastLive: 1, abrEwmaSlowLive: 3 };
const layers = [{ height: 360, bits: 1_200_000 }, { height: 180, bits: 350_000 }];

describe('a broadcast of two sizes', () => {
  let node, publisher, browser, pages, path;
  before(async () => {
    node = await Node.start('freshet up', [
      '--quic-addr', '127.0.0.1:0', '--https-addr', '127.0.0.1:0', '--http-addr', '127.0.0.1:0', '--webrtc-addr', '127.0.0.1:0', '--rtsp-addr', '127.0.0.1:0',
    ]);
    pages = await Pages.start();
    browser = await launch();
    path = await NarrowPath.open(node.ready.http);
    path.bitsPerSecond = wide;
    const video = layers.flatMap(({ height, bits }, i) => ['-map', '0:v', `-filter:v:${i}`, `scale=-2:${height}`, `-b:v:${i}`, `${bits}`, `-maxrate:v:${i}`, `${bits}`, `-bufsize:v:${i}`, `${bits}`]);
    publisher = new Child('ffmpeg', 'ffmpeg', [
      ...testSource({ size: [640, 360], rate, clock: true }), ...video, '-map', '1:a',
      '-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p', '-g', `${2 * rate}`, '-sc_threshold', '0', ...aac,
      '-f', 'rtsp', '-rtsp_transport', 'tcp', `rtsp://demo:${node.ready.stream_key}@${node.ready.rtsp}/demo`,
    ]);
    await eventually('both sizes are offered', async () => {
      const text = await (await fetch(`http://${node.ready.http}/hls/demo/index.m3u8`)).text();
      if (layers.every(({ height }) => text.includes(`x${height}`))) return text;
      throw new Error(text);
    }, 30_000);
  });
  after(async () => {
    await browser?.close();
    await publisher?.kill();
    path?.close();
    pages?.stop();
    await node?.stop();
    if (node) await rm(node.dir, { recursive: true, force: true });
  });

  test('the picture gets smaller when the path narrows, and larger when it widens', { timeout: 240_000 }, async (t) => {
    const player = await inChromium(browser, pages.url('hlsjs', `http://${path.address}/hls/demo/index.m3u8`, hlsConfig));
    t.after(() => player.close());
    const width = async () => (await player.evaluate(() => window.player.samples.slice(-1).map((s) => s[3])))[0];
    const becomes = async (w, timeout) => {
      const begun = Date.now();
      await eventually(`pictures ${w} wide`, async () => {
        if ((await width()) === w) return true;
        const { levels, errors } = await player.report();
        throw new Error(JSON.stringify({ width: await width(), levels, errors }));
      }, timeout);
      return Date.now() - begun;
    };
    await becomes(640, 60_000);
    await sleep(5_000);
    const from = Date.now();
    path.bitsPerSecond = narrow;
    t.diagnostic(`the small picture came ${await becomes(320, 60_000)} ms after the path narrowed to ${narrow / 1000} kbit/s`);
    const small = Date.now();
    await sleep(10_000);
    assert.equal(await width(), 320, 'it stays small');
    const widened = Date.now();
    path.bitsPerSecond = wide;
    t.diagnostic(`the large picture came ${await becomes(640, 90_000)} ms after the path widened`);
    await sleep(5_000);
    const to = Date.now();
    const { samples, errors, levels } = await player.report();
    t.diagnostic(`stalls while it narrowed ${JSON.stringify(stalls(samples, from, small))}, levels ${JSON.stringify(levels.map(([at, h]) => [at - from, h]))}, said ${JSON.stringify(errors.map(([at, ...e]) => [at - from, ...e]))}`);
    assert.ok(stalls(samples, from, small).every(({ ms }) => ms < 8_000), 'playback goes on while the path narrows');
    assert.deepEqual(stalls(samples, small + 2_000, widened), [], 'stalls with the small picture');
    assert.deepEqual(stalls(samples, widened, to), [], 'stalls after the path widened');
    assert.equal(stepsBack(samples, from, to), 0, 'the counter went back');
    assert.deepEqual(errors.filter(([, severity]) => severity === 'fatal'), []);
  });
});
