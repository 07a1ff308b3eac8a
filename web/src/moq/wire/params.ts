import type { Location, Namespace } from '../model.ts';
import { MessageType, ParamType, SessionCode } from './codes.ts';
import { readNamespace, writeNamespace } from './name.ts';
import { Cursor, ShortError, violation, WireError, Writer } from './varint.ts';

/** Alias types of the Token structure (section 10.2.2). */
export const AliasType = { Delete: 0, Register: 1, UseAlias: 2, UseValue: 3 } as const;

/** An authorization token as carried (section 10.2.2). */
export interface Token {
  readonly aliasType: number;
  readonly alias?: number;
  readonly tokenType?: number;
  readonly value?: Uint8Array;
}

/** Subscription filter types (section 5.1.2). */
export const FilterType = { NextGroupStart: 0x1, LargestObject: 0x2, AbsoluteStart: 0x3, AbsoluteRange: 0x4 } as const;

/** A subscription filter (section 5.1.2). */
export type Filter =
  | { readonly type: 0x1 | 0x2 }
  | { readonly type: 0x3; readonly start: Location }
  | { readonly type: 0x4; readonly start: Location; readonly endGroupDelta: number };

export const GroupOrder = { Ascending: 1, Descending: 2 } as const;

/** Message Parameters (section 10.2). Times are in milliseconds. */
export interface Params {
  readonly objectDeliveryTimeout?: number;
  readonly authorizationTokens?: readonly Token[];
  readonly rendezvousTimeout?: number;
  readonly subgroupDeliveryTimeout?: number;
  readonly expires?: number;
  readonly largestObject?: Location;
  readonly fillTimeout?: number;
  readonly forward?: boolean;
  readonly subscriberPriority?: number;
  readonly filter?: Filter;
  readonly groupOrder?: 1 | 2;
  readonly newGroupRequest?: number;
  readonly namespacePrefix?: Namespace;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** In which messages a parameter may stand. */
interface Scope {
  readonly messages?: readonly MessageType[];
  /** Requests whose REQUEST_OK may carry it, those to their REQUEST_UPDATEs included. */
  readonly okTo?: readonly MessageType[];
  /** Requests whose REQUEST_UPDATE may carry it. */
  readonly updateOf?: readonly MessageType[];
}

/** How one parameter is read and written. */
interface Rule {
  readonly type: number;
  readonly scope: Scope;
  read(cursor: Cursor, into: Mutable<Params>): void;
  /** Hands on how to append each value that is set. */
  write(params: Params, value: (write: (writer: Writer) => void) => void): void;
}

const M = MessageType;

type NumberKey = {
  [K in keyof Params]-?: number extends Params[K] ? K : never;
}[keyof Params];

function integer(type: number, key: NumberKey, scope: Scope): Rule {
  return {
    type,
    scope,
    read: (cursor, into) => {
      into[key] = cursor.varint();
    },
    write: (params, value) => {
      const set = params[key];
      if (set !== undefined) value((writer) => writer.varint(set));
    },
  };
}

const requests = [
  M.Publish,
  M.Subscribe,
  M.SubscribeNamespace,
  M.SubscribeTracks,
  M.PublishNamespace,
  M.TrackStatus,
  M.Fetch,
] as const;
const subscriptions = [M.Subscribe, M.Publish] as const;
/** What a subscriber says of a subscription: in SUBSCRIBE, PUBLISH_OK and their updates. */
const subscriber: Scope = { messages: [M.Subscribe], okTo: [M.Publish], updateOf: subscriptions };

// One row per parameter, in ascending order of type, which is also the order on the wire.
const rules: readonly Rule[] = [
  integer(ParamType.ObjectDeliveryTimeout, 'objectDeliveryTimeout', subscriber),
  {
    type: ParamType.AuthorizationToken,
    scope: { messages: requests, updateOf: requests },
    read: (cursor, into) => {
      into.authorizationTokens = [...(into.authorizationTokens ?? []), readToken(cursor.bytes(cursor.varint()))];
    },
    write: (params, value) => {
      for (const token of params.authorizationTokens ?? []) value((writer) => writer.prefixed(encodeToken(token)));
    },
  },
  integer(ParamType.RendezvousTimeout, 'rendezvousTimeout', { messages: [M.Subscribe] }),
  integer(ParamType.SubgroupDeliveryTimeout, 'subgroupDeliveryTimeout', subscriber),
  integer(ParamType.Expires, 'expires', {
    messages: [M.SubscribeOk, M.Publish],
    okTo: [...subscriptions, M.TrackStatus],
  }),
  {
    type: ParamType.LargestObject,
    scope: { messages: [M.SubscribeOk, M.Publish], okTo: [...subscriptions, M.TrackStatus] },
    read: (cursor, into) => {
      into.largestObject = readLocation(cursor);
    },
    write: ({ largestObject }, value) => {
      if (largestObject) value((writer) => writer.varint(largestObject.group).varint(largestObject.object));
    },
  },
  integer(ParamType.FillTimeout, 'fillTimeout', { messages: [M.Fetch] }),
  {
    type: ParamType.Forward,
    scope: { ...subscriber, messages: [M.Subscribe, M.Publish, M.SubscribeTracks] },
    read: (cursor, into) => {
      const forward = cursor.u8();
      if (forward > 1) throw violation(`FORWARD of ${forward}`);
      into.forward = forward === 1;
    },
    write: ({ forward }, value) => {
      if (forward !== undefined) value((writer) => writer.u8(forward ? 1 : 0));
    },
  },
  {
    type: ParamType.SubscriberPriority,
    scope: { messages: [M.Subscribe, M.Fetch], okTo: [M.Publish], updateOf: [...subscriptions, M.Fetch] },
    read: (cursor, into) => {
      into.subscriberPriority = cursor.u8();
    },
    write: ({ subscriberPriority }, value) => {
      if (subscriberPriority !== undefined) value((writer) => writer.u8(subscriberPriority));
    },
  },
  {
    type: ParamType.SubscriptionFilter,
    scope: subscriber,
    read: (cursor, into) => {
      into.filter = readFilter(cursor.bytes(cursor.varint()));
    },
    write: ({ filter }, value) => {
      if (filter) value((writer) => writer.prefixed(encodeFilter(filter)));
    },
  },
  {
    type: ParamType.GroupOrder,
    scope: { messages: [M.Subscribe, M.Fetch], okTo: [M.Publish] },
    read: (cursor, into) => {
      const order = cursor.u8();
      if (order !== 1 && order !== 2) throw violation(`GROUP_ORDER of ${order}`);
      into.groupOrder = order;
    },
    write: ({ groupOrder }, value) => {
      if (groupOrder !== undefined) value((writer) => writer.u8(groupOrder));
    },
  },
  integer(ParamType.NewGroupRequest, 'newGroupRequest', subscriber),
  {
    type: ParamType.TrackNamespacePrefix,
    scope: { updateOf: [M.SubscribeNamespace, M.SubscribeTracks] },
    read: (cursor, into) => {
      into.namespacePrefix = readNamespace(cursor);
    },
    write: ({ namespacePrefix }, value) => {
      if (namespacePrefix) value((writer) => writeNamespace(writer, namespacePrefix));
    },
  },
];
const ruleByType = new Map(rules.map((rule) => [rule.type, rule]));

function allowed(scope: Scope, message: MessageType, request: MessageType | undefined): boolean {
  if (message !== MessageType.RequestOk && message !== MessageType.RequestUpdate) {
    return scope.messages?.includes(message) ?? false;
  }
  const of = message === MessageType.RequestOk ? scope.okTo : scope.updateOf;
  return of !== undefined && (request === undefined || of.includes(request));
}

/**
 * Reads the count and the Parameters of a message of the given type. `request` is the type that opened the stream, where
 * it is known: REQUEST_OK and REQUEST_UPDATE carry other parameters for each.
 */
export function readParams(cursor: Cursor, message: MessageType, request?: MessageType): Params {
  const params: Mutable<Params> = {};
  const count = cursor.varint();
  let type = 0;
  let previous = -1;
  for (let i = 0; i < count; i++) {
    type += cursor.varint();
    const rule = ruleByType.get(type);
    // "An endpoint that receives an unknown Message Parameter MUST close the session with PROTOCOL_VIOLATION."
    if (!rule) throw violation(`unknown parameter 0x${type.toString(16)}`);
    if (!allowed(rule.scope, message, request)) {
      throw violation(`parameter 0x${type.toString(16)} in message 0x${message.toString(16)}`);
    }
    if (type === previous && type !== ParamType.AuthorizationToken) {
      throw violation(`parameter 0x${type.toString(16)} twice`);
    }
    rule.read(cursor, params);
    previous = type;
  }
  return params;
}

/** Appends the count and the Parameters. Throws RangeError for one that the message may not carry. */
export function writeParams(writer: Writer, message: MessageType, params: Params): void {
  const block = new Writer();
  let count = 0;
  let previous = 0;
  for (const rule of rules) {
    rule.write(params, (value) => {
      if (!allowed(rule.scope, message, undefined)) {
        throw new RangeError(`parameter 0x${rule.type.toString(16)} in message 0x${message.toString(16)}`);
      }
      block.varint(rule.type - previous);
      value(block);
      previous = rule.type;
      count++;
    });
  }
  writer.varint(count).bytes(block.finish());
}

export function readLocation(cursor: Cursor): Location {
  return { group: cursor.varint(), object: cursor.varint() };
}

/** Reads a Token structure that fills the bytes. */
export function readToken(bytes: Uint8Array): Token {
  try {
    const cursor = new Cursor(bytes);
    const aliasType = cursor.varint();
    switch (aliasType) {
      case AliasType.Delete:
      case AliasType.UseAlias: {
        const token = { aliasType, alias: cursor.varint() };
        if (cursor.remaining > 0) throw new ShortError();
        return token;
      }
      case AliasType.Register:
        return { aliasType, alias: cursor.varint(), tokenType: cursor.varint(), value: cursor.rest().slice() };
      case AliasType.UseValue:
        return { aliasType, tokenType: cursor.varint(), value: cursor.rest().slice() };
      default:
        throw new ShortError();
    }
  } catch {
    // "If the Token structure cannot be decoded, the receiver MUST close the Session with KEY_VALUE_FORMATTING_ERROR."
    throw new WireError(SessionCode.KeyValueFormattingError, 'authorization token cannot be decoded');
  }
}

export function encodeToken(token: Token): Uint8Array {
  const writer = new Writer().varint(token.aliasType);
  if (token.aliasType !== AliasType.UseValue) writer.varint(token.alias ?? 0);
  if (token.aliasType === AliasType.Register || token.aliasType === AliasType.UseValue) {
    writer.varint(token.tokenType ?? 0).bytes(token.value ?? new Uint8Array());
  }
  return writer.finish();
}

function readFilter(bytes: Uint8Array): Filter {
  const cursor = new Cursor(bytes);
  const filter = readFilterBody(cursor);
  if (cursor.remaining > 0) throw violation('bytes after the subscription filter');
  return filter;
}

function readFilterBody(cursor: Cursor): Filter {
  const type = cursor.varint();
  switch (type) {
    case FilterType.NextGroupStart:
    case FilterType.LargestObject:
      return { type };
    case FilterType.AbsoluteStart:
      return { type, start: readLocation(cursor) };
    case FilterType.AbsoluteRange: {
      const start = readLocation(cursor);
      const endGroupDelta = cursor.varint();
      if (!Number.isSafeInteger(start.group + endGroupDelta)) throw violation('end group out of range');
      return { type, start, endGroupDelta };
    }
    default:
      throw violation(`subscription filter type ${type}`);
  }
}

function encodeFilter(filter: Filter): Uint8Array {
  const writer = new Writer().varint(filter.type);
  if (filter.type === FilterType.AbsoluteStart || filter.type === FilterType.AbsoluteRange) {
    writer.varint(filter.start.group).varint(filter.start.object);
  }
  if (filter.type === FilterType.AbsoluteRange) writer.varint(filter.endGroupDelta);
  return writer.finish();
}
