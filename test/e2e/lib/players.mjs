// Foreign players: pages with hls.js and Shaka in three browsers, mpv, ffmpeg.
// Each tells which pictures it painted, and when.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { delimiter, join, resolve } from 'node:path';
import { tmpdir } from 'node:os';
import { readCounter } from './counter.mjs';
import { Child, eventually, freePort } from './freshet.mjs';
import { launch, open } from './browser.mjs';

const root = resolve(import.meta.dirname, '..');
const files = {
  '/hlsjs.html': ['players/hlsjs.html', 'text/html'],
  '/shaka.html': ['players/shaka.html', 'text/html'],
  '/painted.js': ['players/painted.js', 'text/javascript'],
  '/vendor/hls.mjs': ['node_modules/hls.js/dist/hls.mjs', 'text/javascript'],
  '/vendor/shaka.js': ['node_modules/shaka-player/dist/shaka-player.compiled-es2021.js', 'text/javascript'],
};

/** Serves the players' pages, from an origin that is not the media's. */
export class Pages {
  static async start() {
    const p = new Pages();
    p.server = createServer(async (request, response) => {
      const file = files[new URL(request.url, 'http://localhost').pathname];
      if (!file) return response.writeHead(404).end();
      response.writeHead(200, { 'Content-Type': file[1] }).end(await readFile(join(root, file[0])));
    });
    p.server.listen(0, '127.0.0.1');
    await once(p.server, 'listening');
    return p;
  }

