import { CATALOG_TRACK, type CatalogTrack } from '../media/catalog.ts';
import { writeHang } from '../media/hang.ts';
import { writeLoc } from '../media/loc.ts';
import { writeMsf } from '../media/msf.ts';
import { PublishDoneCode, PublishedTrack, type Backlog, type GroupWriter } from '../moq/index.ts';

// Publisher priorities, as the origin's packager gives them: the catalog before all that it describes, sound before
// pictures because its loss is heard at once.
const PRIORITY = { catalog: 16, audio: 64, video: 128 } as const;

/** Length of an audio Group in microseconds, and the least at which a video key frame ends one. */
const AUDIO_GROUP_US = 1_000_000;
const MIN_AUDIO_GROUP_US = 250_000;

export type MediaKind = 'video' | 'audio';

/** What a Track's entry in the catalog needs of its encoder. */
interface Format {
  /** RFC 6381, as WebCodecs names it. */
  readonly codec: string;
  /** The decoder's configuration record, if the codec has one outside its frames. */
  readonly description: Uint8Array | undefined;
  /** Bits per second at most. */
  readonly bitrate: number;
}

export interface VideoFormat extends Format {
  readonly width: number;
  readonly height: number;
  readonly framerate: number;
}

export interface AudioFormat extends Format {
  readonly sampleRate: number;
  readonly channels: number;
}

/** An encoded frame. The format is that in force; a new one differs by identity. */
export interface EncodedFrame<Format> {
  readonly data: Uint8Array;
  readonly key: boolean;
  /** Wall clock at capture, in microseconds since the Unix epoch. */
  readonly timestampUs: number;
  readonly format: Format;
}

/**
 * Packages one broadcast: each frame is a LOC Object, each closed GOP a Group of Track `video0`, about a second of sound
 * a Group of `audio0`, and the catalogs say how to decode them. It outlives sessions, so a broadcast that reconnects
 * goes on where it was.
 */
export class StudioBroadcast {
  readonly #kinds: ReadonlySet<MediaKind>;
  readonly #tracks = new Map<string, PublishedTrack>();
  readonly #firstGroup: number;
  readonly #msf: PublishedTrack;
  readonly #hang: PublishedTrack;
  readonly #video: PublishedTrack;
  readonly #audio: PublishedTrack;
  #videoFormat: VideoFormat | undefined;
  #audioFormat: AudioFormat | undefined;
  #videoGroup: GroupWriter | undefined;
  #audioGroup: GroupWriter | undefined;
  #audioStartUs = 0;
  #keyFrameUs = 0;
  #ended = false;

  /**
   * startMs: Unix time in milliseconds, which becomes the first Group ID of each Track, so that a restart reuses none.
   * kinds: what will be written. onKeyFrameWanted: a viewer asks for a key frame, or the last Group could not be
   * delivered.
   */
  constructor(startMs: number, kinds: ReadonlySet<MediaKind>, onKeyFrameWanted: () => void) {
    this.#firstGroup = startMs;
    this.#kinds = kinds;
    this.#msf = this.#add(CATALOG_TRACK.msf, PRIORITY.catalog);
    this.#hang = this.#add(CATALOG_TRACK.hang, PRIORITY.catalog);
    this.#video = this.#add('video0', PRIORITY.video, onKeyFrameWanted);
    this.#audio = this.#add('audio0', PRIORITY.audio);
  }

  /**
   * The Track of a name. Those of a kind that will be written exist from the start, if empty: a relay that comes back to
   * a broadcast asks at once for what its viewers had.
   */
  find(name: string): PublishedTrack | undefined {
    if (name === 'video0' && !this.#kinds.has('video')) return undefined;
    if (name === 'audio0' && !this.#kinds.has('audio')) return undefined;
    return this.#tracks.get(name);
  }

  /** Whether there is anything to watch yet. */
  get begun(): boolean {
    return this.#msf.largest !== undefined;
  }

  /** Whether the catalog lists every kind that is to come. */
  get complete(): boolean {
    return (
      (this.#videoFormat !== undefined || !this.#kinds.has('video')) &&
      (this.#audioFormat !== undefined || !this.#kinds.has('audio'))
    );
  }

  /** What could not be sent yet: of the Track that lags the most. */
  get backlog(): Backlog {
    const { video, audio } = { video: this.#video.backlog, audio: this.#audio.backlog };
    return {
      bytes: video.bytes + audio.bytes,
      ageMs: Math.max(video.ageMs, audio.ageMs),
      groupsDropped: video.groupsDropped + audio.groupsDropped,
    };
  }

  /** Appends a picture. What comes before the first key frame is left out: nobody could decode it. */
  writeVideo(frame: EncodedFrame<VideoFormat>): void {
    if (this.#ended) return;
    if (frame.key) {
      if (frame.format !== this.#videoFormat) {
        this.#videoFormat = frame.format;
        this.#publishCatalogs();
      }
      this.#videoGroup = this.#video.newGroup();
      this.#keyFrameUs = frame.timestampUs;
    }
    this.#videoGroup?.writeObject(
      frame.data,
      writeLoc({
        timestampUs: frame.timestampUs,
        videoConfig: frame.key ? frame.format.description : undefined,
      }),
    );
  }

  /** Appends sound. Groups are cut at the video's key frames where that fits, so that both can be joined together. */
  writeAudio(frame: EncodedFrame<AudioFormat>): void {
    if (this.#ended) return;
    const changed = frame.format !== this.#audioFormat;
    if (changed) {
      this.#audioFormat = frame.format;
      this.#publishCatalogs();
    }
    const length = frame.timestampUs - this.#audioStartUs;
    const atKeyFrame =
      this.#audioStartUs < this.#keyFrameUs && frame.timestampUs >= this.#keyFrameUs && length >= MIN_AUDIO_GROUP_US;
    const first = changed || !this.#audioGroup || atKeyFrame || length < 0 || length >= AUDIO_GROUP_US;
    if (first) {
      this.#audioGroup = this.#audio.newGroup();
      this.#audioStartUs = frame.timestampUs;
    }
    this.#audioGroup?.writeObject(
      frame.data,
      writeLoc({
        timestampUs: frame.timestampUs,
        audioConfig: first ? frame.format.description : undefined,
      }),
    );
  }

  /** Ends the broadcast: the catalog says that it is complete, and every Track ends. Idempotent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.begun) {
      this.#msf.newGroup().writeObject(writeMsf({ tracks: [], complete: true }, Date.now()));
    }
    for (const track of this.#tracks.values()) track.close(PublishDoneCode.TrackEnded, 'the broadcast has ended');
  }

  #add(name: string, priority: number, onNewGroup?: () => void): PublishedTrack {
    const track = new PublishedTrack({ priority, ...(onNewGroup ? { onNewGroup } : {}) }, this.#firstGroup);
    this.#tracks.set(name, track);
    return track;
  }

  #publishCatalogs(): void {
    const common = { live: true, renderGroup: 1 };
    const tracks: CatalogTrack[] = [];
    if (this.#videoFormat) tracks.push({ kind: 'video', name: 'video0', ...common, ...this.#videoFormat });
    if (this.#audioFormat) tracks.push({ kind: 'audio', name: 'audio0', ...common, ...this.#audioFormat });
    for (const [track, catalog] of [
      [this.#msf, writeMsf({ tracks, complete: false }, Date.now())],
      [this.#hang, writeHang(tracks)],
    ] as const) {
      const group = track.newGroup();
      group.writeObject(catalog);
      group.close();
    }
  }
}
