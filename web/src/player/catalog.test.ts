import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CatalogError, CatalogReader, chooseTracks, sameEncoding, type Catalog } from './catalog.ts';

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

const video = {
  name: 'video0',
  packaging: 'loc',
  isLive: true,
  role: 'video',
  renderGroup: 1,
  codec: 'avc1.64001f',
  width: 1280,
  height: 720,
  framerate: 30,
  bitrate: 1_500_000,
  initRef: 'v',
};
const audio = {
  name: 'audio0',
  packaging: 'loc',
  isLive: true,
  role: 'audio',
  renderGroup: 1,
  codec: 'opus',
  samplerate: 48_000,
  channelConfig: '2',
  bitrate: 32_000,
};
const whole = {
  version: 'draft-01',
  generatedAt: 1_746_104_606_044,
  tracks: [video, audio],
  initDataList: [{ id: 'v', type: 'inline', data: 'AWQAHw==' }],
};

function names(catalog: Catalog): string[] {
  return catalog.tracks.map((track) => track.name);
}

test('a whole catalog tells what a decoder needs', () => {
  const catalog = new CatalogReader().read(0, encode(whole));
  assert.deepEqual(names(catalog), ['video0', 'audio0']);
  assert.equal(catalog.complete, false);
  const [first, second] = catalog.tracks;
  assert.equal(first?.codec, 'avc1.64001f');
  assert.deepEqual([...(first?.description ?? [])], [1, 0x64, 0, 0x1f]);
  assert.equal(second?.channels, 2);
  assert.equal(second?.sampleRate, 48_000);
});

test('what is no picture or sound in LOC is passed over', () => {
  const catalog = new CatalogReader().read(
    0,
    encode({
      version: 'draft-01',
      tracks: [
        { ...video, packaging: 'cmaf' },
        { ...video, name: 'timeline', packaging: 'eventtimeline', eventType: 'x' },
        { ...audio, name: 'signs', role: 'signlanguage' },
        { ...audio, name: 'plain', role: undefined },
        { packaging: 'loc', codec: 'opus', role: 'audio' },
        'nonsense',
      ],
    }),
  );
  assert.deepEqual(names(catalog), ['plain']);
});

test('changes apply in order to the catalog before them', () => {
  const reader = new CatalogReader();
  reader.read(0, encode(whole));
  const catalog = reader.read(
    1,
    encode({
      deltaUpdate: [
        { op: 'clone', tracks: [{ parentName: 'video0', name: 'video1', width: 640, height: 360 }] },
        { op: 'update', tracks: [{ parentName: 'audio0', codec: 'mp4a.40.2' }] },
        { op: 'add', tracks: [{ ...audio, name: 'audio1' }] },
        { op: 'remove', tracks: [{ name: 'video0' }] },
      ],
    }),
  );
  assert.deepEqual(names(catalog), ['audio0', 'video1', 'audio1']);
  assert.equal(catalog.tracks[0]?.codec, 'mp4a.40.2');
  assert.equal(catalog.tracks[1]?.codec, 'avc1.64001f');
  assert.equal(catalog.tracks[1]?.width, 640);
});

test('completion holds from then on', () => {
  const reader = new CatalogReader();
  reader.read(0, encode(whole));
  const catalog = reader.read(1, encode({ deltaUpdate: [{ op: 'remove', tracks: [{ name: 'video0' }] }], isComplete: true }));
  assert.equal(catalog.complete, true);
});

test('what cannot be a catalog is refused and leaves the one before', () => {
  const reader = new CatalogReader();
  const change = { deltaUpdate: [{ op: 'update', tracks: [{ parentName: 'video0', bitrate: 1 }] }] };
  // MSF, Catalog: "The first Object (with Object ID 0) in any Group in a catalog track MUST hold an independent copy of
  // the catalog."
  assert.throws(() => reader.read(0, encode(change)), CatalogError);
  assert.throws(() => reader.read(1, encode(change)), CatalogError, 'nothing to change');
  reader.read(0, encode(whole));
  for (const bad of [
    new Uint8Array([0xff]),
    encode([]),
    encode({ version: 'draft-99', tracks: [] }),
    encode({ deltaUpdate: [{ op: 'explode', tracks: [{ name: 'video0' }] }] }),
    encode({ deltaUpdate: [{ op: 'clone', tracks: [{ parentName: 'nobody', name: 'x' }] }] }),
    encode({ version: 'draft-01', tracks: Array.from({ length: 200 }, (_, i) => ({ ...audio, name: `a${i}` })) }),
    new Uint8Array(300 * 1024).fill(0x20),
  ]) {
    assert.throws(() => reader.read(1, bad), CatalogError);
  }
  const catalog = reader.read(1, encode({ deltaUpdate: [{ op: 'remove', tracks: [{ name: 'audio0' }] }] }));
  assert.deepEqual(names(catalog), ['video0']);
});

test('the best picture that can be decoded is chosen, and the publisher’s first sound', async () => {
  const catalog = new CatalogReader().read(
    0,
    encode({
      version: 'draft-01',
      tracks: [
        { ...video, name: 'sd', width: 640, height: 360 },
        { ...video, name: 'hevc', codec: 'hvc1.1.6.L93.B0', width: 1920, height: 1080 },
        { ...video, name: 'hd' },
        { ...video, name: 'ended', width: 3840, height: 2160, isLive: false },
        audio,
        { ...audio, name: 'audio1', bitrate: 256_000 },
      ],
    }),
  );
  const chosen = await chooseTracks(catalog, async (track) => !track.codec.startsWith('hvc1'));
  assert.equal(chosen.video?.name, 'hd');
  assert.equal(chosen.audio?.name, 'audio0');
  assert.deepEqual(chosen.undecodable, []);
  const none = await chooseTracks(catalog, async (track) => track.kind === 'audio');
  assert.equal(none.video, undefined);
  assert.deepEqual(none.undecodable, ['hvc1.1.6.L93.B0', 'avc1.64001f']);
});

test('a new codec is a new encoding, a new bitrate is not', () => {
  const [track] = new CatalogReader().read(0, encode(whole)).tracks;
  assert.ok(track);
  assert.ok(sameEncoding(track, { ...track, bitrate: 1 }));
  assert.ok(!sameEncoding(track, { ...track, codec: 'av01.0.04M.08' }));
  assert.ok(!sameEncoding(track, undefined));
  assert.ok(sameEncoding(undefined, undefined));
});
