import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestError } from '../errors.ts';
import type { Group, MoqObject, Subscription } from '../model.ts';
import { transportPipe } from '../transport/pipe.ts';
import { PublishDoneCode, RequestCode, SessionCode } from '../wire/codes.ts';
import { PublishedTrack } from './published.ts';
import { Session } from './session.ts';

/** A subscribing session and a publishing one, joined in memory. */
async function pair(): Promise<{ subscriber: Session; publisher: Session }> {
  const [a, b] = transportPipe();
  const [subscriber, publisher] = await Promise.all([
    Session.over(a, { role: 'server', acceptNamespace: (namespace) => namespace[0] === 'live' }),
    Session.over(b, { role: 'client', token: 'secret' }),
  ]);
  return { subscriber, publisher };
}

const text = new TextDecoder();
const bytes = (s: string): Uint8Array => new TextEncoder().encode(s);

async function nextGroup(groups: AsyncIterator<Group>): Promise<Group> {
  const { value, done } = await groups.next();
  assert.ok(!done, 'the subscription ended');
  return value;
}

async function objectsOf(group: Group): Promise<MoqObject[]> {
  const objects: MoqObject[] = [];
  for await (const object of group) objects.push(object);
  return objects;
}

async function withRoom(
  run: (room: { subscriber: Session; publisher: Session; track: PublishedTrack; wishes: () => number }) => Promise<void>,
): Promise<void> {
  const { subscriber, publisher } = await pair();
  let wished = 0;
  const track = new PublishedTrack({ priority: 7, onNewGroup: () => wished++ }, 100);
  await publisher.publishNamespace(['live', 'demo'], (name) => (name === 'video0' ? track : undefined));
  try {
    await run({ subscriber, publisher, track, wishes: () => wished });
  } finally {
    subscriber.close();
    await publisher.closed;
  }
}

test('a subscription that joins starts at the current Group\'s first Object', async () => {
  await withRoom(async ({ subscriber, track }) => {
    const first = track.newGroup();
    first.writeObject(bytes('key'), [{ type: 0x10, value: 1 }]);
    first.writeObject(bytes('delta 1'));
    const subscription = await subscriber.subscribe(['live', 'demo'], 'video0', { join: true });
    assert.deepEqual(subscription.largest, { group: 100, object: 1 });
    const groups = subscription[Symbol.asyncIterator]();
    const group = await nextGroup(groups);
    assert.equal(group.id, 100);
    first.writeObject(bytes('delta 2'));
    first.close();
    const objects = await objectsOf(group);
    assert.deepEqual(
      objects.map((object) => [object.objectId, text.decode(object.payload)]),
      [
        [0, 'key'],
        [1, 'delta 1'],
        [2, 'delta 2'],
      ],
    );
    assert.deepEqual(objects[0]?.properties, [{ type: 0x10, value: 1 }]);
    assert.deepEqual(objects.map((object) => object.priority), [7, 7, 7]);
    assert.deepEqual(group.end, { kind: 'complete' });
  });
});

test('a subscription that does not join starts at the next Object', async () => {
  await withRoom(async ({ subscriber, track }) => {
    const writer = track.newGroup();
    writer.writeObject(bytes('missed'));
    const subscription = await subscriber.subscribe(['live', 'demo'], 'video0');
    writer.writeObject(bytes('seen'));
    writer.close();
    const group = await nextGroup(subscription[Symbol.asyncIterator]());
    assert.deepEqual((await objectsOf(group)).map((object) => object.objectId), [1]);
  });
});

test('a joined Track without Objects starts with its first Group', async () => {
  await withRoom(async ({ subscriber, track }) => {
    const subscription = await subscriber.subscribe(['live', 'demo'], 'video0', { join: true });
    assert.equal(subscription.largest, undefined);
    const writer = track.newGroup();
    writer.writeObject(bytes('a'));
    writer.close();
    const group = await nextGroup(subscription[Symbol.asyncIterator]());
    assert.deepEqual((await objectsOf(group)).map((object) => text.decode(object.payload)), ['a']);
  });
});

test('PUBLISH_DONE ends the iteration after the last Object', async () => {
  await withRoom(async ({ subscriber, track }) => {
    const subscription = await subscriber.subscribe(['live', 'demo'], 'video0');
    for (const name of ['a', 'b', 'c']) track.newGroup().writeObject(bytes(name));
    track.close(PublishDoneCode.TrackEnded, 'over');
    const seen: string[] = [];
    for await (const group of subscription) {
      for await (const object of group) seen.push(text.decode(object.payload));
      assert.equal(group.end?.kind, 'complete');
    }
    assert.deepEqual(seen, ['a', 'b', 'c']);
    assert.deepEqual(await subscription.closed, { kind: 'done', code: PublishDoneCode.TrackEnded, reason: 'over' });
  });
});

