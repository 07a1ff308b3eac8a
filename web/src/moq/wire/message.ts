import type { FullTrackName, Location, Namespace, Properties } from '../model.ts';
import { MessageType, RequestCode, SetupOption } from './codes.ts';
import { decodeName, encodeName, readFullTrackName, readNamespace, writeFullTrackName, writeNamespace } from './name.ts';
import { encodeToken, readLocation, readParams, readToken, writeParams, type Params, type Token } from './params.ts';
import { checkTrackProperties, readProperties, writeProperties } from './properties.ts';
import { Cursor, ShortError, violation, Writer } from './varint.ts';

/** The longest Reason Phrase in bytes (section 1.4.4). */
export const MAX_REASON_BYTES = 1024;
/** The longest New Session URI in bytes (section 10.4). */
export const MAX_URI_BYTES = 8192;
/** The longest message body: its length field has 16 bits. */
export const MAX_MESSAGE_BYTES = 0xffff;

export interface Setup {
  readonly type: typeof MessageType.Setup;
  /** Raw values of PATH and AUTHORITY, which may not occur over WebTransport: see Session. */
  readonly path?: string;
  readonly authority?: string;
  readonly tokens?: readonly Token[];
  readonly maxAuthTokenCacheSize?: number;
  readonly implementation?: string;
}

export interface GoAway {
  readonly type: typeof MessageType.GoAway;
  readonly uri: string;
  readonly timeoutMs: number;
  /** Only on the control stream. */
  readonly requestId?: number;
}

export interface RequestOk {
  readonly type: typeof MessageType.RequestOk;
  readonly params: Params;
  readonly properties: Properties;
}

export interface RequestErrorMessage {
  readonly type: typeof MessageType.RequestError;
  readonly code: number;
  /** Milliseconds to wait before trying again, plus one; 0: do not try again. */
  readonly retryInterval: number;
  readonly reason: string;
  readonly redirect?: { readonly uri: string; readonly name: FullTrackName };
}

export interface Subscribe {
  readonly type: typeof MessageType.Subscribe | typeof MessageType.TrackStatus;
  readonly requestId: number;
  readonly name: FullTrackName;
  readonly params: Params;
}

export interface SubscribeOk {
  readonly type: typeof MessageType.SubscribeOk;
  readonly alias: number;
  readonly params: Params;
  readonly properties: Properties;
}

export interface RequestUpdate {
  readonly type: typeof MessageType.RequestUpdate;
  readonly requestId: number;
  readonly params: Params;
}

export interface Publish {
  readonly type: typeof MessageType.Publish;
  readonly requestId: number;
  readonly name: FullTrackName;
  readonly alias: number;
  readonly params: Params;
  readonly properties: Properties;
}

export interface PublishDone {
  readonly type: typeof MessageType.PublishDone;
  readonly code: number;
  /** A bigint when the publisher could not count ("it MUST set Stream Count to 2^62 - 1"). */
  readonly streamCount: number | bigint;
  readonly reason: string;
}

/** Fetch types (section 10.12). */
export const FetchType = { Standalone: 1, RelativeJoining: 2, AbsoluteJoining: 3 } as const;

export interface Fetch {
  readonly type: typeof MessageType.Fetch;
  readonly requestId: number;
  readonly range:
    | { readonly fetchType: 1; readonly name: FullTrackName; readonly start: Location; readonly end: Location }
    | { readonly fetchType: 2 | 3; readonly joiningRequestId: number; readonly joiningStart: number };
  readonly params: Params;
}

export interface FetchOk {
  readonly type: typeof MessageType.FetchOk;
  readonly endOfTrack: boolean;
  /** The last Location plus one Object; Object 0 means the whole Group. */
  readonly end: Location;
  readonly params: Params;
  readonly properties: Properties;
}

export interface NamespaceRequest {
  readonly type:
    | typeof MessageType.PublishNamespace
    | typeof MessageType.SubscribeNamespace
    | typeof MessageType.SubscribeTracks;
  readonly requestId: number;
  readonly namespace: Namespace;
  readonly params: Params;
}

