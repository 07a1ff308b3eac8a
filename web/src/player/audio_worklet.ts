import { AudioPlayout } from './audio_playout.ts';
import { processorName, type SoundReport, type SoundRequest } from './messages.ts';

/**
 * The audio thread's end of the player. It only moves blocks from a port into an {@link AudioPlayout} and lets that
 * render; the port leads straight to the worker that decodes. Blocks are transferred, not shared: two channels are
 * 400 kB/s, and shared memory would ask every page that embeds the player to be cross-origin isolated.
 */

// The audio worklet's global scope, which TypeScript's DOM library does not describe.
declare const sampleRate: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

/** Reports go out every so many quanta: about twenty a second. */
const reportQuanta = 20;

class PlayoutProcessor extends AudioWorkletProcessor {
  private readonly playout = new AudioPlayout(sampleRate);
  private worker: MessagePort | undefined;
  private quanta = 0;

  constructor() {
    super();
    this.port.onmessage = (event: MessageEvent<MessagePort>) => {
      this.worker = event.data;
      this.worker.onmessage = (message: MessageEvent<SoundRequest>) => this.handle(message.data);
    };
  }

  process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    // performance.now() does not exist here; the wall clock, whole milliseconds as it is, is what the worker shares.
    const now = Date.now();
    this.playout.render(outputs[0] ?? [], now);
    if (++this.quanta % reportQuanta === 0) this.worker?.postMessage(this.playout.report(now) satisfies SoundReport);
    return true;
  }

  private handle(request: SoundRequest): void {
    switch (request.type) {
      case 'block':
        this.playout.push(request.block);
        break;
      case 'offset':
        this.playout.setOffset(request.offsetMs, request.outputLatencyMs);
        break;
      case 'flush':
        this.playout.flush();
        break;
    }
  }
}

registerProcessor(processorName, PlayoutProcessor);
