/** Code points of draft-ietf-moq-transport-18, section 14.6 (errors) and section 10 (messages and parameters). */

/** Session termination codes (section 14.6.1). */
export const SessionCode = {
  NoError: 0x0,
  InternalError: 0x1,
  Unauthorized: 0x2,
  ProtocolViolation: 0x3,
  InvalidRequestId: 0x4,
  DuplicateTrackAlias: 0x5,
  KeyValueFormattingError: 0x6,
  InvalidPath: 0x8,
  MalformedPath: 0x9,
  GoAwayTimeout: 0x10,
  ControlMessageTimeout: 0x11,
  DataStreamTimeout: 0x12,
  AuthTokenCacheOverflow: 0x13,
  DuplicateAuthTokenAlias: 0x14,
  VersionNegotiationFailed: 0x15,
  MalformedAuthToken: 0x16,
  UnknownAuthTokenAlias: 0x17,
  ExpiredAuthToken: 0x18,
  InvalidAuthority: 0x19,
  MalformedAuthority: 0x1a,
} as const;

/** REQUEST_ERROR codes (section 14.6.2). */
export const RequestCode = {
  InternalError: 0x0,
  Unauthorized: 0x1,
  Timeout: 0x2,
  NotSupported: 0x3,
  MalformedAuthToken: 0x4,
  ExpiredAuthToken: 0x5,
  GoingAway: 0x6,
  ExcessiveLoad: 0x9,
  DoesNotExist: 0x10,
  InvalidRange: 0x11,
  MalformedTrack: 0x12,
  DuplicateSubscription: 0x19,
  Uninterested: 0x20,
  PrefixOverlap: 0x30,
  NamespaceTooLarge: 0x31,
  InvalidJoiningRequestId: 0x32,
  UnsupportedExtension: 0x33,
  Redirect: 0x34,
} as const;

/** PUBLISH_DONE codes (section 14.6.3). */
export const PublishDoneCode = {
  InternalError: 0x0,
  Unauthorized: 0x1,
  TrackEnded: 0x2,
  SubscriptionEnded: 0x3,
  GoingAway: 0x4,
  TooFarBehind: 0x5,
  Expired: 0x6,
  UpdateFailed: 0x8,
  ExcessiveLoad: 0x9,
  MalformedTrack: 0x12,
} as const;

/** Codes with which a stream is reset or stopped (section 14.6.4). */
export const ResetCode = {
  InternalError: 0x0,
  Cancelled: 0x1,
  DeliveryTimeout: 0x2,
  SessionClosed: 0x3,
  GoingAway: 0x4,
  TooFarBehind: 0x5,
  UnknownObjectStatus: 0x6,
  ExpiredAuthToken: 0x7,
  ExcessiveLoad: 0x9,
  MalformedTrack: 0x12,
} as const;

/** Control message types (section 10). */
export const MessageType = {
  RequestUpdate: 0x2,
  Subscribe: 0x3,
  SubscribeOk: 0x4,
  RequestError: 0x5,
  PublishNamespace: 0x6,
  RequestOk: 0x7,
  Namespace: 0x8,
  PublishDone: 0xb,
  TrackStatus: 0xd,
  NamespaceDone: 0xe,
  PublishBlocked: 0xf,
  GoAway: 0x10,
  Fetch: 0x16,
  FetchOk: 0x18,
  Publish: 0x1d,
  SubscribeNamespace: 0x50,
  SubscribeTracks: 0x51,
  Setup: 0x2f00,
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** Types of unidirectional streams other than SUBGROUP_HEADER (section 3.4). */
export const StreamType = {
  Fetch: 0x5,
  Setup: 0x2f00,
  Padding: 0x132b3e28,
} as const;

/** Message Parameter types (section 14.5). */
export const ParamType = {
  ObjectDeliveryTimeout: 0x02,
  AuthorizationToken: 0x03,
  RendezvousTimeout: 0x04,
  SubgroupDeliveryTimeout: 0x06,
  Expires: 0x08,
  LargestObject: 0x09,
  FillTimeout: 0x0a,
  Forward: 0x10,
  SubscriberPriority: 0x20,
  SubscriptionFilter: 0x21,
  GroupOrder: 0x22,
  NewGroupRequest: 0x32,
  TrackNamespacePrefix: 0x34,
} as const;

/** Setup Option types (section 14.2). */
export const SetupOption = {
  Path: 0x01,
  AuthorizationToken: 0x03,
  MaxAuthTokenCacheSize: 0x04,
  Authority: 0x05,
  Implementation: 0x07,
} as const;

/** Property types of the transport itself (section 14.5.1). Those of LOC are in media/loc. */
export const PropertyType = {
  ObjectDeliveryTimeout: 0x02,
  MaxCacheDuration: 0x04,
  SubgroupDeliveryTimeout: 0x06,
  ImmutableProperties: 0x0b,
  DefaultPublisherPriority: 0x0e,
  DefaultPublisherGroupOrder: 0x22,
  DynamicGroups: 0x30,
  PriorGroupIdGap: 0x3c,
  PriorObjectIdGap: 0x3e,
} as const;

/** The name of a code in its table, for messages to people; hexadecimal when the table has none. */
export function codeName(table: Readonly<Record<string, number>>, code: number): string {
  for (const [name, value] of Object.entries(table)) if (value === code) return name;
  return `0x${code.toString(16)}`;
}
