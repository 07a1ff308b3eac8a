import type { JSX } from 'solid-js';
import { Command } from '../ui/Command.tsx';

/** How to go live: in the browser, with OBS, with ffmpeg. */
export function StartGuide(props: { room: string }): JSX.Element {
  const { origin, hostname } = window.location;
  const rtsp = (): string =>
    'ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=frequency=1000:sample_rate=48000 ' +
    '-c:v libx264 -preset veryfast -tune zerolatency -bf 0 -g 60 -pix_fmt yuv420p -c:a aac ' +
    `-f rtsp -rtsp_transport tcp rtsp://${props.room}:STREAM_KEY@${hostname}:8554/${props.room}`;
  return (
    <section class="guide" aria-labelledby="guide-title">
      <h2 id="guide-title">Go live</h2>
      <p class="lobby-soft">
        The room <code>{props.room}</code> is there from the start. Its stream key is printed by the server when it starts.
      </p>
      <div class="guide-ways">
        <article class="card guide-way">
          <h3>In this browser</h3>
          <p class="lobby-soft">Camera, screen or a test pattern, with nothing to install.</p>
          <a class="button button-primary" href={`/studio/${props.room}`}>
            Open the studio
          </a>
        </article>
        <article class="card guide-way">
          <h3>OBS Studio</h3>
          <p class="lobby-soft">
            Settings, Stream, service WHIP. The bearer token is the stream key; a keyframe interval of 2 s starts viewers
            soonest.
          </p>
          <Command label="WHIP server address" line={`${origin}/whip/${props.room}`} />
        </article>
        <article class="card guide-way">
          <h3>ffmpeg</h3>
          <p class="lobby-soft">A test picture and a tone over RTSP.</p>
          <Command label="ffmpeg command" line={rtsp()} />
        </article>
      </div>
    </section>
  );
}
