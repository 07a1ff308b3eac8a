import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Backoff } from '../backoff.ts';
import { ApiError } from '../api/http.ts';
import { readLoc } from '../media/loc.ts';
import { MsfReader } from '../media/msf.ts';
import { RequestCode, RequestError, Session, type MoqObject, type Subscription } from '../moq/index.ts';
import { transportPipe } from '../moq/transport/pipe.ts';
import { StudioBroadcast, type AudioFormat, type MediaKind, type VideoFormat } from './broadcast.ts';
import { chooseEncoder, codecStrings, fitInto } from './codecs.ts';
import { MediaClock } from './media_clock.ts';
import type { StudioState, VideoSettings } from './messages.ts';
import { Publisher } from './publisher.ts';
import { RateControl } from './rate_control.ts';
import { loadPreferences } from './studio_store.ts';
import { TONE_SAMPLE_RATE, toneSamples } from './tone.ts';

const video: VideoFormat = {
  codec: 'avc1.64001f',
  description: Uint8Array.of(1, 0x64, 0, 0x1f),
  width: 1280,
  height: 720,
  framerate: 30,
  bitrate: 2_500_000,
};
const audio: AudioFormat = { codec: 'opus', description: undefined, sampleRate: 48_000, channels: 2, bitrate: 96_000 };
const both = new Set<MediaKind>(['video', 'audio']);
const startUs = 1_700_000_000_000_000;

/** Writes n pictures at 30 a second, the first of them a key frame. */
function writeGroup(broadcast: StudioBroadcast, fromUs: number, n: number, format = video): void {
  for (let i = 0; i < n; i++) {
    broadcast.writeVideo({
      data: Uint8Array.of(i),
      key: i === 0,
      timestampUs: fromUs + Math.round((i * 1e6) / 30),
      format,
    });
  }
}

/** A session that publishes what it is told, and one that watches, joined in memory. */
async function connected(): Promise<{ node: Session; streamer: Session }> {
  const [a, b] = transportPipe();
  const [node, streamer] = await Promise.all([
    Session.over(a, { role: 'server', acceptNamespace: () => true }),
    Session.over(b),
  ]);
  return { node, streamer };
}

async function firstGroup(subscription: Subscription, count = Infinity): Promise<MoqObject[]> {
  const objects: MoqObject[] = [];
  for await (const group of subscription) {
    for await (const object of group) {
      objects.push(object);
      if (objects.length === count) break;
    }
    break;
  }
  return objects;
}