export interface NamespaceNotice {
  readonly type: typeof MessageType.Namespace | typeof MessageType.NamespaceDone;
  readonly suffix: Namespace;
}

export interface PublishBlocked {
  readonly type: typeof MessageType.PublishBlocked;
  /** Its Namespace is the suffix after the subscribed prefix. */
  readonly name: FullTrackName;
}

export type Message =
  | Setup
  | GoAway
  | RequestOk
  | RequestErrorMessage
  | Subscribe
  | SubscribeOk
  | RequestUpdate
  | Publish
  | PublishDone
  | Fetch
  | FetchOk
  | NamespaceRequest
  | NamespaceNotice
  | PublishBlocked;

/** Encodes a message with its type and length. Throws RangeError when a field or the whole exceeds the draft's limits. */
export function encodeMessage(message: Message): Uint8Array<ArrayBuffer> {
  const body = new Writer();
  writeBody(body, message);
  if (body.length > MAX_MESSAGE_BYTES) throw new RangeError(`message of ${body.length} bytes`);
  return new Writer().varint(message.type).u16(body.length).bytes(body.finish()).finish();
}

/**
 * Reads one message. `request` is the type of the message that opened the stream, when it is known: some answers are
 * violations for some requests only. Throws ShortError when more bytes are needed, and WireError for what must close the
 * session.
 */
export function readMessage(cursor: Cursor, request?: MessageType): Message {
  return readMessageOf(cursor.varintAny(), cursor, request);
}

/** Reads the rest of a message whose type has been read. */
export function readMessageOf(type: number | bigint, cursor: Cursor, request?: MessageType): Message {
  if (!isMessageType(type)) throw violation(`unknown message type 0x${type.toString(16)}`);
  const length = cursor.u16();
  const body = new Cursor(cursor.bytes(length));
  let message: Message;
  try {
    message = readBody(body, type, request);
  } catch (error) {
    if (error instanceof ShortError) throw violation(`message 0x${type.toString(16)} is longer than its length`);
    throw error;
  }
  if (body.remaining > 0) throw violation(`message 0x${type.toString(16)} is shorter than its length`);
  return message;
}

const messageTypes = new Set<number | bigint>(Object.values(MessageType));

function isMessageType(type: number | bigint): type is MessageType {
  return messageTypes.has(type);
}

function writeBody(writer: Writer, message: Message): void {
  switch (message.type) {
    case MessageType.Setup:
      writeSetup(writer, message);
      return;
    case MessageType.GoAway:
      writeText(writer, message.uri, MAX_URI_BYTES);
      writer.varint(message.timeoutMs);
      if (message.requestId !== undefined) writer.varint(message.requestId);
      return;
    case MessageType.RequestOk:
      writeParams(writer, message.type, message.params);
      writeProperties(writer, message.properties);
      return;
    case MessageType.RequestError:
      writer.varint(message.code).varint(message.retryInterval);
      writeText(writer, message.reason, MAX_REASON_BYTES);
      if (message.code === RequestCode.Redirect && message.redirect) {
        writeText(writer, message.redirect.uri, MAX_URI_BYTES);
        writeFullTrackName(writer, message.redirect.name);
      }
      return;
    case MessageType.Subscribe:
    case MessageType.TrackStatus:
      writer.varint(message.requestId);
      writeFullTrackName(writer, message.name);
      writeParams(writer, message.type, message.params);
      return;
    case MessageType.SubscribeOk:
      writer.varint(message.alias);
      writeParams(writer, message.type, message.params);
      writeProperties(writer, message.properties);
      return;
    case MessageType.RequestUpdate:
      writer.varint(message.requestId);
      writeParams(writer, message.type, message.params);
      return;
    case MessageType.Publish:
      writer.varint(message.requestId);
      writeFullTrackName(writer, message.name);
      writer.varint(message.alias);
      writeParams(writer, message.type, message.params);
      writeProperties(writer, message.properties);
      return;
    case MessageType.PublishDone:
      writer.varint(message.code).varint(message.streamCount);
      writeText(writer, message.reason, MAX_REASON_BYTES);
      return;
    case MessageType.Fetch: {
      writer.varint(message.requestId).varint(message.range.fetchType);
      if (message.range.fetchType === FetchType.Standalone) {
        const { name, start, end } = message.range;
        writeFullTrackName(writer, name);
        writer.varint(start.group).varint(start.object).varint(end.group).varint(end.object);
      } else {
        writer.varint(message.range.joiningRequestId).varint(message.range.joiningStart);
      }
      writeParams(writer, message.type, message.params);
      return;
    }
    case MessageType.FetchOk:
      writer.u8(message.endOfTrack ? 1 : 0).varint(message.end.group).varint(message.end.object);
      writeParams(writer, message.type, message.params);
      writeProperties(writer, message.properties);
      return;
    case MessageType.PublishNamespace:
    case MessageType.SubscribeNamespace:
    case MessageType.SubscribeTracks:
      writer.varint(message.requestId);
      writeNamespace(writer, message.namespace);
      writeParams(writer, message.type, message.params);
      return;
    case MessageType.Namespace:
    case MessageType.NamespaceDone:
      writeNamespace(writer, message.suffix);
      return;
    case MessageType.PublishBlocked:
      writeFullTrackName(writer, message.name);
      return;
  }
}

