// The edge that players watch at is killed, and starts again.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Node, eventually, freePort } from './lib/freshet.mjs';
import { launch } from './lib/browser.mjs';
import { aac, h264, publishRtsp } from './lib/ffmpeg.mjs';
import { parse, text } from './lib/fmp4.mjs';
import { Pages, inChromium, inMpv, installed } from './lib/players.mjs';
import { advanced, stalls, stepsBack } from './lib/painted.mjs';

const size = [320, 180];
const [width, height] = size;
/** How long a picture may stand still, the edge's start included. */
const patience = 10_000;

describe('an edge that is killed', () => {
  let origin, edge, publisher, browser, pages, index, edgeArgs, dir;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'freshet-e2e-edge-'));
    origin = await Node.start('freshet up', [
      '--quic-addr', '127.0.0.1:0', '--https-addr', '127.0.0.1:0', '--http-addr', '127.0.0.1:0', '--webrtc-addr', '127.0.0.1:0', '--rtsp-addr', '127.0.0.1:0',
    ]);
    // Players come back to the address that they know.
    edgeArgs = [
      '--quic-addr', '127.0.0.1:0', '--https-addr', '127.0.0.1:0', '--http-addr', `127.0.0.1:${await freePort()}`,
      '--upstream', `moqt://${origin.ready.quic};sha256=${origin.ready.certificate_sha256}`,
    ];
    await start();
    index = `http://${edge.ready.http}/hls/demo/index.m3u8`;
    pages = await Pages.start();
    browser = await launch();
    publisher = publishRtsp(`rtsp://demo:${origin.ready.stream_key}@${origin.ready.rtsp}/demo`, [...h264(60), ...aac], { size, clock: true });
    await eventually('three segments are listed', async () => (await listed('video0')).segments.length >= 3, 60_000);
  });
  after(async () => {
    await browser?.close();
    await publisher?.kill();
    pages?.stop();
    await edge?.stop();
    await origin?.stop();
    if (origin) await rm(origin.dir, { recursive: true, force: true });
    await rm(dir, { recursive: true, force: true });
  });

  const start = async () => (edge = await Node.start('freshet-relay', edgeArgs, { dir }));
  const listed = async (rendition) => {
    const url = new URL(`p/open/${rendition}.m3u8`, index).href;
    return parse(await text(url), url);
  };

  test('players go on where they were', { timeout: 180_000 }, async (t) => {
    const players = [await inChromium(browser, pages.url('hlsjs', index), 'hls.js')];
    t.after(() => Promise.all(players.map((p) => p.close())));
    if (await installed('mpv', 'Xvfb')) players.push(await inMpv(index, { width, height }));
    else t.diagnostic('mpv is not installed');
    for (const p of players) await eventually(`${p.name} plays`, async () => advanced((await p.report()).samples, 0, Infinity) > 60, 30_000);
    await sleep(6_000);
    const from = Date.now();
    const before = { video: await listed('video0'), audio: await listed('audio0') };
    await edge.kill();
    const killed = Date.now();
    await start();
    t.diagnostic(`the edge served again ${Date.now() - killed} ms after its end`);
    const again = {};
    for (const [kind, old] of Object.entries(before)) {
      const now = (again[kind] = await eventually(`the ${kind} goes on`, async () => {
        const p = await listed(`${kind}0`);
        if (p.next <= old.next) throw new Error(`next ${p.next}, before ${old.next}`);
        return p;
      }, 30_000));
      assert.ok(now.first >= old.first && now.first <= old.next, `media sequence ${now.first} after ${old.first} to ${old.next}`);
      const common = [...old.dates].filter(([sequence]) => now.dates.has(sequence));
      assert.ok(common.length > 0, `none of the segments ${[...old.dates.keys()]} is listed again, ${[...now.dates.keys()]} are`);
      for (const [sequence, date] of common) assert.equal(now.dates.get(sequence), date, `the date of ${kind} segment ${sequence}`);
      const times = [...now.dates].sort(([a], [b]) => a - b).map(([, date]) => Date.parse(date));
      for (let i = 1; i < times.length; i++) assert.ok(times[i] > times[i - 1], `${kind}: dates rise`);
    }
    await sleep(Math.max(0, killed + patience + 15_000 - Date.now()));
    const to = Date.now();
    for (const p of players) {
      const { samples, errors } = await p.report();
      const stood = stalls(samples, from, to);
      t.diagnostic(`${p.name}: ${JSON.stringify(stood)}, ${stepsBack(samples, from, to)} steps back, said ${JSON.stringify(errors.slice(-12)).slice(0, 1500)}`);
      assert.ok(stood.every(({ ms }) => ms <= patience), `${p.name} stood still: ${JSON.stringify(stood)}`);
      assert.equal(stepsBack(samples, from, to), 0, `${p.name} went back`);
      assert.deepEqual(stalls(samples, killed + patience, to), [], `${p.name} plays on`);
    }
  });
});