describe('the broadcast', () => {
  test('can be watched: catalog, then a Group with times and configuration', async () => {
    const broadcast = new StudioBroadcast(1000, both, () => undefined);
    const { node, streamer } = await connected();
    await streamer.publishNamespace(['live', 'demo'], (track) => broadcast.find(track));
    await assert.rejects(node.subscribe(['live', 'demo'], 'video1'), { code: RequestCode.DoesNotExist });

    writeGroup(broadcast, startUs, 3);
    broadcast.writeAudio({ data: Uint8Array.of(9), key: true, timestampUs: startUs, format: audio });

    const [catalog] = await firstGroup(await node.subscribe(['live', 'demo'], 'catalog', { join: true }), 1);
    const { tracks } = new MsfReader().read(catalog!.objectId, catalog!.payload);
    assert.deepEqual(
      tracks.map(({ name, kind, codec, width, sampleRate, description }) => [name, kind, codec, width ?? sampleRate, description]),
      [
        ['video0', 'video', 'avc1.64001f', 1280, video.description],
        ['audio0', 'audio', 'opus', 48_000, undefined],
      ],
    );

    const pictures = await firstGroup(await node.subscribe(['live', 'demo'], 'video0', { join: true }), 3);
    assert.deepEqual(pictures.map((object) => object.groupId), [1000, 1000, 1000]);
    const locs = pictures.map((object) => readLoc(object));
    assert.deepEqual(locs.map((loc) => loc?.timestampUs), [startUs, startUs + 33_333, startUs + 66_667]);
    assert.deepEqual(locs.map((loc) => loc?.config), [video.description, undefined, undefined]);
    node.close();
  });

  test('a hang catalog is the same in other words', async () => {
    const broadcast = new StudioBroadcast(1000, both, () => undefined);
    const { node, streamer } = await connected();
    await streamer.publishNamespace(['live', 'demo'], (track) => broadcast.find(track));
    writeGroup(broadcast, startUs, 1);
    const [catalog] = await firstGroup(await node.subscribe(['live', 'demo'], 'catalog.json', { join: true }), 1);
    assert.deepEqual(JSON.parse(new TextDecoder().decode(catalog!.payload)), {
      video: {
        renditions: {
          video0: {
            codec: 'avc1.64001f',
            container: { kind: 'loc' },
            description: '0164001f',
            bitrate: 2_500_000,
            codedWidth: 1280,
            codedHeight: 720,
            framerate: 30,
          },
        },
        display: { width: 1280, height: 720 },
      },
    });
    node.close();
  });

  test('pictures before the first key frame are left out', () => {
    const broadcast = new StudioBroadcast(1000, both, () => undefined);
    broadcast.writeVideo({ data: Uint8Array.of(1), key: false, timestampUs: startUs, format: video });
    assert.equal(broadcast.begun, false);
    assert.equal(broadcast.find('video0')?.largest, undefined);
  });

  test('sound is cut after a second, and at key frames', () => {
    const broadcast = new StudioBroadcast(1000, both, () => undefined);
    writeGroup(broadcast, startUs, 1);
    const sound = (ms: number): void =>
      broadcast.writeAudio({ data: Uint8Array.of(1), key: true, timestampUs: startUs + ms * 1000, format: audio });
    for (let ms = 0; ms < 1000; ms += 20) sound(ms);
    assert.deepEqual(broadcast.find('audio0')?.largest, { group: 1000, object: 49 });
    sound(1000);
    assert.deepEqual(broadcast.find('audio0')?.largest, { group: 1001, object: 0 });
    for (let ms = 1020; ms < 1400; ms += 20) sound(ms);
    writeGroup(broadcast, startUs + 1_400_000, 1);
    sound(1400);
    assert.deepEqual(broadcast.find('audio0')?.largest, { group: 1002, object: 0 });
  });

  test('a Track that is to come can be subscribed before its first frame', async () => {
    const broadcast = new StudioBroadcast(1000, both, () => undefined);
    const { node, streamer } = await connected();
    await streamer.publishNamespace(['live', 'demo'], (track) => broadcast.find(track));
    const sound = await node.subscribe(['live', 'demo'], 'audio0', { join: true });
    writeGroup(broadcast, startUs, 1);
    assert.equal(broadcast.complete, false);
    broadcast.writeAudio({ data: Uint8Array.of(9), key: true, timestampUs: startUs, format: audio });
    assert.equal(broadcast.complete, true);
    const [object] = await firstGroup(sound, 1);
    assert.deepEqual(object?.payload, Uint8Array.of(9));

    const silent = new StudioBroadcast(1000, new Set<MediaKind>(['video']), () => undefined);
    assert.equal(silent.find('audio0'), undefined);
    node.close();
  });

  test('a viewer who asks for a new Group gets a key frame asked for', async () => {
    let wanted = 0;
    const broadcast = new StudioBroadcast(1000, both, () => wanted++);
    const { node, streamer } = await connected();
    await streamer.publishNamespace(['live', 'demo'], (track) => broadcast.find(track));
    writeGroup(broadcast, startUs, 2);
    await node.subscribe(['live', 'demo'], 'video0', { newGroup: true });
    assert.equal(wanted, 1);
    node.close();
  });

  test('its end is in the catalog and ends every Track', async () => {
    const broadcast = new StudioBroadcast(1000, both, () => undefined);
    const { node, streamer } = await connected();
    await streamer.publishNamespace(['live', 'demo'], (track) => broadcast.find(track));
    writeGroup(broadcast, startUs, 2);
    const catalogs = await node.subscribe(['live', 'demo'], 'catalog', { join: true });
    broadcast.end();
    const complete: boolean[] = [];
    for await (const group of catalogs) {
      for await (const object of group) complete.push(new MsfReader().read(object.objectId, object.payload).complete);
    }
    assert.deepEqual(complete, [false, true]);
    assert.equal((await catalogs.closed).kind, 'done');
    node.close();
  });
});

