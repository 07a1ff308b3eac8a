import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GroupSequencer, type Released, type Sequenced } from './sequencer.ts';

function item(groupId: number, objectId: number): Sequenced {
  return { groupId, objectId, mediaMs: groupId * 1000 + objectId * 33 };
}

function setUp(): { sequencer: GroupSequencer<Sequenced>; skipped: number[] } {
  const skipped: number[] = [];
  return { sequencer: new GroupSequencer<Sequenced>((id) => skipped.push(id)), skipped };
}

function ids(released: readonly Released<Sequenced>[]): string[] {
  return released.map(({ item, afterGap }) => `${item.groupId}.${item.objectId}${afterGap ? '!' : ''}`);
}

test('Objects pass through as they come', () => {
  const { sequencer } = setUp();
  sequencer.open(5);
  sequencer.push(item(5, 0));
  assert.deepEqual(ids(sequencer.take(undefined)), ['5.0']);
  sequencer.push(item(5, 1));
  sequencer.push(item(5, 2));
  assert.deepEqual(ids(sequencer.take(undefined)), ['5.1', '5.2']);
  assert.deepEqual(sequencer.take(undefined), []);
});

test('a newer Group waits for the older to end', () => {
  const { sequencer, skipped } = setUp();
  sequencer.open(5);
  sequencer.push(item(5, 0));
  sequencer.open(6);
  sequencer.push(item(6, 0));
  assert.deepEqual(ids(sequencer.take(5500)), ['5.0']);
  sequencer.push(item(5, 1));
  sequencer.end(5);
  assert.deepEqual(ids(sequencer.take(5500)), ['5.1', '6.0']);
  assert.deepEqual(skipped, []);
});

test('when the newer Group is due, the older is given up', () => {
  const { sequencer, skipped } = setUp();
  sequencer.open(5);
  sequencer.push(item(5, 0));
  sequencer.open(6);
  sequencer.push(item(6, 0));
  assert.deepEqual(ids(sequencer.take(5999)), ['5.0']);
  assert.deepEqual(ids(sequencer.take(6000)), ['6.0']);
  assert.deepEqual(skipped, [5]);
  assert.equal(sequencer.skipped, 1);
  sequencer.push(item(5, 1));
  assert.deepEqual(sequencer.take(9000), []);
});

test('two newer Groups end the wait whatever the time', () => {
  const { sequencer, skipped } = setUp();
  for (const id of [5, 6, 7]) {
    sequencer.open(id);
    sequencer.push(item(id, 0));
  }
  assert.deepEqual(ids(sequencer.take(undefined)), ['5.0', '6.0']);
  assert.deepEqual(skipped, [5]);
});

test('a Group that comes after a newer one was released is skipped', () => {
  const { sequencer, skipped } = setUp();
  sequencer.open(6);
  sequencer.push(item(6, 0));
  sequencer.take(undefined);
  assert.equal(sequencer.open(5), false);
  assert.deepEqual(skipped, [5]);
});

test('a Group that is open but empty does not lead', () => {
  const { sequencer, skipped } = setUp();
  sequencer.open(5);
  sequencer.open(6);
  sequencer.push(item(6, 0));
  assert.deepEqual(ids(sequencer.take(undefined)), ['6.0']);
  assert.deepEqual(skipped, [5]);
});

test('Objects of interleaved Subgroups come out by their ID', () => {
  const { sequencer } = setUp();
  sequencer.open(5);
  for (const id of [0, 2, 4, 1]) sequencer.push(item(5, id));
  assert.deepEqual(ids(sequencer.take(undefined)), ['5.0', '5.1', '5.2']);
  sequencer.push(item(5, 3));
  assert.deepEqual(ids(sequencer.take(undefined)), ['5.3', '5.4']);
});

test('a missing Object is given up when a later one is due, when many wait, or when the Group ended', () => {
  const due = setUp().sequencer;
  due.open(5);
  due.push(item(5, 0));
  due.push(item(5, 2));
  assert.deepEqual(ids(due.take(5065)), ['5.0']);
  assert.deepEqual(ids(due.take(5066)), ['5.2!']);
  due.push(item(5, 3));
  assert.deepEqual(ids(due.take(5066)), ['5.3!'], 'all that follows in the Group is behind the gap');

  const many = setUp().sequencer;
  many.open(5);
  for (let id = 1; id <= 8; id++) many.push(item(5, id));
  assert.deepEqual(many.take(undefined), []);
  many.push(item(5, 9));
  assert.equal(many.take(undefined).length, 9);

  const ended = setUp().sequencer;
  ended.open(5);
  ended.push(item(5, 3));
  ended.end(5);
  assert.deepEqual(ids(ended.take(undefined)), ['5.3!']);
});

test('after a gap the next Group is whole again', () => {
  const { sequencer } = setUp();
  sequencer.open(5);
  sequencer.push(item(5, 1));
  sequencer.end(5);
  sequencer.open(6);
  sequencer.push(item(6, 0));
  assert.deepEqual(ids(sequencer.take(undefined)), ['5.1!', '6.0']);
});
