/**
 * A client for Media over QUIC Transport, draft 18 (`moqt-18`) over WebTransport, for windows and workers.
 *
 *     const session = await Session.connect(url, { certificateHash, token });
 *     const video = await session.subscribe(['live', room], 'video0', { join: true });
 *     for await (const group of video) {
 *       for await (const object of group) {
 *         if (object.status === ObjectStatus.Normal) decode(object);
 *       }
 *       if (group.end?.kind !== 'complete') waitForKeyFrame();
 *     }
 *
 * To publish, write to a {@link PublishedTrack} and announce its Namespace:
 *
 *     const track = new PublishedTrack({ priority: 2, onNewGroup: () => (keyFrameWanted = true) });
 *     await session.publishNamespace(['live', room], (name) => (name === 'video0' ? track : undefined));
 *     const group = track.newGroup();
 *     group.writeObject(payload, properties);
 */
export * from './errors.ts';
export * from './model.ts';
export { NamespacePublication } from './session/publish.ts';
export { PublishedTrack, type Backlog, type GroupWriter, type PublishedTrackOptions } from './session/published.ts';
export { Session, type GoingAway } from './session/session.ts';
export { PublishDoneCode, RequestCode, ResetCode, SessionCode } from './wire/codes.ts';
export { bytesProperty, integerProperty } from './wire/properties.ts';
