import type { Properties } from '../moq/model.ts';

/** Property types of the Low Overhead Container (draft-ietf-moq-loc-04, section 2.3). */
export const LocProperty = {
  Timescale: 0x08,
  VideoFrameMarking: 0x09,
  AudioLevel: 0x0c,
  VideoConfig: 0x0d,
  AudioConfig: 0x0f,
  Timestamp: 0x10,
} as const;

/** What an encoded frame carries beside its payload. */
export interface LocFields {
  /**
   * Microseconds since the Unix epoch on the publisher's wall clock. No timescale is sent with it: "If no timescale
   * property is present, the timestamp is interpreted as wall-clock time in microseconds".
   */
  readonly timestampUs: number;
  /** The decoder's configuration record, on the first Object of a Group: avcC, hvcC and so on. */
  readonly videoConfig?: Uint8Array | undefined;
  /** The same for audio: OpusHead, AudioSpecificConfig. */
  readonly audioConfig?: Uint8Array | undefined;
}

/** The Object Properties for a frame, in the order of their types as Key-Value-Pairs need it. */
export function locProperties(fields: LocFields): Properties {
  return [
    ...(fields.videoConfig ? [{ type: LocProperty.VideoConfig, value: fields.videoConfig }] : []),
    ...(fields.audioConfig ? [{ type: LocProperty.AudioConfig, value: fields.audioConfig }] : []),
    { type: LocProperty.Timestamp, value: Math.max(0, Math.round(fields.timestampUs)) },
  ];
}
