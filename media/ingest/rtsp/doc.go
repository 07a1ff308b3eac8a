// Package rtsp takes broadcasts from RTSP publishers (ANNOUNCE and RECORD,
// RFC 2326) and is one itself, for tests and tools.
//
// A room is published at rtsp://host/{room}, a co-host's broadcast at
// rtsp://host/{room}/{member}, by RTP over UDP or interleaved in the RTSP
// connection. The stream key is the password of Basic authentication, whose
// user is the room, or the query parameter "key"; "takeover=1" replaces a
// publisher that is still there. There is no Digest authentication: it needs
// the key in clear on the server, which asks an Admission instead.
//
// What the server answers:
//
//	401  the key is missing (with a challenge) or wrong (then the connection ends)
//	404  no such room
//	405  DESCRIBE and PLAY: this is no place to watch
//	409  the room has a publisher who may not be replaced
//	415  no track of a codec that freshet carries
//	453  too many publishers
//	503  admission could not be decided
//
// 409 is HTTP's: RFC 2326, section 11, reuses HTTP status codes where they
// apply, and RTSP has none of its own for it.
package rtsp