describe('the publisher', () => {
  const ticket = async (): Promise<{ url: string; token: string; certificateHash: undefined }> => ({
    url: 'https://node.example/',
    token: 'token',
    certificateHash: undefined,
  });

  test('comes back by itself, and goes on where it was', async () => {
    const broadcast = new StudioBroadcast(1000, both, () => undefined);
    writeGroup(broadcast, startUs, 1);
    const states: StudioState['kind'][] = [];
    const nodes: Session[] = [];
    let connectedAgain!: () => void;
    const again = new Promise<void>((resolve) => (connectedAgain = resolve));
    const publisher = new Publisher({
      room: 'demo',
      streamKey: 'key',
      takeover: false,
      broadcast,
      onState: (state) => {
        states.push(state.kind);
        if (state.kind !== 'live') return;
        // The first connection is lost as soon as it stands.
        if (nodes.length === 1) nodes[0]?.close(1, 'lost');
        else connectedAgain();
      },
      ticket,
      backoff: new Backoff({ firstMs: 1, maxMs: 1, steadyMs: 1000 }),
      connect: async () => {
        const { node, streamer } = await connected();
        nodes.push(node);
        return streamer;
      },
    });
    const run = publisher.run();
    await again;
    const [picture] = await firstGroup(await nodes[1]!.subscribe(['live', 'demo'], 'video0', { join: true }), 1);
    assert.equal(picture?.groupId, 1000);
    await publisher.stop();
    assert.equal(await run, undefined);
    assert.deepEqual(states, ['connecting', 'live', 'reconnecting', 'live']);
  });

  test('a wrong stream key is final', async () => {
    const publisher = new Publisher({
      room: 'demo',
      streamKey: 'wrong',
      takeover: false,
      broadcast: new StudioBroadcast(1000, both, () => undefined),
      onState: () => undefined,
      ticket: () => Promise.reject(new ApiError(401, 'The stream key is wrong.')),
    });
    assert.deepEqual(await publisher.run(), { kind: 'key', message: 'The stream key is wrong.' });
  });

  test('a room that is taken can be taken over', async () => {
    const urls: string[] = [];
    const attempt = (takeover: boolean): Promise<unknown> =>
      new Publisher({
        room: 'demo',
        streamKey: 'key',
        takeover,
        broadcast: new StudioBroadcast(1000, both, () => undefined),
        onState: () => undefined,
        ticket,
        connect: (url) => {
          urls.push(url);
          return Promise.reject(new RequestError(RequestCode.Uninterested, 'somebody is live'));
        },
      }).run();
    assert.deepEqual(await attempt(false), {
      kind: 'busy',
      message: 'The node does not take this broadcast: somebody is live',
    });
    await attempt(true);
    assert.deepEqual(urls, ['https://node.example/', 'https://node.example/?takeover=1']);
  });

  test('who was taken over does not come back by itself', async () => {
    const publisher = new Publisher({
      room: 'demo',
      streamKey: 'key',
      takeover: false,
      broadcast: new StudioBroadcast(1000, both, () => undefined),
      onState: () => undefined,
      ticket,
      connect: async () => {
        const { node, streamer } = await connected();
        setImmediate(() => node.close(0, 'taken over by a newer publisher'));
        return streamer;
      },
    });
    assert.equal((await publisher.run())?.kind, 'busy');
  });

  test('a room that is still held for its lost session is waited for', async () => {
    const states: StudioState['kind'][] = [];
    let attempts = 0;
    const broadcast = new StudioBroadcast(1000, both, () => undefined);
    const publisher: Publisher = new Publisher({
      room: 'demo',
      streamKey: 'key',
      takeover: false,
      broadcast,
      backoff: new Backoff({ firstMs: 1, maxMs: 1, steadyMs: 1000 }),
      ticket,
      onState: (state) => {
        states.push(state.kind);
        if (state.kind === 'live' && attempts === 3) void publisher.stop();
      },
      connect: async () => {
        if (++attempts === 2) throw new RequestError(RequestCode.Uninterested, 'the room has a publisher');
        const { node, streamer } = await connected();
        if (attempts === 1) setImmediate(() => node.close(1, 'lost'));
        return streamer;
      },
    });
    assert.equal(await publisher.run(), undefined);
    assert.deepEqual(states, ['connecting', 'live', 'reconnecting', 'reconnecting', 'live']);
  });
});

describe('the clock', () => {
  test('keeps the distances of the source and does not follow jitter', () => {
    const clock = new MediaClock();
    let before: number | undefined;
    for (let i = 0; i < 300; i++) {
      const timestamp = i * 33_333;
      // The first frames come late, while the camera starts.
      const delay = i < 5 ? 200_000 - i * 30_000 : (i * 7919) % 15_000;
      if (!clock.observe(timestamp, startUs + timestamp + delay)) {
        assert.ok(i < 15, 'it does not settle');
        continue;
      }
      const mapped = clock.map(timestamp);
      assert.ok(mapped - (startUs + timestamp) >= 0 && mapped - (startUs + timestamp) < 15_000);
      if (before !== undefined) assert.ok(Math.abs(mapped - before - 33_333) <= 34);
      before = mapped;
    }
    assert.ok(before !== undefined);
  });

  test('starts anew after a jump', () => {
    const clock = new MediaClock();
    clock.observe(0, startUs);
    clock.observe(33_333, startUs + 10_000_000);
    assert.equal(clock.map(33_333), startUs + 10_000_000);
  });
});

