import { isObject, text, type Json } from '../json.ts';

/** An answer of the API that is no success. Its message is for people. */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    /** HTTP status, or 0 when there was no answer that could be used. */
    readonly status: number,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** An answer should come within this time; a page that waits longer shows nothing. */
const timeoutMs = 8000;

/** Asks for a JSON object. Throws {@link ApiError}. */
export async function request(path: string, init: RequestInit = {}, signal?: AbortSignal): Promise<Json> {
  const timeout = AbortSignal.timeout(timeoutMs);
  let response: Response;
  try {
    response = await fetch(path, {
      ...init,
      cache: 'no-store',
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    });
  } catch (error) {
    throw new ApiError(0, 'The server cannot be reached.', { cause: error });
  }
  const json: unknown = await response.json().catch(() => undefined);
  if (!response.ok) {
    // A problem document (RFC 9457) says in `detail` what went wrong.
    const detail = isObject(json) ? text(json['detail']) : undefined;
    throw new ApiError(response.status, detail ?? `The server answered ${response.status}.`);
  }
  if (!isObject(json)) throw new ApiError(0, 'The server answered no JSON.');
  return json;
}
