import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CatalogError, type Catalog, type CatalogTrack } from './catalog.ts';
import { MsfReader, writeMsf } from './msf.ts';

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
  const catalog = new MsfReader().read(0, encode(whole));
  assert.deepEqual(names(catalog), ['video0', 'audio0']);
  assert.equal(catalog.complete, false);
  const [first, second] = catalog.tracks;
  assert.equal(first?.codec, 'avc1.64001f');
  assert.deepEqual([...(first?.description ?? [])], [1, 0x64, 0, 0x1f]);
  assert.equal(second?.channels, 2);
  assert.equal(second?.sampleRate, 48_000);
});

test('what is no picture or sound in LOC is passed over', () => {
  const catalog = new MsfReader().read(
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
  const reader = new MsfReader();
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
  const reader = new MsfReader();
  reader.read(0, encode(whole));
  const catalog = reader.read(1, encode({ deltaUpdate: [{ op: 'remove', tracks: [{ name: 'video0' }] }], isComplete: true }));
  assert.equal(catalog.complete, true);
});

test('what cannot be a catalog is refused and leaves the one before', () => {
  const reader = new MsfReader();
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

test('what is written can be read', () => {
  const tracks: CatalogTrack[] = [
    {
      name: 'video0',
      kind: 'video',
      codec: 'avc1.64001f',
      live: true,
      label: 'Stage',
      renderGroup: 1,
      altGroup: 2,
      width: 1280,
      height: 720,
      framerate: 30,
      sampleRate: undefined,
      channels: undefined,
      bitrate: 1_500_000,
      description: Uint8Array.of(1, 0x64, 0, 0x1f),
    },
    {
      name: 'audio0',
      kind: 'audio',
      codec: 'mp4a.40.2',
      live: true,
      label: undefined,
      renderGroup: 1,
      altGroup: undefined,
      width: undefined,
      height: undefined,
      framerate: undefined,
      sampleRate: 48_000,
      channels: 6,
      bitrate: 320_000,
      description: Uint8Array.of(0x11, 0xb0),
    },
  ];
  const written = writeMsf({ tracks, complete: false }, 1_746_104_606_044);
  assert.deepEqual(new MsfReader().read(0, written), { tracks, complete: false });
  // MSF, Initialization Data List: "MUST be located after the tracks array".
  const json = new TextDecoder().decode(written);
  assert.ok(json.indexOf('"initDataList"') > json.indexOf('"tracks"'));
});

test('a catalog that ends a broadcast lists nothing', () => {
  const tracks: CatalogTrack[] = [{ name: 'audio0', kind: 'audio', codec: 'opus', live: true }];
  const written = writeMsf({ tracks, complete: true }, 1_746_104_606_044);
  assert.deepEqual(new MsfReader().read(0, written), { tracks: [], complete: true });
  assert.deepEqual(JSON.parse(new TextDecoder().decode(written)), {
    version: 'draft-01',
    generatedAt: 1_746_104_606_044,
    isComplete: true,
    tracks: [],
  });
});
