import type { Token } from '../api/rooms.ts';

/** A token is renewed when this part of its life has passed. */
const renewAt = 0.75;

/** After a failure it is asked for again after so long. */
const retryMs = 5000;

/** A timer's longest delay, which a token without an end would exceed. */
const longestMs = 2 ** 31 - 1;

/** Keeps a token that is good for now, for a player whose every request carries one. */
export class KeptToken {
  /** The token; undefined until there is one. */
  value: string | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private closed = false;
  private renewal: Promise<void> | undefined;

  constructor(private readonly request: () => Promise<Token>) {}

  /** Resolves once the first answer is there, a refusal included: a node that is open wants no token. */
  ready(): Promise<void> {
    this.renewal ??= this.renew();
    return this.renewal;
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private async renew(): Promise<void> {
    let pauseMs = retryMs;
    try {
      const { token, expiresMs } = await this.request();
      this.value = token;
      const life = expiresMs - Date.now();
      pauseMs = Number.isFinite(life) ? Math.min(Math.max(life * renewAt, retryMs), longestMs) : longestMs;
    } catch {
      // What there is may be good for a while yet.
    }
    if (!this.closed) this.timer = setTimeout(() => void this.renew(), pauseMs);
  }
}
