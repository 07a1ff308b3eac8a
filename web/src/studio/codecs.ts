import type { CodecChoice, VideoSettings } from './messages.ts';

type Codec = Exclude<CodecChoice, 'auto'>;

/** Width and height after fitting a source into the chosen box, both even as 4:2:0 pictures need them. */
export function fitInto(
  source: { readonly width: number; readonly height: number },
  box: { readonly width: number; readonly height: number },
): { width: number; height: number } {
  const scale = Math.min(1, box.width / source.width, box.height / source.height);
  const even = (length: number): number => Math.max(2, 2 * Math.round((length * scale) / 2));
  return { width: even(source.width), height: even(source.height) };
}

/** Levels by their limit of luma samples per second, smallest first: of AV1 (A.3), H.264 (table A-1) and so on. */
const LEVELS: Readonly<Record<'av1' | 'hevc' | 'h264' | 'vp9', readonly (readonly [number, string])[]>> = {
  av1: [
    [31_950_720, '04'],
    [70_778_880, '08'],
    [141_557_760, '09'],
    [267_386_880, '12'],
    [534_773_760, '13'],
  ],
  hevc: [
    [33_177_600, '93'],
    [66_846_720, '120'],
    [133_693_440, '123'],
    [267_386_880, '150'],
    [534_773_760, '153'],
  ],
  // 108000 macroblocks per second at level 3.1, and so on.
  h264: [
    [27_648_000, '1f'],
    [55_296_000, '20'],
    [62_914_560, '28'],
    [133_693_440, '2a'],
    [251_658_240, '33'],
    [530_841_600, '34'],
  ],
  vp9: [
    [36_864_000, '31'],
    [83_558_400, '40'],
    [160_432_128, '41'],
    [311_951_360, '50'],
    [588_251_136, '51'],
  ],
};

/** Codec strings to try for a codec at a size and rate, best first. */
export function codecStrings(codec: Codec, width: number, height: number, framerate: number): string[] {
  if (codec === 'vp8') return ['vp8'];
  const samples = width * height * framerate;
  const levels = LEVELS[codec];
  const level = (levels.find(([limit]) => samples <= limit) ?? levels.at(-1)!)[1];
  switch (codec) {
    case 'av1':
      return [`av01.0.${level}M.08`];
    case 'hevc':
      return [`hvc1.1.6.L${level}.B0`];
    case 'h264':
      // High, Main, Constrained Baseline.
      return [`avc1.6400${level}`, `avc1.4d00${level}`, `avc1.42e0${level}`];
    case 'vp9':
      return [`vp09.00.${level}.08`];
  }
}

/** An encoder configuration, and which codec it is of. */
export interface Choice {
  readonly codec: Codec;
  readonly config: VideoEncoderConfig;
}

type Supported = (config: VideoEncoderConfig) => Promise<boolean>;

/**
 * Chooses how to encode pictures of a size. `auto` takes AV1 where hardware encodes it, else H.264, which every viewer
 * can decode and every machine can encode, else what else there is; HEVC only when it is asked for, because many
 * browsers do not decode it. Returns undefined when the browser can encode nothing suitable.
 */
export async function chooseEncoder(
  settings: VideoSettings,
  size: { readonly width: number; readonly height: number },
  bitrate: number,
  supported: Supported = browserSupports,
): Promise<Choice | undefined> {
  const tries: readonly { codec: Codec; hardware: HardwareAcceleration }[] =
    settings.codec === 'auto'
      ? [
          { codec: 'av1', hardware: 'prefer-hardware' },
          { codec: 'h264', hardware: 'no-preference' },
          { codec: 'av1', hardware: 'no-preference' },
          { codec: 'vp9', hardware: 'no-preference' },
          { codec: 'vp8', hardware: 'no-preference' },
        ]
      : [{ codec: settings.codec, hardware: 'no-preference' }];
  for (const { codec, hardware } of tries) {
    for (const name of codecStrings(codec, size.width, size.height, settings.framerate)) {
      const config: VideoEncoderConfig = {
        codec: name,
        ...size,
        framerate: settings.framerate,
        bitrate,
        bitrateMode: 'variable',
        latencyMode: 'realtime',
        hardwareAcceleration: hardware,
        ...(codec === 'h264' ? { avc: { format: 'avc' as const } } : {}),
        ...(codec === 'hevc' ? { hevc: { format: 'hevc' as const } } : {}),
      };
      if (await supported(config)) return { codec, config };
    }
  }
  return undefined;
}

async function browserSupports(config: VideoEncoderConfig): Promise<boolean> {
  if (typeof VideoEncoder === 'undefined') return false;
  try {
    return (await VideoEncoder.isConfigSupported(config)).supported ?? false;
  } catch {
    // A member that this browser does not know, for example HEVC's.
    return false;
  }
}
