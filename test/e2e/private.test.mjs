// A room that is not open, watched with a token in the first URL alone.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster, eventually, tool } from './lib/freshet.mjs';
import { launch } from './lib/browser.mjs';
import { aac, h264, publishRtsp } from './lib/ffmpeg.mjs';
import { renditions, text } from './lib/fmp4.mjs';
import { Pages, inChromium, inMpv, installed } from './lib/players.mjs';
import { advanced, stalls } from './lib/painted.mjs';

const size = [320, 180];

describe('a room that asks for a token', () => {
  let cluster, publisher, browser, pages, token;
  before(async () => {
    cluster = await Cluster.start(); // whose relay lets nobody watch without
    pages = await Pages.start();
    browser = await launch();
    const mint = tool(['token', 'mint', '--key', `${cluster.dirs.api}/token.key`, '--get', 'live/demo']);
    assert.equal((await mint.exited).code, 0, mint.output);
    token = mint.output.trim();
    publisher = publishRtsp(cluster.rtsp, [...h264(60), ...aac], { size, clock: true });
    await eventually('the room is live', async () => (await (await fetch(`${cluster.page}/v1/rooms?live=1`)).json()).rooms.length > 0);
  });
  after(async () => {
    await browser?.close();
    await publisher?.kill();
    pages?.stop();
    await cluster?.stop();
  });

  const withToken = () => `${cluster.hls}?jwt=${encodeURIComponent(token)}`;
  const refused = async (url) => {
    const { status } = await fetch(url);
    assert.ok(status === 401 || status === 403, `${status} for ${url}`);
  };

  test('without a token nothing is handed out', async () => {
    await refused(cluster.hls);
    await refused(`${cluster.hls}?jwt=wrong`);
    const mint = tool(['token', 'mint', '--key', `${cluster.dirs.api}/token.key`, '--get', 'live/elsewhere']);
    assert.equal((await mint.exited).code, 0, mint.output);
    await refused(`${cluster.hls}?jwt=${encodeURIComponent(mint.output.trim())}`);
    for (const rendition of ['video0', 'audio0']) {
      await refused(new URL(`p/open/${rendition}.m3u8`, cluster.hls));
      await refused(new URL(`p/made-up/${rendition}.m3u8`, cluster.hls));
    }
  });

  test('the playlists that the first one names carry the right to watch', async () => {
    const found = await eventually('the room is muxed', () => renditions(withToken()), 30_000);
    assert.equal(found.length, 2);
    for (const { url } of found) {
      assert.ok(!url.includes(token), 'the token itself is not repeated');
      assert.match(await text(url), /^#EXTM3U/);
      // What a pass opens is its own room, whole and untouched.
      await refused(url.replace(/\/p\/(.)/, (_, c) => `/p/${c === 'A' ? 'B' : 'A'}`));
    }
  });

  test('hls.js plays, with the token in its first URL alone', { timeout: 90_000 }, async (t) => {
    const player = await inChromium(browser, pages.url('hlsjs', withToken()));
    t.after(() => player.close());
    await eventually('hls.js paints', async () => {
      const report = await player.report();
      if (report.samples.length > 30) return true;
      throw new Error(JSON.stringify({ ...report, samples: report.samples.length }));
    }, 40_000);
    await sleep(5_000);
    const from = Date.now();
    await sleep(15_000);
    const { samples, errors } = await player.report();
    assert.deepEqual(stalls(samples, from, from + 15_000), []);
    assert.deepEqual(errors.filter(([, severity]) => severity === 'fatal'), []);
  });

  test('hls.js is refused without', async (t) => {
    const player = await inChromium(browser, pages.url('hlsjs', cluster.hls));
    t.after(() => player.close());
    await eventually('hls.js gives up', async () => {
      const { errors, samples } = await player.report();
      assert.equal(samples.length, 0);
      return errors.some(([, severity, , , code]) => severity === 'fatal' && (code === 401 || code === 403));
    }, 30_000);
  });

  test('mpv plays, with the token in its first URL alone', { timeout: 90_000 }, async (t) => {
    if (!(await installed('mpv', 'Xvfb'))) return t.skip('mpv is not installed');
    const player = await inMpv(withToken(), { width: size[0], height: size[1] });
    t.after(() => player.close());
    await eventually('mpv paints', async () => {
      const { samples, errors } = await player.report();
      if (advanced(samples, 0, Infinity) > 150) return true;
      throw new Error(JSON.stringify(errors));
    }, 60_000);
  });
});
