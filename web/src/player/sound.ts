import workletUrl from './audio_worklet.ts?worker&url';
import { processorName } from './messages.ts';
import { measureSound, type SoundMeasure } from './sound_measure.ts';

/** What is measured is this much of the sound played last. */
const measuredSeconds = 0.2;

/** Volume changes take this long, so that they do not click. */
const rampSeconds = 0.015;

/**
 * The page's sound: one audio context with a volume, whose last stage is listened to for measuring. A browser may refuse
 * to start it before the viewer has touched the page; `blocked` tells so.
 */
export class Sound {
  private readonly context: AudioContext;
  private readonly volumeNode: GainNode;
  private readonly analyser: AnalyserNode;
  private readonly samples: Float32Array<ArrayBuffer>;
  private worklet: Promise<AudioWorkletNode> | undefined;
  private level = 1;
  private muted = false;

  /** Called when the context starts or stops running. */
  onChange: (() => void) | undefined;

  constructor() {
    this.context = new AudioContext({ latencyHint: 'interactive', sampleRate: 48_000 });
    this.volumeNode = this.context.createGain();
    this.analyser = this.context.createAnalyser();
    this.analyser.fftSize = 16_384;
    this.samples = new Float32Array(this.analyser.fftSize);
    this.volumeNode.connect(this.analyser).connect(this.context.destination);
    this.context.onstatechange = () => this.onChange?.();
  }

  /** Whether sound comes out. */
  get running(): boolean {
    return this.context.state === 'running';
  }

  /** Whether the browser waits for the viewer to touch the page. */
  get blocked(): boolean {
    return this.context.state === 'suspended';
  }

  /** Milliseconds from the audio worklet to the ear. */
  get outputLatencyMs(): number {
    // Firefox and Chromium report outputLatency; where it is missing, the processing part is all that is known.
    return ((this.context.outputLatency || 0) + this.context.baseLatency) * 1000;
  }

  /** Starts the context; succeeds when the browser allows it. */
  async resume(): Promise<void> {
    if (this.context.state === 'suspended') await this.context.resume();
  }

  /** The volume, 0 to 1, and whether it is muted. */
  setVolume(level: number, muted: boolean): void {
    this.level = level;
    this.muted = muted;
    // Loudness is felt by ratios: the square makes the lower half of the slider useful.
    this.volumeNode.gain.setTargetAtTime(muted ? 0 : level * level, this.context.currentTime, rampSeconds);
  }

  /** A port to the audio worklet that plays what a worker decodes. Each call takes the worklet over. */
  async openPlayout(): Promise<MessagePort> {
    this.worklet ??= this.context.audioWorklet.addModule(workletUrl).then(() => {
      const node = new AudioWorkletNode(this.context, processorName, {
        numberOfInputs: 0,
        outputChannelCount: [2],
      });
      node.connect(this.volumeNode);
      return node;
    });
    const node = await this.worklet;
    const { port1, port2 } = new MessageChannel();
    node.port.postMessage(port1, [port1]);
    return port2;
  }

  /** Plays a media element through this context from now on. To be called once per element. */
  adopt(element: HTMLMediaElement): () => void {
    const source = this.context.createMediaElementSource(element);
    source.connect(this.volumeNode);
    return () => source.disconnect();
  }

  /** Measures what is played. */
  measure(): SoundMeasure {
    // The analyser keeps its last samples when the context stops.
    if (!this.running) return { level: 0, frequencyHz: 0 };
    this.analyser.getFloatTimeDomainData(this.samples);
    const { sampleRate } = this.context;
    return measureSound(this.samples.subarray(-Math.round(measuredSeconds * sampleRate)), sampleRate);
  }

  /** The volume as set. */
  get volume(): { readonly level: number; readonly muted: boolean } {
    return { level: this.level, muted: this.muted };
  }

  /** Lets go of the sound card. */
  async close(): Promise<void> {
    this.onChange = undefined;
    await this.context.close();
  }
}
