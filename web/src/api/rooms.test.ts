import assert from 'node:assert/strict';
import { afterEach, test, type TestContext } from 'node:test';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fetchConfig } from './config.ts';
import { ApiError } from './http.ts';
import { fetchRoom, fetchRooms, requestToken } from './rooms.ts';

const browserFetch = globalThis.fetch;
afterEach(() => {
  globalThis.fetch = browserFetch;
});

/** Serves what a page's relative addresses lead to. */
async function serve(t: TestContext, listener: RequestListener): Promise<void> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  globalThis.fetch = (path, init) => browserFetch(new URL(String(path), `http://127.0.0.1:${port}`), init);
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const chunk of request) text += chunk;
  return JSON.parse(text);
}

test('viewers are counted only where the server says so', async (t) => {
  await serve(t, (request, response) => {
    const rooms = [
      { room: 'demo', title: 'Demo', live: true, started_at: '2026-01-02T03:04:05Z', viewers: 0, codecs: ['avc1.64001f'] },
      { room: 'other', title: '', live: true, started_at: '2026-01-02T03:04:05Z', codecs: [] },
      { room: 'quiet', title: 'Quiet', live: false, started_at: '0001-01-01T00:00:00Z', codecs: [] },
      { title: 'without a name' },
      'nonsense',
    ];
    response.end(JSON.stringify(request.url === '/v1/rooms/demo' ? rooms[0] : { rooms }));
  });
  const rooms = await fetchRooms('all');
  assert.deepEqual(
    rooms.map(({ room, title, viewers }) => [room, title, viewers]),
    [
      ['demo', 'Demo', 0],
      ['other', 'other', undefined],
      ['quiet', 'Quiet', undefined],
    ],
  );
  assert.equal(rooms[0]?.startedAt?.toISOString(), '2026-01-02T03:04:05.000Z');
  assert.equal(rooms[2]?.startedAt, undefined);
  assert.deepEqual(await fetchRoom('demo'), rooms[0]);
});

test('a stream key is exchanged for a token, and a refusal says why', async (t) => {
  await serve(t, async (request, response) => {
    const body = await bodyOf(request);
    assert.equal(request.url, '/v1/rooms/caf%C3%A9/tokens');
    if (JSON.stringify(body) === '{}') {
      response.end(JSON.stringify({ token: 'to watch', expires: '2026-01-02T03:04:05Z' }));
      return;
    }
    assert.deepEqual(body, { stream_key: 'wrong' });
    response.writeHead(401, { 'content-type': 'application/problem+json' });
    response.end(JSON.stringify({ detail: 'The stream key is wrong.' }));
  });
  assert.deepEqual(await requestToken('café'), {
    token: 'to watch',
    url: undefined,
    expiresMs: Date.UTC(2026, 0, 2, 3, 4, 5),
  });
  await assert.rejects(requestToken('café', { streamKey: 'wrong' }), { status: 401, message: 'The stream key is wrong.' });
});

test('an answer that is none of ours is an error for people', async (t) => {
  await serve(t, (_request, response) => {
    response.end('<!doctype html>');
  });
  await assert.rejects(fetchConfig(), new ApiError(0, 'The server answered no JSON.'));
  globalThis.fetch = () => Promise.reject(new TypeError('failed to fetch'));
  await assert.rejects(fetchConfig(), { status: 0, message: 'The server cannot be reached.' });
});
