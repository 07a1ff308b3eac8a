// Package whip takes broadcasts over WebRTC from OBS, browsers and ffmpeg by
// WHIP (RFC 9725), and is a WHIP client itself, for tests and tools.
//
// The Server is an http.Handler for
//
//	POST   /whip/{room}            and /whip/{room}/{member}: SDP offer in, 201 with the answer out
//	DELETE {Location of the 201}   ends the session: 200
//	PATCH  {Location of the 201}   trickle ICE: 204
//	OPTIONS, GET, HEAD             on all of them: 204
//
// with the stream key as Bearer token on POST and DELETE, and ?takeover=1 on
// POST to replace a publisher that is still there. It answers
//
//	400  a body that is no SDP offer of a publisher, or no trickle fragment
//	401  the key is missing or wrong
//	404  no such room or session
//	405  any other method
//	406  the client accepts no application/sdp
//	409  the room has a publisher who may not be replaced
//	413  a body of more than 64 KiB
//	415  the wrong Content-Type
//	422  an offer with a codec, a track or a feature that is not taken: RFC
//	     9725, section 4.4, lets no single m= section be refused; and ICE
//	     restarts, which are not supported (section 4.3.1), so there are no ETags
//	503  no more sessions, or admission could not be decided
//
// The server is ICE-lite. All sessions share one UDP and one TCP port, whose
// addresses are in the answer, so the client's candidates do not matter.
package whip
