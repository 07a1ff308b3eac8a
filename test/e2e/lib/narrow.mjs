// A path whose width can be changed: a TCP proxy that lets through so many
// bits a second toward the client, all connections together.
import { connect, createServer } from 'node:net';
import { once } from 'node:events';

/** Bytes that are let through at a time. */
const quantum = 4096;
/** Bytes that may go out at once after a silence. */
const burst = 16_384;

export class NarrowPath {
  /** Opens a way to a "host:port", as wide as it can be. */
  static async open(target) {
    const p = new NarrowPath();
    const [host, port] = [target.slice(0, target.lastIndexOf(':')), Number(target.slice(target.lastIndexOf(':') + 1))];
    p.bitsPerSecond = Infinity;
    p.sockets = new Set();
    p.waiting = []; // {send, size}: one for each connection that has something for the client
    p.allowance = burst;
    p.refilled = performance.now();
    p.timer = setInterval(() => p.#pass(), 5);
    p.server = createServer((client) => {
      const server = connect(port, host);
      for (const s of [client, server]) {
        p.sockets.add(s);
        s.setNoDelay(true);
        s.on('error', () => {});
        s.on('close', () => {
          p.sockets.delete(s);
          client.destroy();
          server.destroy();
        });
      }
      client.pipe(server);
      p.#forward(server, client);
    });
    p.server.listen(0, '127.0.0.1');
    await once(p.server, 'listening');
    p.address = `127.0.0.1:${p.server.address().port}`;
    return p;
  }

  async #forward(from, to) {
    try {
      for await (const data of from) {
        for (let at = 0; at < data.length; at += quantum) {
          const piece = data.subarray(at, at + quantum);
          if (this.bitsPerSecond !== Infinity) await new Promise((send) => this.waiting.push({ send, size: piece.length }));
          if (!to.write(piece)) await Promise.race([once(to, 'drain'), once(to, 'close')]);
        }
      }
      to.end();
    } catch {
      to.destroy(); // whoever was cut off has been told
    }
  }

  /** Lets the connections send in turns. */
  #pass() {
    const now = performance.now();
    const rate = this.bitsPerSecond / 8000; // bytes a millisecond
    this.allowance = rate === Infinity ? Infinity : Math.min(burst, (this.allowance === Infinity ? 0 : this.allowance) + (now - this.refilled) * rate);
    this.refilled = now;
    while (this.waiting.length > 0 && this.allowance > 0) {
      const { send, size } = this.waiting.shift();
      this.allowance -= size;
      send();
    }
  }

  close() {
    clearInterval(this.timer);
    for (const s of this.sockets) s.destroy();
    for (const { send } of this.waiting.splice(0)) send();
    this.server.close();
  }
}
