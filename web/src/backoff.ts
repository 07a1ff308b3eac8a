/**
 * When to try again. Each failure doubles the wait up to a limit; a random part keeps viewers that lost the same relay
 * from coming back in step.
 */
export class Backoff {
  private failures = 0;
  private steadySince: number | undefined;

  constructor(
    private readonly options: {
      /** The wait after the first failure, before the random part. */
      readonly firstMs: number;
      readonly maxMs: number;
      /** What works for so long makes the next failure a first one again. */
      readonly steadyMs: number;
    },
    private readonly random: () => number = Math.random,
  ) {}

  /** Milliseconds to wait after a failure at nowMs: between half and all of the doubled wait. */
  next(nowMs: number): number {
    if (this.steadySince !== undefined && nowMs - this.steadySince >= this.options.steadyMs) this.failures = 0;
    this.steadySince = undefined;
    const wait = Math.min(this.options.maxMs, this.options.firstMs * 2 ** Math.min(this.failures, 30));
    this.failures++;
    return wait * (0.5 + this.random() / 2);
  }

  /** Notes that it works since nowMs. */
  works(nowMs: number): void {
    this.steadySince ??= nowMs;
  }
}

/** Waits, unless the signal ends it first; true when the whole time has passed. */
export function sleep(ms: number, signal?: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve(false);
      return;
    }
    const ended = (): void => {
      clearTimeout(timer);
      resolve(false);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', ended);
      resolve(true);
    }, ms);
    signal?.addEventListener('abort', ended, { once: true });
  });
}
