// `freshet up` as a new user meets it: one process, no configuration.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { rm } from 'node:fs/promises';
import { Node, tool } from './lib/freshet.mjs';
import { Viewer, launch } from './lib/browser.mjs';

describe('freshet up', () => {
  let node, browser;
  before(async () => {
    node = await Node.start('freshet up', [
      '--quic-addr', '127.0.0.1:0', '--https-addr', '127.0.0.1:0', '--http-addr', '127.0.0.1:0', '--webrtc-addr', '127.0.0.1:0', '--rtsp-addr', '127.0.0.1:0',
    ]);
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await node?.stop();
    if (node) await rm(node.dir, { recursive: true, force: true });
  });

  const page = () => `http://${node.ready.http}`;

  test('it says where everything is', () => {
    for (const word of ['Watch', 'Studio', 'WHIP', 'RTSP', 'LL-HLS', 'MoQ', 'Stream key', node.ready.stream_key]) assert.ok(node.output.includes(word), word);
    assert.equal(node.ready.room, 'demo');
  });

  test("the README's publisher is seen on the page that waits for it", async (t) => {
    const viewer = await Viewer.open(browser, `${page()}/r/demo`);
    t.after(() => viewer.close());
    const begun = Date.now();
    const publisher = tool(['publish', '--whip', `${page()}/whip/demo`, '--token', node.ready.stream_key, 'testsrc']);
    t.after(() => publisher.stop());
    await viewer.playing();
    t.diagnostic(`seen ${Date.now() - begun} ms after the publisher's start`);
    const { rooms } = await (await fetch(`${page()}/v1/rooms?live=1`)).json();
    assert.equal(rooms[0].viewers, 1);
  });

  test('a room published by MoQ is watched by LL-HLS', async (t) => {
    const { token } = await (await fetch(`${page()}/v1/rooms/demo/tokens`, { method: 'POST', headers: { Authorization: `Bearer ${node.ready.stream_key}` } })).json();
    const publisher = tool(['publish', '--moq', `moqt://${node.ready.quic}`, '--tls-fingerprint', node.ready.certificate_sha256, '--token', token, 'testsrc']);
    t.after(() => publisher.stop());
    const viewer = await Viewer.open(browser, `${page()}/r/demo?transport=hls`);
    t.after(() => viewer.close());
    const state = await viewer.playing(40_000);
    assert.equal(state.transport, 'hls');
    assert.equal(state.height, 360);
  });

  test('it ends in order, and its successor knows the room and its key', async () => {
    const { code } = await node.stop(8_000);
    assert.equal(code, 0, node.output);
    assert.doesNotMatch(node.output, /panic|DATA RACE|level=ERROR/);
    const { stream_key: key } = node.ready;
    const again = await Node.start('freshet up', node.args, { dir: node.dir });
    assert.equal(again.ready.stream_key, key);
    assert.equal((await again.stop()).code, 0);
  });
});
