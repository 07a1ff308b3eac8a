// WHIP publishers: a Chromium page, and libdatachannel as OBS uses it.
import nodeDataChannel from 'node-datachannel';
import { open } from './browser.mjs';
import { Child } from './freshet.mjs';
import { testSource, h264, opus } from './ffmpeg.mjs';

/**
 * Publishes a canvas whose counter is Date.now() modulo 2^32, and a tone, from
 * a page of `browser`. `codec` is a MIME type such as video/VP8.
 */
export async function publishFromChromium(browser, { pageUrl, whip, key, codec, tone = 440 }) {
  const page = await open(browser, pageUrl);
  const answer = await page.evaluate(async ({ whip, key, codec, tone }) => {
    const canvas = new OffscreenCanvas(640, 360);
    const visible = document.createElement('canvas');
    visible.width = 640;
    visible.height = 360;
    const g = canvas.getContext('2d');
    const out = visible.getContext('2d');
    const draw = () => {
      const b = 16;
      const value = Date.now() % 2 ** 32;
      g.fillStyle = `hsl(${(value / 50) % 360} 60% 45%)`;
      g.fillRect(0, 0, 640, 360);
      for (let i = 0; i < 32; i++) {
        const bit = Math.floor(value / 2 ** (31 - i)) % 2;
        g.fillStyle = bit ? '#fff' : '#000';
        g.fillRect((4 + i) * b, b, b, b);
        g.fillStyle = bit ? '#000' : '#fff';
        g.fillRect((4 + i) * b, 2 * b, b, b);
      }
      out.drawImage(canvas, 0, 0);
    };
    setInterval(draw, 1000 / 30);
    draw();
    const stream = visible.captureStream(30);
    const audio = new AudioContext({ sampleRate: 48000 });
    const oscillator = new OscillatorNode(audio, { frequency: tone });
    const sink = audio.createMediaStreamDestination();
    oscillator.connect(new GainNode(audio, { gain: 0.3 })).connect(sink);
    oscillator.start();
    const pc = new RTCPeerConnection();
    const video = pc.addTransceiver(stream.getVideoTracks()[0], { direction: 'sendonly', sendEncodings: [{ maxBitrate: 1_500_000 }] });
    const codecs = RTCRtpSender.getCapabilities('video').codecs;
    video.setCodecPreferences([
      ...codecs.filter((c) => c.mimeType.toLowerCase() === codec.toLowerCase()),
      ...codecs.filter((c) => c.mimeType === 'video/rtx'),
    ]);
    pc.addTransceiver(sink.stream.getAudioTracks()[0], { direction: 'sendonly' });
    await pc.setLocalDescription();
    await new Promise((done) => {
      if (pc.iceGatheringState === 'complete') done();
      pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done();
    });
    const response = await fetch(whip, {
      method: 'POST', body: pc.localDescription.sdp, headers: { 'Content-Type': 'application/sdp', Authorization: `Bearer ${key}` },
    });
    const text = await response.text();
    if (response.status === 201) await pc.setRemoteDescription({ type: 'answer', sdp: text });
    window.publisher = { pc, audio, draw };
    return { status: response.status, text, location: response.headers.get('Location') };
  }, { whip, key, codec, tone });
  return { page, ...answer };
}

/**
 * Publishes H.264 and Opus as OBS does: libdatachannel, no candidates in the
 * offer, no reaction to PLI, a key frame every two seconds. The RTP packets
 * are made by ffmpeg and go through libdatachannel untouched.
 */
export class ObsPublisher {
  static async start({ whip, key, takeover = false }) {
    const p = new ObsPublisher();
    p.states = [];
    const pc = (p.pc = new nodeDataChannel.PeerConnection('obs', { iceServers: [], disableAutoNegotiation: true }));
    pc.onStateChange((s) => p.states.push(s));
    const video = new nodeDataChannel.Video('0', 'SendOnly');
    video.addH264Codec(96, 'profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1');
    video.addSSRC(1001, 'obs-video', 'obs', 'obs-video');
    const audio = new nodeDataChannel.Audio('1', 'SendOnly');
    audio.addOpusCodec(111);
    audio.addSSRC(1002, 'obs-audio', 'obs', 'obs-audio');
    p.video = pc.addTrack(video);
    p.audio = pc.addTrack(audio);
    // The description comes before any candidate has been gathered, which is
    // what OBS sends, and what it learns later it keeps to itself.
    const description = new Promise((done) => pc.onLocalDescription((sdp) => done(sdp)));
    pc.setLocalDescription('offer');
    p.offer = await description;
    const response = await fetch(takeover ? `${whip}?takeover=1` : whip, {
      method: 'POST', body: p.offer, headers: { 'Content-Type': 'application/sdp', Authorization: `Bearer ${key}`, 'User-Agent': 'libobs' },
    });
    p.status = response.status;
    p.location = response.headers.get('Location');
    p.answer = await response.text();
    if (p.status !== 201) {
      pc.close();
      return p;
    }
    pc.setRemoteDescription(p.answer, 'answer');
    await p.#send();
    return p;
  }

  async #send() {
    const { createSocket } = await import('node:dgram');
    const { once } = await import('node:events');
    const bind = async (track) => {
      const socket = createSocket('udp4');
      socket.bind(0, '127.0.0.1');
      await once(socket, 'listening');
      socket.on('message', (packet) => {
        if ((packet[1] & 0x7f) >= 64 && (packet[1] & 0x7f) <= 95) return; // RTCP
        if (track.isOpen()) track.sendMessageBinary(packet);
      });
      return socket;
    };
    this.sockets = [await bind(this.video), await bind(this.audio)];
    const [v, a] = this.sockets.map((s) => s.address().port);
    this.encoder = new Child('ffmpeg rtp', 'ffmpeg', [
      ...testSource(), '-map', '0:v', ...h264(60), '-profile:v', 'baseline', '-bsf:v', 'dump_extra', '-f', 'rtp', '-payload_type', '96', '-ssrc', '1001', `rtp://127.0.0.1:${v}?pkt_size=1200`,
      '-map', '1:a', ...opus, '-f', 'rtp', '-payload_type', '111', '-ssrc', '1002', `rtp://127.0.0.1:${a}?pkt_size=1200`,
    ]);
  }

  /** Ends as OBS does: DELETE, which must be answered 200. */
  async stop({ key }) {
    const response = await fetch(this.location, { method: 'DELETE', headers: { Authorization: `Bearer ${key}` } });
    await this.abandon();
    return response.status;
  }

  /** Ends without a word. */
  async abandon() {
    await this.encoder?.kill();
    for (const s of this.sockets?.splice(0) ?? []) s.close();
    this.pc.close();
  }
}

/** Frees libdatachannel's threads; to be called once, at the end. */
export const cleanup = () => nodeDataChannel.cleanup();
