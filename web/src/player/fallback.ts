/** Whether to go on with MoQ or to turn to HLS, counted in failed connections. */
export class FallbackPolicy {
  private failed = 0;
  private connectedOnce = false;

  constructor(
    private readonly options: {
      /** Failures in a row before giving up when no connection ever stood: the network may not carry UDP. */
      readonly strangers: number;
      /** The same when one did: rather the relay is down, and will come back. */
      readonly friends: number;
    } = { strangers: 3, friends: 10 },
  ) {}

  /** Notes a session that was set up. */
  connected(): void {
    this.connectedOnce = true;
    this.failed = 0;
  }

  /** Notes a connection that failed although the HTTP server answered; true when it is time to give up. */
  connectFailed(): boolean {
    this.failed++;
    return this.failed >= (this.connectedOnce ? this.options.friends : this.options.strangers);
  }
}
