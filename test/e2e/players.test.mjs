// A minute of LL-HLS in players that are not ours.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Node, eventually } from './lib/freshet.mjs';
import { launch } from './lib/browser.mjs';
import { aac, h264, publishRtsp } from './lib/ffmpeg.mjs';
import { Pages, inChromium, inFfmpeg, inFirefox, inMpv, inWebKit, installed, miniBrowser } from './lib/players.mjs';
import { advanced, glassToGlass, percentile, slowestMaking, stalls, stepsBack } from './lib/painted.mjs';

const size = [320, 180];
const [width, height] = size;
const rate = 30;
const minute = 60_000;
/** Pictures that a player may take to find its distance to the live edge. */
const settling = 10_000;
// Left alone it keeps the distance that it has got to. The one to come back to is counted from the hold-back.
const shakaConfig = { streaming: { lowLatencyMode: true, liveSync: { enabled: true, targetLatency: 1, targetLatencyTolerance: 0.5, maxPlaybackRate: 1.1, minPlaybackRate: 1 } } };
const out = join(import.meta.dirname, 'out');

describe('foreign players', () => {
  let node, publisher, browser, pages, src;
  before(async () => {
    await mkdir(out, { recursive: true });
    node = await Node.start('freshet up', [
      '--quic-addr', '127.0.0.1:0', '--https-addr', '127.0.0.1:0', '--http-addr', '127.0.0.1:0', '--webrtc-addr', '127.0.0.1:0', '--rtsp-addr', '127.0.0.1:0',
    ]);
    pages = await Pages.start();
    browser = await launch();
    publisher = publishRtsp(`rtsp://demo:${node.ready.stream_key}@${node.ready.rtsp}/demo`, [...h264(rate * 2), ...aac], { size, rate, clock: true });
    src = `http://${node.ready.http}/hls/demo/index.m3u8`;
    // Players without parts want three segments before they begin.
    await eventually('three segments are listed', async () => {
      const text = await (await fetch(new URL('p/open/video0.m3u8', src))).text();
      return text.split('#EXTINF').length > 3;
    }, 40_000);
  });
  after(async () => {
    await browser?.close();
    await publisher?.kill();
    pages?.stop();
    await node?.stop();
    if (node) await rm(node.dir, { recursive: true, force: true });
  });

  // This WebKit stops when the rate changes, so that hls.js cannot catch up: a jump does, once it plays.
  async function watchInWebKit(name) {
    const player = await inWebKit(pages.url('hlsjs', src, { preferManagedMediaSource: true, maxLiveSyncPlaybackRate: 1 }), name);
    await eventually('WebKitGTK plays', () => player.evaluate(() => window.player?.samples.length > 30), 30_000).catch(() => {}); // judged later
    await player.evaluate(() => void (document.querySelector('video').currentTime = window.hls.liveSyncPosition));
    return player;
  }

  const players = [
    { name: 'hls.js in Chromium', open: (name) => inChromium(browser, pages.url('hlsjs', src), name), parts: true },
    { name: 'Shaka in Chromium', open: (name) => inChromium(browser, pages.url('shaka', src, shakaConfig), name) },
    { name: 'hls.js in Firefox', needs: [process.env.FIREFOX ?? 'firefox-esr'], open: (name) => inFirefox(pages.url('hlsjs', src), name), parts: true },
    { name: 'hls.js in WebKitGTK', needs: ['WebKitWebDriver', 'Xvfb', miniBrowser], open: watchInWebKit, parts: true, managed: true },
    { name: 'mpv', needs: ['mpv', 'Xvfb', 'ffmpeg'], open: () => inMpv(src, { width, height }) },
    { name: 'ffmpeg', needs: ['ffmpeg'], open: () => inFfmpeg(src, { width, height }) },
  ].filter(({ name }) => !process.env.PLAYERS || new RegExp(process.env.PLAYERS, 'i').test(name));

  // They play at the same time, as viewers do, and are judged one by one.
  const playing = new Map();
  before(async () => {
    for (const p of players) {
      if (!(await installed(...(p.needs ?? [])))) continue;
      playing.set(p.name, p.open(p.name).then((player) => ({ player }), (error) => ({ error })));
      await playing.get(p.name); // starting is what costs the most
    }
    await sleep(settling);
  });
  after(async () => {
    for (const opened of playing.values()) await (await opened).player?.close();
  });

  for (const p of players) {
    test(`${p.name} plays a minute without a stall`, { timeout: 150_000 }, async (t) => {
      if (!playing.has(p.name)) return t.skip(`${p.needs.join(' and ')} not installed`);
      const { player, error } = await playing.get(p.name);
      if (error) throw error;
      const first = await eventually(`${p.name} paints`, async () => {
        const report = await player.report();
        if (report.samples.length === 0) throw new Error(JSON.stringify({ ...report, samples: report.samples.length }));
        return report.samples[0].at;
      }, 30_000);
      const from = first + settling;
      const to = from + minute;
      await sleep(Math.max(0, to + 200 - Date.now()));
      await player.screenshot?.(join(out, `${p.name.replaceAll(/[ .]/g, '-')}.png`));
      const { samples, events, errors, latencies = [], parts, mediaSources, unreadable } = await player.report();
      const stalled = stalls(samples, from, to);
      const waits = events.filter(([at, type]) => type === 'waiting' && at >= from && at <= to).map(([at]) => at - from);
      const age = glassToGlass(samples, from, to);
      t.diagnostic([
        `${stalled.length} stalls ${JSON.stringify(stalled)}`, `${waits.length} waits ${JSON.stringify(waits)}`, `${samples.length} pictures, ${unreadable} unreadable`,
        `${advanced(samples, from, to)} frames advanced, made at most ${slowestMaking(samples, from, to)} ms apart`, `glass to glass p50 ${percentile(age, 50)} ms, p95 ${percentile(age, 95)} ms`,
        ...(latencies.length > 0 ? [`its own latency p50 ${percentile(latencies, 50).toFixed(2)} s`] : []), ...(parts ? [`${parts} parts`] : []),
        ...(mediaSources ? [`by ${mediaSources}`] : []), ...(errors.length > 0 ? [`said ${JSON.stringify(errors.slice(0, 20))}`] : []),
      ].join('; '));
      assert.deepEqual(stalled, [], 'stalls');
      assert.deepEqual(waits, [], 'waiting events');
      assert.equal(stepsBack(samples, from, to), 0, 'the counter went back');
      const due = (minute / 1000) * rate;
      assert.ok(Math.abs(advanced(samples, from, to) - due) < due * 0.05, `the counter advanced by ${advanced(samples, from, to)} where ${due} were due`);
      if (p.parts) {
        assert.ok(parts > 0, 'no parts were loaded');
        assert.ok(percentile(age, 50) <= 2000, `half of the pictures were older than ${percentile(age, 50)} ms`);
      }
      if (p.managed) assert.ok(mediaSources.includes('ManagedMediaSource'), `played by ${mediaSources}`);
    });
  }
});