describe('the rate control', () => {
  test('goes down at once and up slowly, between its bounds', () => {
    const rate = new RateControl(1_000_000);
    assert.equal(rate.tick(0), false);
    assert.equal(rate.tick(500), true);
    assert.equal(rate.target, 700_000);
    for (let i = 0; i < 20; i++) rate.tick(5000);
    assert.equal(rate.target, 150_000);
    let seconds = 0;
    while (rate.target < 1_000_000) {
      rate.tick(0);
      seconds++;
    }
    assert.ok(seconds > 60 && seconds < 300, `${seconds} s`);
  });

  test('does not raise a choice below the floor', () => {
    const rate = new RateControl(100_000);
    rate.tick(5000);
    assert.equal(rate.target, 100_000);
  });
});

describe('the choice of the encoder', () => {
  const settings: VideoSettings = { codec: 'auto', width: 1280, height: 720, framerate: 30, bitrate: 1e6 };
  const choose = async (codec: VideoSettings['codec'], has: (config: VideoEncoderConfig) => boolean) =>
    (await chooseEncoder({ ...settings, codec }, { width: 1280, height: 720 }, 1e6, async (config) => has(config)))?.config;

  test('automatic prefers AV1 in hardware, then H.264, then what there is', async () => {
    assert.equal((await choose('auto', () => true))?.codec, 'av01.0.04M.08');
    const software = (config: VideoEncoderConfig): boolean => config.hardwareAcceleration !== 'prefer-hardware';
    assert.equal((await choose('auto', software))?.codec, 'avc1.64001f');
    assert.equal((await choose('auto', (c) => software(c) && !c.codec.startsWith('avc1.64')))?.codec, 'avc1.4d001f');
    assert.equal((await choose('auto', (c) => c.codec === 'vp8'))?.codec, 'vp8');
    assert.equal(await choose('auto', () => false), undefined);
  });

  test('HEVC only when it is asked for', async () => {
    assert.equal(await choose('auto', (c) => c.codec.startsWith('hvc1')), undefined);
    const config = await choose('hevc', () => true);
    assert.ok(config && 'hevc' in config);
    assert.deepEqual(config.hevc, { format: 'hevc' });
  });

  test('levels grow with the picture', () => {
    assert.deepEqual(codecStrings('h264', 1920, 1080, 30)[0], 'avc1.640028');
    assert.deepEqual(codecStrings('h264', 1920, 1080, 60)[0], 'avc1.64002a');
    assert.deepEqual(codecStrings('av1', 1920, 1080, 60), ['av01.0.09M.08']);
    assert.deepEqual(codecStrings('vp9', 640, 360, 30), ['vp09.00.31.08']);
  });

  test('a source is fitted into the box without changing its shape', () => {
    assert.deepEqual(fitInto({ width: 1920, height: 1080 }, { width: 1280, height: 720 }), { width: 1280, height: 720 });
    assert.deepEqual(fitInto({ width: 1080, height: 1920 }, { width: 1280, height: 720 }), { width: 406, height: 720 });
    assert.deepEqual(fitInto({ width: 640, height: 361 }, { width: 1280, height: 720 }), { width: 640, height: 362 });
  });
});

test('pieces of the test tone fit together across seconds', () => {
  const from = 1_700_000_000 * TONE_SAMPLE_RATE + 47_500;
  const whole = toneSamples(from, 1920);
  const pieces = [...toneSamples(from, 960), ...toneSamples(from + 960, 960)];
  assert.deepEqual(pieces, [...whole]);
  assert.ok(Math.max(...whole) > 0.3, 'the beep at the full second is missing');
  assert.ok(Math.max(...toneSamples(1_700_000_000 * TONE_SAMPLE_RATE + 10_000, 960)) < 0.1);
});

test('settings from another time are replaced by defaults where they do not fit', () => {
  const stored = (json: string) => loadPreferences({ getItem: () => json });
  assert.equal(stored('{"source":"pattern","height":360,"kilobits":999999}').kilobits, 20_000);
  assert.equal(stored('{"height":361}').height, loadPreferences({ getItem: () => null }).height);
  assert.equal(stored('not json').codec, 'auto');
});