  /** The page of a player, hlsjs or shaka, that plays src. */
  url(player, src, config = {}) {
    return `http://127.0.0.1:${this.server.address().port}/${player}.html?${new URLSearchParams({ src, config: JSON.stringify(config) })}`;
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

/** Whether a command is there; under CI it must be. */
export async function installed(...commands) {
  for (const command of commands) {
    const places = command.includes('/') ? [command] : process.env.PATH.split(delimiter).map((dir) => join(dir, command));
    const found = await Promise.any(places.map((p) => access(p))).then(() => true, () => false);
    if (found) continue;
    if (process.env.CI === 'true') throw new Error(`${command} is not installed`);
    return false;
  }
  return true;
}

/** A page of a player in some browser. `evaluate` runs a function of no arguments in it. */
class Page {
  constructor(name, evaluate, screenshot, close) {
    Object.assign(this, { name, evaluate, screenshot, close });
  }

  /** What has been painted so far, and what went wrong. */
  async report() {
    const seen = await this.evaluate(() => window.player);
    return { ...seen, samples: seen.samples.map(([at, counter, clock, width]) => ({ at, counter, clock, width })) };
  }
}

/** Opens a page in a Chromium that `launch` of browser.mjs started. */
export async function inChromium(browser, url, name = 'Chromium') {
  const page = await open(browser, url);
  return new Page(name, (f) => page.evaluate(f), (path) => page.screenshot({ path }), () => page.context().close());
}

/** Opens a page in a Firefox of its own, by WebDriver BiDi. */
export async function inFirefox(url, name = 'Firefox') {
  const { default: puppeteer } = await import('puppeteer-core');
  const browser = await puppeteer.launch({
    browser: 'firefox', executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr', headless: true,
    extraPrefsFirefox: { 'media.autoplay.default': 0 },
  });
  try {
    const page = await browser.newPage();
    await page.goto(url);
    return new Page(name, (f) => page.evaluate(f), (path) => page.screenshot({ path }), () => browser.close());
  } catch (err) {
    await browser.close();
    throw err;
  }
}

/** A screen in memory for programs that need one. */
export class Screen {
  static async start(size) {
    const s = new Screen();
    // The server picks a free number and writes it to descriptor 3.
    s.child = new Child('Xvfb', 'Xvfb', ['-displayfd', '3', '-screen', '0', `${size}x24`, '-nolisten', 'tcp', '-noreset'], { stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
    let number = '';
    s.child.process.stdio[3].on('data', (d) => (number += d));
    await eventually('the screen is up', () => {
      if (!s.child.running) throw new Error(s.child.output);
      return number.endsWith('\n');
    });
    s.name = `:${number.trim()}`;
    return s;
  }

  get env() {
    return { ...process.env, DISPLAY: this.name };
  }

  stop() {
    return this.child.stop();
  }
}

/** Where Debian has WebKitGTK's MiniBrowser. */
export const miniBrowser = process.env.MINIBROWSER ?? `/usr/lib/${{ x64: 'x86_64', arm64: 'aarch64' }[process.arch] ?? process.arch}-linux-gnu/webkit2gtk-4.1/MiniBrowser`;

/** Opens a page in WebKitGTK's MiniBrowser, by WebDriver. */
export async function inWebKit(url, name = 'WebKitGTK') {
  const screen = await Screen.start('640x480');
  const port = await freePort();
  const driver = new Child('WebKitWebDriver', 'WebKitWebDriver', ['--host=127.0.0.1', `--port=${port}`], {
    env: { ...screen.env, WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1', WEBKIT_FORCE_SANDBOX: '0', LIBGL_ALWAYS_SOFTWARE: '1' },
  });
  let session;
  const call = async (method, path, body) => {
    const r = await fetch(`http://127.0.0.1:${port}${path}`, { method, body: body && JSON.stringify(body), headers: { 'Content-Type': 'application/json' } });
    const { value } = await r.json();
    if (!r.ok) throw new Error(`WebDriver ${path}: ${value.error}: ${value.message}\n${driver.output.slice(-2000)}`);
    return value;
  };
  const close = async () => {
    if (session) await call('DELETE', session).catch(() => {});
    await driver.stop();
    await screen.stop();
  };
  try {
    await eventually('WebKitWebDriver answers', () => call('GET', '/status'));
    const { sessionId } = await call('POST', '/session', {
      capabilities: { alwaysMatch: { 'webkitgtk:browserOptions': { binary: miniBrowser, args: ['--automation'] } } },
    });
    session = `/session/${sessionId}`;
    await call('POST', `${session}/url`, { url });
    return new Page(
      name,
      (f) => call('POST', `${session}/execute/sync`, { script: `return (${f})()`, args: [] }),
      (path) => screenshot(screen, '640x480', path),
      close,
    );
  } catch (err) {
    await close();
    throw err;
  }
}

/** Takes a picture of a screen in memory. */
async function screenshot(screen, size, path) {
  const grab = new Child('ffmpeg grab', 'ffmpeg', ['-hide_banner', '-loglevel', 'error', '-nostdin', '-f', 'x11grab', '-video_size', size, '-i', screen.name, '-frames:v', '1', '-y', path]);
  if ((await grab.exited).code !== 0) throw new Error(grab.output);
}

/** Reads pictures of width x height from a stream of grey ones, and when each came. */
class Pictures {
  constructor(stream, width, height) {
    this.samples = [];
    this.unreadable = 0;
    const size = width * height;
    let rest = Buffer.alloc(0);
    stream.on('data', (data) => {
      rest = Buffer.concat([rest, data]);
      for (; rest.length >= size; rest = rest.subarray(size)) {
        const counter = readCounter(rest, width);
        if (counter === null) this.unreadable++;
        else this.samples.push({ at: Date.now(), counter, clock: readCounter(rest, width, 4), width });
      }
    });
  }
}

/** mpv in a window as large as its screen, which is what is read. */
export async function inMpv(url, { width, height, args = [] }) {
  const screen = await Screen.start(`${width}x${height}`);
  const player = new Child('mpv', 'mpv', [
    '--no-config', '--no-terminal', '--msg-level=all=warn', '--vo=x11', '--ao=null', '--no-osc', '--no-osd-bar', '--osd-level=0',
    '--no-border', `--geometry=${width}x${height}+0+0`, '--cursor-autohide=always', '--force-window=no', ...args, url,
  ], { env: screen.env });
  const eye = new Child('ffmpeg grab', 'ffmpeg', [
    '-hide_banner', '-loglevel', 'error', '-nostdin', '-f', 'x11grab', '-draw_mouse', '0', '-framerate', '30', '-video_size', `${width}x${height}`, '-i', screen.name,
    '-vf', 'format=gray', '-fps_mode', 'passthrough', '-f', 'rawvideo', '-',
  ], { rawStdout: true });
  const pictures = new Pictures(eye.process.stdout, width, height);
  return {
    name: 'mpv',
    screenshot: (path) => screenshot(screen, `${width}x${height}`, path),
    report: async () => ({ samples: [...pictures.samples], events: [], errors: player.output.split('\n').filter(Boolean), ended: !player.running, unreadable: pictures.unreadable }),
    close: async () => {
      await eye.kill();
      await player.stop();
      await screen.stop();
    },
  };
}

/** ffmpeg, which decodes at the pace of the pictures' times. */
export async function inFfmpeg(url, { width, height, args = [] }) {
  const player = new Child('ffmpeg', 'ffmpeg', [
    '-hide_banner', '-nostdin', '-loglevel', 'warning', '-re', ...args, '-i', url, '-map', '0:v:0', '-vf', 'format=gray', '-fps_mode', 'passthrough', '-f', 'rawvideo', '-',
    '-map', '0:a:0', '-f', 'null', '-',
  ], { rawStdout: true });
  const pictures = new Pictures(player.process.stdout, width, height);
  return {
    name: 'ffmpeg',
    report: async () => ({ samples: [...pictures.samples], events: [], errors: player.output.split('\n').filter(Boolean), ended: !player.running, unreadable: pictures.unreadable }),
    close: () => player.kill(),
  };
}
