// The same vectors as the Go codec reads, made by hand from the draft or by another implementation.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Location, Property } from '../model.ts';
import { MessageType, SessionCode } from './codes.ts';
import { FetchCursor, type FetchItem } from './fetch.ts';
import { encodeMessage, FetchType, readMessage, type Message } from './message.ts';
import { encodeName } from './name.ts';
import { GroupOrder, type Params, type Token } from './params.ts';
import {
  isSubgroupType,
  readObjectHeader,
  readSubgroupHeader,
  SubgroupIdMode,
  writeObjectHeader,
  writeSubgroupHeader,
  type ObjectHeader,
} from './subgroup.ts';
import { Cursor, ShortError, varintSize, WireError, Writer } from './varint.ts';

const folder = new URL('../../../../testdata/vectors/moqt/draft-18/', import.meta.url);

type Json = string | boolean | readonly Json[] | { readonly [key: string]: Json };

interface Vector {
  readonly id: string;
  readonly hex: string;
  readonly request?: string;
  readonly group_order?: string;
  readonly decode_only?: boolean;
  readonly decoded?: { readonly [key: string]: Json };
  readonly error?: string;
}

function vectorsOf(file: string): readonly Vector[] {
  const { vectors } = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as { vectors: Vector[] };
  assert.ok(vectors.length > 0, `${file} has no vectors`);
  return vectors;
}

const fromHex = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const screaming = (name: string): string => name.replace(/([a-z])([A-Z])/g, '$1_$2').toUpperCase();

const typeByName = new Map(Object.entries(MessageType).map(([name, type]) => [screaming(name), type]));
const nameByType = new Map(Object.entries(MessageType).map(([name, type]) => [type as number, screaming(name)]));
const codeByName = new Map(Object.entries(SessionCode).map(([name, code]) => [screaming(name), code]));

/** Runs a decoder on one vector: the value and bytes must match, or the session code must be the vector's. */
function check(vector: Vector, decode: (bytes: Uint8Array) => { decoded: unknown; encoded: Uint8Array | undefined }): void {
  const bytes = fromHex(vector.hex);
  if (vector.error !== undefined) {
    const code = codeByName.get(vector.error);
    assert.notEqual(code, undefined, `unknown code ${vector.error}`);
    assert.throws(
      () => decode(bytes),
      (error: unknown) => error instanceof WireError && error.code === code,
    );
    return;
  }
  const { decoded, encoded } = decode(bytes);
  assert.deepEqual(decoded, vector.decoded);
  if (encoded && !vector.decode_only) assert.equal(toHex(encoded), vector.hex);
}

const streamFiles = ['varint.json', 'stream_type.json', 'subgroup.json', 'fetch_stream.json', 'datagram.json'];

for (const file of readdirSync(folder).filter((name) => name.endsWith('.json') && !streamFiles.includes(name))) {
  for (const vector of vectorsOf(file)) {
    test(`${file}: ${vector.id}`, () => {
      const request = vector.request === undefined ? undefined : typeByName.get(vector.request);
      check(vector, (bytes) => {
        const cursor = new Cursor(bytes);
        const message = readMessage(cursor, request);
        assert.equal(cursor.remaining, 0);
        return { decoded: describe(message, vector), encoded: hasUnknownOptions(vector) ? undefined : encodeMessage(message) };
      });
    });

    if (vector.decoded) {
      test(`${file}: ${vector.id}: every prefix needs more bytes`, () => {
        const bytes = fromHex(vector.hex);
        for (let n = 0; n < bytes.length; n++) {
          assert.throws(() => readMessage(new Cursor(bytes.subarray(0, n))), ShortError);
        }
      });
    }
  }
}

for (const vector of vectorsOf('varint.json')) {
  test(`varint.json: ${vector.id}`, () => {
    check(vector, (bytes) => {
      const cursor = new Cursor(bytes);
      const value = cursor.varintAny();
      assert.equal(cursor.remaining, 0);
      if (!vector.decode_only) assert.equal(varintSize(value), bytes.length);
      return { decoded: { value: String(value) }, encoded: new Writer().varint(value).finish() };
    });
  });
}

for (const vector of vectorsOf('subgroup.json')) {
  test(`subgroup.json: ${vector.id}`, () => {
    check(vector, (bytes) => {
      const cursor = new Cursor(bytes);
      const type = cursor.varint();
      if (!isSubgroupType(type)) throw new WireError(SessionCode.ProtocolViolation, 'no subgroup');
      const header = readSubgroupHeader(cursor, type);
      const writer = new Writer();
      writeSubgroupHeader(writer, header);
      const objects: { header: ObjectHeader; payload: Uint8Array }[] = [];
      let previous: number | undefined;
      while (cursor.remaining > 0) {
        const object = readObjectHeader(cursor, header, previous);
        const payload = cursor.bytes(object.size);
        writeObjectHeader(writer, header, previous, object);
        writer.bytes(payload);
        objects.push({ header: object, payload });
        previous = object.id;
      }
      const subgroup = header.subgroup ?? objects[0]?.header.id;
      const modes = { [SubgroupIdMode.Zero]: 'zero', [SubgroupIdMode.FirstObject]: 'first_object', [SubgroupIdMode.Explicit]: 'explicit' };
      return {
        decoded: {
          header: {
            track_alias: String(header.alias),
            group_id: String(header.group),
            subgroup_id_mode: modes[header.subgroupIdMode],
            subgroup_id: String(subgroup),
            ...(header.priority === undefined ? {} : { publisher_priority: String(header.priority) }),
            end_of_group: header.endOfGroup,
            first_object: header.firstObject,
            properties: header.properties,
          },
          objects: objects.map(({ header: object, payload }) => ({
            object_id: String(object.id),
            properties: object.properties.map(describeProperty),
            status: String(object.status),
            payload: toHex(payload),
          })),
        },
        encoded: writer.finish(),
      };
    });
  });
}

