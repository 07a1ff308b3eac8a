/**
 * A client for Media over QUIC Transport, draft 18 (`moqt-18`) over WebTransport, for windows and workers.
 *
 *     const session = await Session.connect(url, { certificateHash, token });
 *     const video = await session.subscribe(['live', room], 'video0', { join: true });
 *     for await (const group of video) {
 *       for await (const object of group) decode(object);
 *       if (group.end?.kind !== 'complete') waitForKeyFrame();
 *     }
 *
 * `Session` has: static connect(url, ConnectOptions): Promise<Session>; subscribe(namespace, track, SubscribeOptions):
 * Promise<Subscription> (rejects with RequestError); subscribeNamespace(prefix): NamespaceSubscription;
 * publishNamespace(namespace, (track) => PublishedTrack | undefined): Promise<NamespacePublication>;
 * closed: Promise<CloseInfo>; goingAway: Promise<{uri, timeoutMs}>; close(code?, reason?); stats(): SessionStats.
 */
export * from './model.ts';