test('a Group that is skipped ends, and the next one is whole', async () => {
  await withRoom(async ({ subscriber, track }) => {
    const subscription = await subscriber.subscribe(['live', 'demo'], 'video0');
    const groups = subscription[Symbol.asyncIterator]();
    const writer = track.newGroup();
    // More than flow control lets through, so that the stream is still open when it is skipped.
    for (let i = 0; i < 8; i++) writer.writeObject(new Uint8Array(1 << 20));
    const group = await nextGroup(groups);
    for await (const object of group) {
      assert.equal(object.payload.length, 1 << 20);
      break;
    }
    assert.deepEqual(group.end, { kind: 'skipped' });
    track.newGroup().writeObject(bytes('next'));
    track.close();
    const next = await nextGroup(groups);
    assert.equal(next.id, 101);
    assert.deepEqual((await objectsOf(next)).map((object) => text.decode(object.payload)), ['next']);
    assert.equal(subscriber.stats().groupsSkipped, 1);
  });
});

test('a consumer that takes no Groups loses the oldest', async () => {
  await withRoom(async ({ subscriber, track }) => {
    const subscription = await subscriber.subscribe(['live', 'demo'], 'video0');
    for (let i = 0; i < 40; i++) track.newGroup().writeObject(bytes(String(i)));
    track.close();
    await subscription.closed;
    const seen: number[] = [];
    for await (const group of subscription) seen.push(group.id);
    assert.equal(seen.length, 16);
    assert.equal(seen.at(-1), 139);
  });
});

test('requests are refused with their code', async () => {
  await withRoom(async ({ subscriber, publisher }) => {
    const refused = (code: number) => (error: unknown) => error instanceof RequestError && error.code === code;
    await assert.rejects(subscriber.subscribe(['live', 'demo'], 'nothing'), refused(RequestCode.DoesNotExist));
    await assert.rejects(subscriber.subscribe(['live', 'other'], 'video0'), refused(RequestCode.DoesNotExist));
    await subscriber.subscribe(['live', 'demo'], 'video0');
    // "it MUST fail that request with a DUPLICATE_SUBSCRIPTION error" (section 5.1).
    await assert.rejects(subscriber.subscribe(['live', 'demo'], 'video0'), refused(RequestCode.DuplicateSubscription));
    await assert.rejects(
      publisher.publishNamespace(['dead', 'demo'], () => undefined),
      refused(RequestCode.Uninterested),
    );
    const events = subscriber.subscribeNamespace(['live'])[Symbol.asyncIterator]();
    await assert.rejects(events.next(), refused(RequestCode.NotSupported));
  });
});

test('a wish for a new Group reaches the publisher once it is for a newer Group', async () => {
  await withRoom(async ({ subscriber, track, wishes }) => {
    track.newGroup().writeObject(bytes('a'));
    const subscription = await subscriber.subscribe(['live', 'demo'], 'video0', { newGroup: true });
    assert.equal(wishes(), 1);
    await subscription.update({ newGroup: true });
    assert.equal(wishes(), 2);
  });
});

test('a paused subscription gets nothing until it is resumed', async () => {
  await withRoom(async ({ subscriber, track }) => {
    const subscription = await subscriber.subscribe(['live', 'demo'], 'video0');
    await subscription.update({ forward: false });
    track.newGroup().writeObject(bytes('unseen'));
    await subscription.update({ forward: true });
    track.newGroup().writeObject(bytes('seen'));
    track.close();
    const group = await nextGroup(subscription[Symbol.asyncIterator]());
    assert.deepEqual((await objectsOf(group)).map((object) => text.decode(object.payload)), ['seen']);
  });
});

test('closing a subscription tells the publisher', async () => {
  await withRoom(async ({ subscriber, publisher, track }) => {
    const subscription = await subscriber.subscribe(['live', 'demo'], 'video0');
    assert.equal(publisher.stats().publications, 1);
    subscription.close();
    assert.deepEqual(await subscription.closed, { kind: 'closed', code: 0, reason: '' });
    // A new subscription to the same Track is possible once the old one is gone.
    await assert.doesNotReject(async () => {
      for (;;) {
        try {
          return await subscriber.subscribe(['live', 'demo'], 'video0');
        } catch (error) {
          if (!(error instanceof RequestError) || error.code !== RequestCode.DuplicateSubscription) throw error;
        }
      }
    });
    assert.equal(track.subscribers, 1);
  });
});

test('the end of the session reaches everything that is open', async () => {
  const { subscriber, publisher } = await pair();
  const track = new PublishedTrack({}, 1);
  await publisher.publishNamespace(['live'], () => track);
  const subscription: Subscription = await subscriber.subscribe(['live'], 't');
  const groups = subscription[Symbol.asyncIterator]();
  publisher.close(SessionCode.GoAwayTimeout, 'moved');
  assert.deepEqual(await subscriber.closed, { code: SessionCode.GoAwayTimeout, reason: 'moved', remote: true });
  assert.deepEqual(await subscription.closed, { kind: 'session', code: SessionCode.GoAwayTimeout, reason: 'moved' });
  assert.equal((await groups.next()).done, true);
  assert.equal(track.subscribers, 0);
  await assert.rejects(subscriber.subscribe(['live'], 't'), { name: 'SessionError', code: SessionCode.GoAwayTimeout });
});
