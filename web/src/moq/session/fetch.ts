import type { MoqObject } from '../model.ts';
import { ObjectStatus } from '../model.ts';
import { MessageType, RequestCode, ResetCode } from '../wire/codes.ts';
import { FetchCursor } from '../wire/fetch.ts';
import { FetchType } from '../wire/message.ts';
import { violation } from '../wire/varint.ts';
import type { ByteReader } from './reader.ts';
import type { Host, OpenRequest } from './request.ts';
import { MAX_OBJECT_BYTES } from './subscribe.ts';

/** How long a FETCH for the current Group may take, in milliseconds: longer, and the next Group has begun anyway. */
const JOIN_TIMEOUT_MS = 10_000;

/** Where a session looks up who waits for a FETCH stream. */
export interface FetchRegistry {
  expectFetch(requestId: number, accept: (reader: ByteReader) => void): void;
  forgetFetch(requestId: number): void;
}

export interface RunningFetch {
  /** Begins to read. `take` gets the Objects in order and may hold the stream back. */
  readonly read: (take: (object: MoqObject) => Promise<void>) => void;
  /** Resolves to undefined when every Object came, else to a stream reset code. Never rejects. */
  readonly done: Promise<number | undefined>;
  /** Whether the publisher did not know the subscription: the FETCH overtook the SUBSCRIBE, and can be sent again. */
  readonly overtook: () => boolean;
  /** Gives the FETCH up. Idempotent. */
  readonly cancel: () => void;
}

/**
 * Starts a relative joining FETCH (section 10.12.2) for the subscription's current Group, from its first Object to the
 * one before those that the subscription brings. It may be sent before the subscription is accepted: the publisher
 * "buffers the pending Joining Fetch until either the Subscription is established or the request times out".
 */
export function joiningFetch(host: Host & FetchRegistry, subscribeId: number): RunningFetch {
  let cancelled = false;
  let overtook = false;
  let request: OpenRequest | undefined;
  let data: ByteReader | undefined;
  let take: ((object: MoqObject) => Promise<void>) | undefined;
  let settle!: (failure: number | undefined) => void;
  const done = new Promise<number | undefined>((resolve) => (settle = resolve));

  const cancel = (): void => {
    if (cancelled) return;
    cancelled = true;
    clearTimeout(timeout);
    if (request) host.forgetFetch(request.id);
    data?.cancel(host.transport.streamError(ResetCode.Cancelled));
    request?.stream.cancel();
    settle(ResetCode.Cancelled);
  };
  const timeout = setTimeout(() => {
    settle(ResetCode.DeliveryTimeout);
    cancel();
  }, JOIN_TIMEOUT_MS);

  const readWhenReady = (): void => {
    if (!data || !take || cancelled) return;
    readObjects(host, data, take).then(
      (failure) => {
        clearTimeout(timeout);
        settle(failure);
        request?.stream.finish();
      },
      (error: unknown) => {
        if (!cancelled) settle(host.judge(error) ?? ResetCode.InternalError);
        cancel();
      },
    );
  };
  const accept = (reader: ByteReader): void => {
    data = reader;
    readWhenReady();
  };

  const run = async (): Promise<void> => {
    request = await host.openRequest((requestId) => {
      // Registered before the request leaves: Objects "can come at any time relative to" FETCH_OK.
      host.expectFetch(requestId, accept);
      return {
        type: MessageType.Fetch,
        requestId,
        range: { fetchType: FetchType.RelativeJoining, joiningRequestId: subscribeId, joiningStart: 0 },
        params: {},
      };
    });
    if (cancelled) {
      host.forgetFetch(request.id);
      request.stream.cancel();
      return;
    }
    const answer = await request.stream.receive();
    if (answer?.type === MessageType.FetchOk) return;
    if (answer && answer.type !== MessageType.RequestError) {
      throw violation(`message 0x${answer.type.toString(16)} in answer to FETCH`);
    }
    overtook = answer?.code === RequestCode.InvalidJoiningRequestId;
    settle(ResetCode.UnknownObjectStatus);
    cancel();
  };
  run().catch((error: unknown) => {
    settle(host.judge(error) ?? ResetCode.InternalError);
    cancel();
  });
  return {
    read: (taker) => {
      take = taker;
      readWhenReady();
    },
    done,
    overtook: () => overtook,
    cancel,
  };
}

/** Reads a FETCH stream after its header. Resolves to a reset code when the publisher does not know some Objects. */
async function readObjects(
  host: Host,
  reader: ByteReader,
  take: (object: MoqObject) => Promise<void>,
): Promise<number | undefined> {
  const cursor = new FetchCursor();
  let counted = 0;
  for (;;) {
    const item = await reader.read((bytes) => cursor.read(bytes));
    if (!item) return undefined;
    if (item.kind !== 'object') {
      if (item.kind === 'absent') continue;
      reader.cancel(host.transport.streamError(ResetCode.Cancelled));
      return ResetCode.UnknownObjectStatus;
    }
    if (item.size > MAX_OBJECT_BYTES) {
      reader.cancel(host.transport.streamError(ResetCode.ExcessiveLoad));
      return ResetCode.ExcessiveLoad;
    }
    const payload = await reader.payload(item.size);
    host.counters.bytesReceived += reader.received - counted;
    counted = reader.received;
    host.counters.objectsReceived++;
    await take({
      groupId: item.group,
      subgroupId: item.subgroup ?? 0,
      objectId: item.object,
      priority: item.priority,
      properties: item.properties,
      payload,
      status: ObjectStatus.Normal,
    });
  }
}