for (const vector of vectorsOf('fetch_stream.json')) {
  test(`fetch_stream.json: ${vector.id}`, () => {
    const order = vector.group_order === 'descending' ? GroupOrder.Descending : GroupOrder.Ascending;
    check(vector, (bytes) => {
      const cursor = new Cursor(bytes);
      if (cursor.varint() !== 0x5) throw new WireError(SessionCode.ProtocolViolation, 'no fetch');
      const requestId = cursor.varint();
      const writer = new Writer().varint(0x5).varint(requestId);
      const reader = new FetchCursor(order);
      const echo = new FetchCursor(order);
      const items: { item: FetchItem; payload: Uint8Array }[] = [];
      while (cursor.remaining > 0) {
        const item = reader.read(cursor);
        const payload = cursor.bytes(item.kind === 'object' ? item.size : 0);
        echo.write(writer, item);
        writer.bytes(payload);
        items.push({ item, payload });
      }
      // How a Subgroup ID is abbreviated is the writer's choice, so what was written is read back instead of compared.
      const again = new Cursor(writer.finish(), varintSize(0x5) + varintSize(requestId));
      const rereader = new FetchCursor(order);
      for (const { item, payload } of items) {
        assert.deepEqual(rereader.read(again), item);
        again.bytes(payload.length);
      }
      assert.equal(again.remaining, 0);
      return {
        decoded: { request_id: String(requestId), items: items.map(({ item, payload }) => describeItem(item, payload)) },
        encoded: undefined,
      };
    });
  });
}

for (const vector of vectorsOf('stream_type.json')) {
  test(`stream_type.json: ${vector.id}`, () => {
    check(vector, (bytes) => {
      const type = new Cursor(bytes).varintAny();
      const names = new Map<number | bigint, string>([
        [0x5, 'FETCH_HEADER'],
        [0x2f00, 'SETUP'],
        [0x132b3e28, 'PADDING'],
      ]);
      const name = names.get(type) ?? (isSubgroupType(type) ? 'SUBGROUP_HEADER' : undefined);
      if (!name) throw new WireError(SessionCode.ProtocolViolation, 'unknown stream type');
      return { decoded: { stream_type: name }, encoded: undefined };
    });
  });
}

function hasUnknownOptions(vector: Vector): boolean {
  const options = vector.decoded?.['options'];
  return typeof options === 'object' && 'unknown' in options;
}

