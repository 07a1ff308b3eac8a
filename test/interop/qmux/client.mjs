// The foreign end: npm @moq/qmux as a client of freshet. It is called with a
// URL and the draft of QMux, does what qmux_test.go expects one step after the
// other, and prints what it saw as one line of JSON.
//
// Node 20 lacks Promise.withResolvers, which the package uses.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new Promise((a, b) => { [resolve, reject] = [a, b]; });
  return { promise, resolve, reject };
};
const { default: Session, StreamError } = await import('@moq/qmux');

const [url, version] = process.argv.slice(2);
const seen = {};

async function all(readable) {
  const parts = [];
  for await (const part of readable) parts.push(part);
  return Buffer.concat(parts);
}

async function next(reader) {
  const { value, done } = await reader.read();
  if (done) throw new Error('no more streams');
  return value;
}

const code = (promise) => promise.then(() => 'no error', (err) => err.streamErrorCode ?? String(err));

const session = new Session(url, { protocols: ['moqt-18'], versions: { 'moqt-18': version }, requireProtocol: true });
await session.ready;
seen.protocol = session.protocol;
const unis = session.incomingUnidirectionalStreams.getReader();
const bidis = session.incomingBidirectionalStreams.getReader();

// Echo of a bidirectional stream.
{
  const sent = Buffer.alloc(300_000, 'freshet ');
  const { readable, writable } = await session.createBidirectionalStream();
  const writer = writable.getWriter();
  const got = all(readable);
  await writer.write(sent);
  await writer.close();
  seen.echo = (await got).equals(sent);
}
// Three times our window, up; four times its window, down.
{
  const writer = (await session.createUnidirectionalStream()).getWriter();
  for (let i = 0; i < 48; i++) await writer.write(Buffer.alloc(64 << 10, i));
  await writer.close();
  const down = await all(await next(unis));
  seen.down = down.length;
  seen.downIntact = down.every((b, i) => b === (i >> 16 & 0xff));
}
// Resets, either way.
{
  const writable = await session.createUnidirectionalStream();
  const writer = writable.getWriter();
  await writer.write(Buffer.from('x'));
  await writer.abort(new StreamError(26));
  const stream = await next(unis);
  seen.reset = await code(all(stream));
}
// STOP_SENDING, either way.
{
  const writer = (await session.createUnidirectionalStream()).getWriter();
  await writer.write(Buffer.from('x'));
  seen.stop = await code(writer.closed);
  const reader = (await next(unis)).getReader();
  await reader.read();
  await reader.cancel(new StreamError(29));
}
// More streams than are allowed at one time.
for (let i = 0; i < 300; i++) {
  const writer = (await session.createUnidirectionalStream()).getWriter();
  await writer.write(Buffer.from([i & 0xff]));
  await writer.close();
}
// A stream of the server's.
{
  const { readable, writable } = await next(bidis);
  const text = (await all(readable)).toString();
  const writer = writable.getWriter();
  await writer.write(Buffer.from(text.toUpperCase()));
  await writer.close();
}
if (version !== 'qmux-00') {
  const reader = session.datagrams.readable.getReader();
  const writer = session.datagrams.writable.getWriter();
  await writer.write(Buffer.from('ping'));
  seen.datagram = Buffer.from((await reader.read()).value).toString();
}
// The server says when, and which end closes.
const last = (await all(await next(unis))).toString();
if (last === 'you close') session.close({ closeCode: 31, reason: 'done' });
else await (await session.createBidirectionalStream()).writable.close(); // read it
seen.closed = await session.closed;
console.log(JSON.stringify(seen));
