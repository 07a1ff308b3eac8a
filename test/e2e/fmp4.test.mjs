// What LL-HLS hands out is fMP4 that other parsers have nothing to say about.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child, Node, eventually, tool } from './lib/freshet.mjs';
import { aac, h264, hevc, opus, publishRtsp, testSource } from './lib/ffmpeg.mjs';
import { ffmpegSays, mp4boxSays, parse, renditions, save, text } from './lib/fmp4.mjs';

const size = [320, 180];
// Pictures that are shown in another order than they are decoded in.
const reordered = ['-c:v', 'libx264', '-preset', 'veryfast', '-bf', '2', '-pix_fmt', 'yuv420p', '-g', '60', '-b:v', '500k'];

describe('fMP4 of LL-HLS', () => {
  let dir;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'freshet-e2e-fmp4-'));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  const byFfmpeg = (codecs) => (url) => publishRtsp(url, codecs, { size });
  /** Debian 12's ffmpeg cannot send these by RTP: it encodes, and freshet sends. */
  const byFreshet = (codec) => async (url) => {
    const clip = join(dir, `${codec}.mkv`);
    const encoder = new Child('ffmpeg', 'ffmpeg', [...testSource({ size, realtime: false }), '-t', '30', ...h264(), ...opus, clip]);
    assert.equal((await encoder.exited).code, 0, encoder.output);
    return tool(['publish', '--rtsp', url, '--video', codec, clip]);
  };

  for (const { name, publish, codecs } of [
    { name: 'H.264 and AAC', publish: byFfmpeg([...h264(), ...aac]), codecs: ['avc1', 'mp4a.40.2'] },
    { name: 'H.264 with B-frames and AAC', publish: byFfmpeg([...reordered, ...aac]), codecs: ['avc1', 'mp4a.40.2'] },
    { name: 'HEVC and Opus', publish: byFfmpeg([...hevc(), ...opus]), codecs: ['hvc1', 'opus'] },
    { name: 'AV1 and Opus', publish: byFreshet('av1'), codecs: ['av01', 'opus'] },
  ]) {
    test(`${name}: ffprobe, ffmpeg and mp4box find no fault`, { timeout: 120_000 }, async (t) => {
      const node = await Node.start('freshet up', [
        '--quic-addr', '127.0.0.1:0', '--https-addr', '127.0.0.1:0', '--http-addr', '127.0.0.1:0', '--webrtc-addr', '127.0.0.1:0', '--rtsp-addr', '127.0.0.1:0',
      ]);
      t.after(async () => {
        await node.stop();
        await rm(node.dir, { recursive: true, force: true });
      });
      const publisher = await publish(`rtsp://demo:${node.ready.stream_key}@${node.ready.rtsp}/demo`);
      t.after(() => publisher.stop());
      const index = `http://${node.ready.http}/hls/demo/index.m3u8`;
      await eventually('the room has these codecs', async () => {
        const playlist = await text(index);
        if (codecs.every((c) => playlist.toLowerCase().includes(c))) return true;
        throw new Error(playlist);
      }, 60_000);
      const found = await renditions(index);
      assert.deepEqual(found.map(({ kind }) => kind).sort(), ['audio', 'video']);
      for (const { url, kind } of found) {
        const listed = await eventually(`two segments of ${kind} are listed`, async () => {
          const p = parse(await text(url), url);
          if (p.segments.length < 2) throw new Error(`${p.segments.length} segments`);
          return p;
        }, 60_000);
        for (const [what, pieces] of [['segments', listed.segments], ['parts', listed.parts]]) {
          assert.deepEqual(listed.maps.length, 1, 'one initialization section');
          assert.ok(pieces.length > 1, `${pieces.length} ${what} of ${kind}`);
          const file = join(dir, `${name.replaceAll(' ', '-')}-${kind}-${what}.mp4`);
          await save([...listed.maps, ...pieces.map((p) => p.url)], file);
          assert.equal(await ffmpegSays(file), '', `ffmpeg of the ${what} of ${kind}`);
          const { said, samples } = await mp4boxSays(file);
          assert.deepEqual(said, [], `mp4box of the ${what} of ${kind}`);
          assert.ok(samples.length > 30, `${samples.length} samples in the ${what} of ${kind}`);
          for (let i = 1; i < samples.length; i++) {
            const ms = ((samples[i].dts - samples[i - 1].dts - samples[i - 1].duration) / samples[i].timescale) * 1000;
            assert.ok(Math.abs(ms) < 2, `sample ${i} of the ${what} of ${kind} begins ${ms} ms after its predecessor's end`);
          }
          t.diagnostic(`${kind} ${what}: ${pieces.length} files, ${samples.length} samples`);
        }
      }
    });
  }
});
