// A path whose width can be changed: a TCP proxy that lets through so many
// bits a second toward the client, all connections together.
import { connect, createServer } from 'node:net';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

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
    p.free = 0; // when, on performance's clock, all that was let through has passed
    p.server = createServer((client) => {
      const server = connect(port, host);
      for (const s of [client, server]) {
        p.sockets.add(s);
        s.setNoDelay(true);
        s.on('error', () => {}); // it is closed next
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
          await this.#turn(piece.length);
          if (!to.write(piece)) await Promise.race([once(to, 'drain'), once(to, 'close')]);
        }
      }
      to.end();
    } catch {
      to.destroy(); // whoever was cut off has been told
    }
  }

  /** Waits until so many bytes have passed behind all that wait already. */
  async #turn(bytes) {
    const now = performance.now();
    const perByte = 8000 / this.bitsPerSecond; // ms
    this.free = Math.max(this.free, now - burst * perByte) + bytes * perByte;
    if (this.free > now + 1) await sleep(this.free - now);
  }

  close() {
    for (const s of this.sockets) s.destroy();
    this.server.close();
  }
}
