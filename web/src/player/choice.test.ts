import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CatalogTrack } from '../media/catalog.ts';
import { chooseTracks, sameEncoding } from './choice.ts';

const video: CatalogTrack = { name: 'video0', kind: 'video', codec: 'avc1.64001f', live: true, width: 1280, height: 720 };
const audio: CatalogTrack = { name: 'audio0', kind: 'audio', codec: 'opus', live: true, bitrate: 32_000 };

test('the best picture that can be decoded is chosen, and the publisher’s first sound', async () => {
  const catalog = {
    complete: false,
    tracks: [
      { ...video, name: 'sd', width: 640, height: 360 },
      { ...video, name: 'hevc', codec: 'hvc1.1.6.L93.B0', width: 1920, height: 1080 },
      { ...video, name: 'hd' },
      { ...video, name: 'ended', width: 3840, height: 2160, live: false },
      audio,
      { ...audio, name: 'audio1', bitrate: 256_000 },
    ],
  };
  const chosen = await chooseTracks(catalog, async (track) => !track.codec.startsWith('hvc1'));
  assert.equal(chosen.video?.name, 'hd');
  assert.equal(chosen.audio?.name, 'audio0');
  assert.deepEqual(chosen.undecodable, []);
  const none = await chooseTracks(catalog, async (track) => track.kind === 'audio');
  assert.equal(none.video, undefined);
  assert.deepEqual(none.undecodable, ['hvc1.1.6.L93.B0', 'avc1.64001f']);
});

test('a new codec is a new encoding, a new bitrate is not', () => {
  assert.ok(sameEncoding(video, { ...video, bitrate: 1 }));
  assert.ok(!sameEncoding(video, { ...video, codec: 'av01.0.04M.08' }));
  assert.ok(!sameEncoding(video, undefined));
  assert.ok(sameEncoding(undefined, undefined));
});
