import { defineConfig } from 'vite';
import solid from 'vite-plugin-solid';

// FRESHET_HTTP names the node whose API, HLS and WHIP the development server passes on to.
const node = process.env['FRESHET_HTTP'] ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [solid()],
  worker: { format: 'es' },
  build: {
    // WebTransport and WebCodecs set a newer floor than any syntax used here.
    target: 'es2022',
    // dist/.gitkeep lets the Go embed compile without npm; public/.gitkeep puts it back after each build.
    emptyOutDir: true,
    sourcemap: false,
    assetsInlineLimit: 0,
    // In kB. Only hls.js comes near, which is one file and loaded where MoQ cannot play; everything else stays well below.
    chunkSizeWarningLimit: 650,
  },
  server: {
    host: '127.0.0.1',
    proxy: Object.fromEntries(
      ['/config.json', '/certificate.sha256', '/v1', '/hls', '/whip'].map((path) => [path, { target: node }]),
    ),
  },
});
