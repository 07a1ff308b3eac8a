import { codeName, PublishDoneCode, RequestCode, SessionCode } from './wire/codes.ts';

/**
 * The session could not be established, or is over. {@link remote} tells whether the other side (or the network) ended
 * it; {@link code} is one of SessionCode.
 */
export class SessionError extends Error {
  readonly code: number;
  readonly remote: boolean;

  constructor(code: number, reason: string, remote: boolean) {
    super(reason || `session ended: ${codeName(SessionCode, code)}`);
    this.name = 'SessionError';
    this.code = code;
    this.remote = remote;
  }
}

/** The peer refused a request. {@link code} is one of RequestCode. */
export class RequestError extends Error {
  readonly code: number;
  /** Milliseconds after which the same request may be tried again; undefined: it should not be. */
  readonly retryAfterMs: number | undefined;
  /** Where the request would succeed, with the code Redirect: an empty URI stands for this session's. */
  readonly redirectUri: string | undefined;

  constructor(code: number, reason: string, options: { retryAfterMs?: number; redirectUri?: string } = {}) {
    super(reason || `request refused: ${codeName(RequestCode, code)}`);
    this.name = 'RequestError';
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
    this.redirectUri = options.redirectUri;
  }
}

/** The name of a PUBLISH_DONE code, for people. */
export function publishDoneName(code: number): string {
  return codeName(PublishDoneCode, code);
}