function readBody(cursor: Cursor, type: MessageType, request: MessageType | undefined): Message {
  switch (type) {
    case MessageType.Setup:
      return readSetup(cursor);
    case MessageType.GoAway: {
      const uri = readText(cursor, MAX_URI_BYTES);
      const timeoutMs = cursor.varint();
      // The Request ID is "Present only when sent on the control stream": the receiver checks that it is where it must.
      return cursor.remaining > 0 ? { type, uri, timeoutMs, requestId: cursor.varint() } : { type, uri, timeoutMs };
    }
    case MessageType.RequestOk: {
      const params = readParams(cursor, type, request);
      const properties = readTrackProperties(cursor);
      if (properties.length > 0 && request !== undefined && request !== MessageType.TrackStatus) {
        throw violation('track properties in a REQUEST_OK that is not for TRACK_STATUS');
      }
      return { type, params, properties };
    }
    case MessageType.RequestError: {
      const code = cursor.varint();
      const retryInterval = cursor.varint();
      const reason = readText(cursor, MAX_REASON_BYTES);
      if (code !== RequestCode.Redirect) return { type, code, retryInterval, reason };
      const uri = readText(cursor, MAX_URI_BYTES);
      const name = readFullTrackName(cursor);
      const namespaceScoped =
        request === MessageType.SubscribeNamespace || request === MessageType.PublishNamespace;
      if (namespaceScoped && name.track !== '') throw violation('track name in the redirect of a namespace');
      return { type, code, retryInterval, reason, redirect: { uri, name } };
    }
    case MessageType.Subscribe:
    case MessageType.TrackStatus:
      return {
        type,
        requestId: cursor.varint(),
        name: readFullTrackName(cursor),
        params: readParams(cursor, type),
      };
    case MessageType.SubscribeOk:
      return {
        type,
        alias: cursor.varint(),
        params: readParams(cursor, type),
        properties: readTrackProperties(cursor),
      };
    case MessageType.RequestUpdate:
      return { type, requestId: cursor.varint(), params: readParams(cursor, type, request) };
    case MessageType.Publish:
      return {
        type,
        requestId: cursor.varint(),
        name: readFullTrackName(cursor),
        alias: cursor.varint(),
        params: readParams(cursor, type),
        properties: readTrackProperties(cursor),
      };
    case MessageType.PublishDone:
      return {
        type,
        code: cursor.varint(),
        streamCount: cursor.varintAny(),
        reason: readText(cursor, MAX_REASON_BYTES),
      };
    case MessageType.Fetch: {
      const requestId = cursor.varint();
      const range = readFetchRange(cursor);
      return { type, requestId, range, params: readParams(cursor, type) };
    }
    case MessageType.FetchOk: {
      const endOfTrack = cursor.u8();
      if (endOfTrack > 1) throw violation(`End Of Track of ${endOfTrack}`);
      return {
        type,
        endOfTrack: endOfTrack === 1,
        end: readLocation(cursor),
        params: readParams(cursor, type),
        properties: readTrackProperties(cursor),
      };
    }
    case MessageType.PublishNamespace:
    case MessageType.SubscribeNamespace:
    case MessageType.SubscribeTracks:
      return {
        type,
        requestId: cursor.varint(),
        namespace: readNamespace(cursor),
        params: readParams(cursor, type),
      };
    case MessageType.Namespace:
    case MessageType.NamespaceDone:
      return { type, suffix: readNamespace(cursor) };
    case MessageType.PublishBlocked:
      return { type, name: readFullTrackName(cursor) };
  }
}