/** A message in the words of the vectors. Unknown Setup Options are not kept, so they are taken from the vector. */
function describe(message: Message, vector: Vector): unknown {
  const type = nameByType.get(message.type);
  switch (message.type) {
    case MessageType.Setup: {
      const wanted = vector.decoded?.['options'] as { unknown?: Json } | undefined;
      return {
        type,
        options: {
          ...(message.path === undefined ? {} : { path: message.path }),
          ...(message.tokens === undefined ? {} : { authorization_token: message.tokens.map(describeToken) }),
          ...(message.maxAuthTokenCacheSize === undefined
            ? {}
            : { max_auth_token_cache_size: String(message.maxAuthTokenCacheSize) }),
          ...(message.authority === undefined ? {} : { authority: message.authority }),
          ...(message.implementation === undefined ? {} : { moqt_implementation: message.implementation }),
          ...(wanted?.unknown === undefined ? {} : { unknown: wanted.unknown }),
        },
      };
    }
    case MessageType.GoAway:
      return {
        type: 'GOAWAY',
        new_session_uri: message.uri,
        timeout: String(message.timeoutMs),
        ...(message.requestId === undefined ? {} : { request_id: String(message.requestId) }),
      };
    case MessageType.RequestOk:
      return {
        type,
        parameters: describeParams(message.params),
        track_properties: message.properties.map(describeProperty),
      };
    case MessageType.RequestError:
      return {
        type,
        error_code: String(message.code),
        retry_interval: String(message.retryInterval),
        reason_phrase: message.reason,
        ...(message.redirect
          ? {
              redirect: {
                connect_uri: message.redirect.uri,
                track_namespace: message.redirect.name.namespace,
                track_name: message.redirect.name.track,
              },
            }
          : {}),
      };
    case MessageType.Subscribe:
    case MessageType.TrackStatus:
      return {
        type,
        request_id: String(message.requestId),
        track_namespace: message.name.namespace,
        track_name: message.name.track,
        parameters: describeParams(message.params),
      };
    case MessageType.SubscribeOk:
      return {
        type,
        track_alias: String(message.alias),
        parameters: describeParams(message.params),
        track_properties: message.properties.map(describeProperty),
      };
    case MessageType.RequestUpdate:
      return { type, request_id: String(message.requestId), parameters: describeParams(message.params) };
    case MessageType.Publish:
      return {
        type,
        request_id: String(message.requestId),
        track_namespace: message.name.namespace,
        track_name: message.name.track,
        track_alias: String(message.alias),
        parameters: describeParams(message.params),
        track_properties: message.properties.map(describeProperty),
      };
    case MessageType.PublishDone:
      return {
        type,
        status_code: String(message.code),
        stream_count: String(message.streamCount),
        reason_phrase: message.reason,
      };
    case MessageType.Fetch:
      return {
        type,
        request_id: String(message.requestId),
        fetch_type: String(message.range.fetchType),
        ...(message.range.fetchType === FetchType.Standalone
          ? {
              standalone: {
                track_namespace: message.range.name.namespace,
                track_name: message.range.name.track,
                start: describeLocation(message.range.start),
                end: describeLocation(message.range.end),
              },
            }
          : {
              joining: {
                joining_request_id: String(message.range.joiningRequestId),
                joining_start: String(message.range.joiningStart),
              },
            }),
        parameters: describeParams(message.params),
      };
    case MessageType.FetchOk:
      return {
        type,
        end_of_track: message.endOfTrack ? '1' : '0',
        end: describeLocation(message.end),
        parameters: describeParams(message.params),
        track_properties: message.properties.map(describeProperty),
      };
    case MessageType.PublishNamespace:
      return {
        type,
        request_id: String(message.requestId),
        track_namespace: message.namespace,
        parameters: describeParams(message.params),
      };
    case MessageType.SubscribeNamespace:
    case MessageType.SubscribeTracks:
      return {
        type,
        request_id: String(message.requestId),
        track_namespace_prefix: message.namespace,
        parameters: describeParams(message.params),
      };
    case MessageType.Namespace:
    case MessageType.NamespaceDone:
      return { type, track_namespace_suffix: message.suffix };
    case MessageType.PublishBlocked:
      return { type, track_namespace_suffix: message.name.namespace, track_name: message.name.track };
  }
}

function describeParams(params: Params): unknown {
  const { filter } = params;
  const described: Record<string, unknown> = {
    object_delivery_timeout: params.objectDeliveryTimeout,
    authorization_token: params.authorizationTokens?.map(describeToken),
    rendezvous_timeout: params.rendezvousTimeout,
    subgroup_delivery_timeout: params.subgroupDeliveryTimeout,
    expires: params.expires,
    largest_object: params.largestObject && describeLocation(params.largestObject),
    fill_timeout: params.fillTimeout,
    forward: params.forward === undefined ? undefined : Number(params.forward),
    subscriber_priority: params.subscriberPriority,
    subscription_filter: filter && {
      filter_type: String(filter.type),
      ...('start' in filter ? { start: describeLocation(filter.start) } : {}),
      ...('endGroupDelta' in filter ? { end_group_delta: String(filter.endGroupDelta) } : {}),
    },
    group_order: params.groupOrder,
    new_group_request: params.newGroupRequest,
    track_namespace_prefix: params.namespacePrefix,
  };
  return Object.fromEntries(
    Object.entries(described)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, typeof value === 'number' ? String(value) : value]),
  );
}

function describeToken(token: Token): unknown {
  return {
    alias_type: String(token.aliasType),
    ...(token.alias === undefined ? {} : { token_alias: String(token.alias) }),
    ...(token.tokenType === undefined ? {} : { token_type: String(token.tokenType) }),
    ...(token.value === undefined ? {} : { token_value: toHex(token.value) }),
  };
}

function describeLocation(location: Location): unknown {
  return { group: String(location.group), object: String(location.object) };
}

function describeProperty({ type, value }: Property): unknown {
  return value instanceof Uint8Array
    ? { type: String(type), bytes: toHex(value) }
    : { type: String(type), value: String(value) };
}

function describeItem(item: FetchItem, payload: Uint8Array): unknown {
  const place = { group_id: String(item.group), object_id: String(item.object) };
  if (item.kind !== 'object') {
    return { kind: item.kind === 'absent' ? 'end_of_non_existent_range' : 'end_of_unknown_range', ...place };
  }
  return {
    kind: 'object',
    ...place,
    ...(item.subgroup === undefined ? { datagram: true } : { subgroup_id: String(item.subgroup) }),
    publisher_priority: String(item.priority),
    properties: item.properties.map(describeProperty),
    payload: toHex(payload),
  };
}

test('names that are no UTF-8 keep their bytes', () => {
  const message = readMessage(new Cursor(fromHex('0800050103ff0080')));
  assert.equal(message.type, MessageType.Namespace);
  assert.ok('suffix' in message);
  assert.equal(toHex(encodeName(message.suffix[0]!)), 'ff0080');
  assert.equal(toHex(encodeMessage(message)), '0800050103ff0080');
});
