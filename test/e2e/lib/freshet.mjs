// Starts freshet's processes on free loopback ports and stops them again.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const bin = resolve(process.env.E2E_BIN ?? join(import.meta.dirname, '../../../bin'));

/** The stream key that tests publish with where they choose it. */
export const streamKey = 'e2e-stream-key-0123456789';

/** A TCP port of 127.0.0.1 that was free a moment ago. */
export async function freePort() {
  const s = createServer();
  s.listen(0, '127.0.0.1');
  await once(s, 'listening');
  const { port } = s.address();
  s.close();
  await once(s, 'close');
  return port;
}

/** Waits until probe returns something truthy, which it returns. */
export async function eventually(what, probe, timeout = 15_000) {
  const end = Date.now() + timeout;
  let last;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value;
      last = value;
    } catch (err) {
      last = err;
    }
    if (Date.now() > end) throw new Error(`${what} did not come about within ${timeout} ms; last: ${last?.stack ?? JSON.stringify(last)}`);
    await sleep(100);
  }
}

/** A child process whose output is kept for when a test fails. */
export class Child {
  constructor(name, command, args, options = {}) {
    this.name = name;
    this.output = '';
    this.process = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
    this.process.on('error', (err) => this.#note(String(err)));
    this.process.stdin.on('error', () => {}); // it may end before it has read all
    if (!options.rawStdout) this.process.stdout.on('data', (d) => this.#note(d));
    this.process.stderr.on('data', (d) => this.#note(d));
    this.exited = new Promise((done) => this.process.on('close', (code, signal) => done({ code, signal })));
    this.running = true;
    this.exited.then(() => (this.running = false));
  }

  #note(data) {
    this.output = (this.output + data).slice(-200_000);
  }

  /** kill -9, and waits for the end. */
  async kill() {
    if (this.running) this.process.kill('SIGKILL');
    return this.exited;
  }

  /** Asks it to stop; kills it when it does not. */
  async stop(timeout = 5_000) {
    if (this.running) this.process.kill('SIGTERM');
    const ended = await Promise.race([this.exited, sleep(timeout, null, { ref: false })]);
    return ended ?? this.kill();
  }
}

/** One of freshet's processes. */
export class Node extends Child {
  static async start(command, args, { dir, label = command } = {}) {
    const own = !dir;
    dir ??= await mkdtemp(join(tmpdir(), 'freshet-e2e-'));
    const readyFile = join(dir, 'ready.json');
    await rm(readyFile, { force: true });
    const [file, ...first] = command.split(' ');
    const node = new Node(label, join(bin, file), [
      ...first, '--data-dir', dir, '--ready-file', readyFile, '--metrics-addr', '127.0.0.1:0', '--log-level', 'debug', ...args,
    ]);
    node.dir = dir;
    node.ownsDir = own;
    node.args = args;
    node.command = command;
    try {
      node.ready = await eventually(`${label} serves`, async () => {
        if (!node.running) throw new Error(`${label} ended:\n${node.output}`);
        return JSON.parse(await readFile(readyFile, 'utf8'));
      });
    } catch (err) {
      await node.kill();
      throw new Error(`${err.message}\n${node.output}`);
    }
    return node;
  }

  /** A metric of the node, as a number. */
  async metric(name) {
    const text = await (await fetch(`http://${this.ready.metrics}/metrics`)).text();
    const line = text.split('\n').find((l) => l.startsWith(name + ' '));
    return line ? Number(line.split(' ')[1]) : undefined;
  }
}

/**
 * Origin, relay and API as separate processes; pages are told of the relay
 * only.
 */
export class Cluster {
  static async start({ originArgs = [], relayArgs = [] } = {}) {
    const c = new Cluster();
    c.children = [];
    try {
      c.ports = { api: await freePort(), originQuic: await freePort(), originHttp: await freePort(), rtsp: await freePort() };
      c.dirs = {};
      for (const name of ['origin', 'relay', 'api']) c.dirs[name] = await mkdtemp(join(tmpdir(), `freshet-e2e-${name}-`));
      // The API would make this key at its first start; the nodes' own token is minted with it.
      const keyFile = join(c.dirs.api, 'token.key');
      const key = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' });
      await writeFile(keyFile, key, { mode: 0o600 });
      const mint = tool(['token', 'mint', '--key', keyFile, '--put', 'live', '--get', 'live', '--get', 'room']);
      if ((await mint.exited).code !== 0) throw new Error(mint.output);
      const jwks = `http://127.0.0.1:${c.ports.api}/.well-known/jwks.json`;
      c.originArgs = [
        '--token-key', jwks,
        '--quic-addr', `127.0.0.1:${c.ports.originQuic}`, '--https-addr', '127.0.0.1:0', '--http-addr', `127.0.0.1:${c.ports.originHttp}`,
        '--webrtc-addr', '127.0.0.1:0', '--rtsp-addr', `127.0.0.1:${c.ports.rtsp}`,
        '--admission-url', `http://127.0.0.1:${c.ports.api}/v1/admission`, ...originArgs,
      ];
      await c.startOrigin();
      const upstream = `moqt://${c.origin.ready.quic};sha256=${c.origin.ready.certificate_sha256};token=${mint.output.trim()}`;
      c.relay = c.#keep(await Node.start('freshet-relay', [
        '--quic-addr', '127.0.0.1:0', '--https-addr', '127.0.0.1:0', '--http-addr', '127.0.0.1:0', '--upstream', upstream,
        '--token-key', jwks, ...relayArgs,
      ], { dir: c.dirs.relay }));
      c.api = c.#keep(await Node.start('freshet-api', [
        '--quic-addr', '127.0.0.1:0', '--https-addr', '127.0.0.1:0', '--http-addr', `127.0.0.1:${c.ports.api}`, '--upstream', upstream,
        '--moq-url', `https://${c.relay.ready.quic};sha256=${c.relay.ready.certificate_sha256}`, '--hls-url', `http://${c.relay.ready.http}/hls/`,
      ], { dir: c.dirs.api }));
      c.key = c.api.ready.stream_key;
    } catch (err) {
      await c.stop();
      throw err;
    }
    return c;
  }

  #keep(child) {
    this.children.push(child);
    return child;
  }

  async startOrigin() {
    this.origin = this.#keep(await Node.start('freshet-origin', this.originArgs, { dir: this.dirs.origin }));
  }

  get page() {
    return `http://127.0.0.1:${this.ports.api}`;
  }
  get rtsp() {
    return `rtsp://demo:${this.key}@127.0.0.1:${this.ports.rtsp}/demo`;
  }
  get whip() {
    return `http://127.0.0.1:${this.ports.originHttp}/whip/demo`;
  }
  get hls() {
    return `http://${this.relay.ready.http}/hls/demo/index.m3u8`;
  }

  /** Output of all processes, for a failed test. */
  get output() {
    return this.children.map((c) => `===== ${c.name}\n${c.output}`).join('\n');
  }

  async stop() {
    for (const c of this.children.reverse()) await c.stop();
    for (const d of Object.values(this.dirs ?? {})) await rm(d, { recursive: true, force: true });
  }
}

/** Runs a tool of freshet. */
export function tool(args, options) {
  return new Child(`freshet ${args[0]}`, join(bin, 'freshet'), args, options);
}
