import type {
  CloseInfo,
  ConnectOptions,
  Namespace,
  NamespaceSubscription,
  SessionStats,
  SubscribeOptions,
  Subscription,
} from '../moq/model.ts';

/** What the player asks of a MoQ session. */
export interface MediaSession {
  /** Settles, and never rejects, when the session is over. */
  readonly closed: Promise<CloseInfo>;
  /** Settles when the server asks its clients to move on. */
  readonly goingAway: Promise<unknown>;
  subscribe(namespace: Namespace, track: string, options?: SubscribeOptions): Promise<Subscription>;
  subscribeNamespace(prefix: Namespace): NamespaceSubscription;
  close(code?: number, reason?: string): void;
  stats(): SessionStats;
}

/** Opens a session; rejects when it cannot be set up. */
export type Connect = (url: string, options: ConnectOptions) => Promise<MediaSession>;
