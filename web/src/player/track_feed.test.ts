import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { PublishedTrack, Session, type GroupWriter, type Property } from '../moq/index.ts';
import { transportPipe } from '../moq/transport/pipe.ts';
import { PlayoutClock } from './clock.ts';
import { LocProperty } from '../media/loc.ts';
import { TrackFeed } from './track_feed.ts';

const epoch = 1_764_000_000_000;

beforeEach(() => mock.timers.enable({ apis: ['Date'], now: epoch }));
afterEach(() => mock.timers.reset());

/** Lets what is under way in the sessions come to rest. */
async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** A Track that one session publishes and another, over a pipe, feeds on. */
async function setUp(): Promise<{
  track: PublishedTrack;
  feed: TrackFeed;
  received: string[];
  running: Promise<{ readonly kind: string }>;
  end: () => Promise<void>;
}> {
  const [near, far] = transportPipe();
  const [viewer, publisher] = await Promise.all([
    Session.over(near, { acceptNamespace: () => true }),
    Session.over(far, { role: 'server' }),
  ]);
  const track = new PublishedTrack({}, 1);
  await publisher.publishNamespace(['live', 'demo'], () => track);
  write(track.newGroup(), 0);
  const subscription = await viewer.subscribe(['live', 'demo'], 'video0', { join: true });
  const received: string[] = [];
  const feed = new TrackFeed(subscription, new PlayoutClock(), {
    leadMs: 40,
    receive: (objects) => {
      for (const { item, afterGap } of objects) received.push(`${item.groupId}.${item.objectId}${afterGap ? '!' : ''}`);
    },
  });
  const running = feed.run();
  await settle();
  return {
    track,
    feed,
    received,
    running,
    end: async () => {
      viewer.close();
      publisher.close();
      await running;
    },
  };
}

function write(group: GroupWriter, mediaMs: number): void {
  const properties: Property[] = [{ type: LocProperty.Timestamp, value: (epoch + mediaMs) * 1000 }];
  group.writeObject(new Uint8Array([1, 2, 3]), properties);
}

test('a Track is fed from its current Group’s first Object, in order', async () => {
  const { track, received, end } = await setUp();
  const group = track.newGroup();
  for (let i = 0; i < 3; i++) write(group, 100 + i * 33);
  await settle();
  assert.deepEqual(received, ['1.0', '2.0', '2.1', '2.2']);
  await end();
});

test('Objects without a timestamp are passed over', async () => {
  const { track, received, end } = await setUp();
  const group = track.newGroup();
  group.writeObject(new Uint8Array([1]));
  write(group, 100);
  group.close();
  await settle();
  assert.deepEqual(received, ['1.0', '2.1!'], 'and what needs them is marked');
  await end();
});

test('the end of the Track is the end of the feed', async () => {
  const { track, received, running, end } = await setUp();
  track.close();
  assert.equal((await running).kind, 'done');
  assert.deepEqual(received, ['1.0']);
  await end();
});