function readFetchRange(cursor: Cursor): Fetch['range'] {
  const fetchType = cursor.varint();
  switch (fetchType) {
    case FetchType.Standalone:
      return {
        fetchType,
        name: readFullTrackName(cursor),
        start: readLocation(cursor),
        end: readLocation(cursor),
      };
    case FetchType.RelativeJoining:
    case FetchType.AbsoluteJoining:
      return { fetchType, joiningRequestId: cursor.varint(), joiningStart: cursor.varint() };
    default:
      throw violation(`fetch type ${fetchType}`);
  }
}

function readTrackProperties(cursor: Cursor): Properties {
  const properties = readProperties(cursor.rest());
  checkTrackProperties(properties);
  return properties;
}

function writeSetup(writer: Writer, setup: Setup): void {
  const tokens = (setup.tokens ?? []).map((token) => ({
    type: SetupOption.AuthorizationToken,
    value: encodeToken(token),
  }));
  writeProperties(writer, [
    ...textOption(SetupOption.Path, setup.path),
    ...tokens,
    ...(setup.maxAuthTokenCacheSize === undefined
      ? []
      : [{ type: SetupOption.MaxAuthTokenCacheSize, value: setup.maxAuthTokenCacheSize }]),
    ...textOption(SetupOption.Authority, setup.authority),
    ...textOption(SetupOption.Implementation, setup.implementation),
  ]);
}

function textOption(type: number, text: string | undefined): { type: number; value: Uint8Array }[] {
  return text === undefined ? [] : [{ type, value: encodeName(text) }];
}

function readSetup(cursor: Cursor): Setup {
  const seen = new Set<number>();
  const tokens: Token[] = [];
  const setup: { -readonly [K in keyof Setup]: Setup[K] } = { type: MessageType.Setup };
  for (const { type, value } of readProperties(cursor.rest())) {
    if (knownOptions.has(type) && type !== SetupOption.AuthorizationToken) {
      if (seen.has(type)) throw violation(`setup option 0x${type.toString(16)} twice`);
      seen.add(type);
    }
    if (value instanceof Uint8Array) {
      if (type === SetupOption.Path) setup.path = decodeName(value);
      else if (type === SetupOption.Authority) setup.authority = decodeName(value);
      else if (type === SetupOption.Implementation) setup.implementation = decodeName(value);
      else if (type === SetupOption.AuthorizationToken) tokens.push(readToken(value));
    } else if (type === SetupOption.MaxAuthTokenCacheSize && typeof value === 'number') {
      setup.maxAuthTokenCacheSize = value;
    }
  }
  if (tokens.length > 0) setup.tokens = tokens;
  return setup;
}

const knownOptions = new Set<number>(Object.values(SetupOption));

function readText(cursor: Cursor, max: number): string {
  const length = cursor.varint();
  if (length > max) throw violation(`text of ${length} bytes`);
  return decodeName(cursor.bytes(length));
}

function writeText(writer: Writer, text: string, max: number): void {
  const bytes = encodeName(text);
  if (bytes.length > max) throw new RangeError(`text of ${bytes.length} bytes`);
  writer.prefixed(bytes);
}
