// Package hls serves Low-Latency HLS, muxed on demand from the MoQ tracks of
// a broadcast at whatever node the viewer asks.
//
// A Muxer has one writer side and any number of HTTP requests. The writer
// closes a part, puts the rendition's playlists together (full and delta)
// from text that was made when its segments closed, swaps them in as one
// immutable version and closes the channel that everybody who waits for it
// selects on. The first who asks for a version compresses it for all. Requests
// take no lock that the writer holds, and none while they write to a client.
//
// What never changes while a playlist lives, whatever the input does:
// PART-TARGET (0.5 s), PART-HOLD-BACK (three times that) and TARGETDURATION
// (10 s). How input is fitted into it:
//
//   - A segment starts at the first key frame once the one before it lasts
//     4 s (1 s for the very first, which a viewer waits for). A publisher that sends none for 10 s gets a segment that starts
//     without; nothing else keeps TARGETDURATION.
//     Where key frames are up to seven seconds apart and irregular, a segment
//     may end after 3 s already, so that the next one does not come too late.
//   - The video tracks of a broadcast share a plan: the first of them that
//     comes to a key frame when a segment is due sets a cut, and the others
//     cut at the same key frame, or at their next one where theirs do not
//     coincide. A track that lost its place, because it lost media, comes
//     late, or could not wait, finds it again: it cuts early while it is
//     behind the numbers of the plan and leaves out a cut while it is ahead.
//     So media sequence numbers agree among variants but for moments.
//   - A part ends before the sample that would take it beyond PART-TARGET on
//     the decode timeline, and lasts 85 % of it at least. Exceptions: the
//     last part of a segment; and frames so sparse that one more would
//     overshoot (below about 13 frames per second).
//   - A sample that alone lasts longer than PART-TARGET (a still screen at
//     one frame per second) fills its part, and parts without samples stand
//     for the rest of its time: the picture stays on screen, and the playlist
//     goes on at its pace. Parts marked GAP=YES would be as legal, but
//     hls.js stops at them.
//   - A track that pauses while another goes on (camera off, sound on) is
//     filled with its last key frame twice a second, or with silence.
//   - Media that was lost on the way becomes EXT-X-GAP segments. A publisher
//     that restarts or changes its format causes EXT-X-DISCONTINUITY with a
//     new EXT-X-MAP, in all renditions alike.
//
// Each video rendition has an I-frame playlist beside it: the key frame that
// each segment starts with, which is a chunk of its own, by byte range.
//
// With a window of WholeBroadcast playlists are EXT-X-PLAYLIST-TYPE:EVENT, and
// stay so when EXT-X-ENDLIST comes. Of a playlist that has been shown a server
// may change only what rfc8216bis, section 6.2.1, lists: add lines, let
// segments leave at the start, add EXT-X-ENDLIST and the like; that the type
// becomes VOD is not among it. It would tell players nothing either: EVENT
// with EXT-X-ENDLIST neither grows nor shrinks any more. Where the disk cannot
// hold the whole broadcast the tag goes when the first segment does, which is
// against that list, since EVENT promises that none ever leaves; the
// alternatives are a promise that is broken and a broadcast that is cut off.
//
// Tracks of text become WebVTT renditions that have the segments and parts of
// the first picture, or sound. Room events become date ranges: see
// Muxer.AddEvent.
//
// Times in the media count from the Unix epoch, so that what two muxers of one
// broadcast make fits together. Their numbers and names do not: a segment may
// begin at another key frame here than there. A viewer therefore has to stay
// with one edge. Media sequence numbers start with the time, one for three
// seconds, and segments last longer, so a muxer that starts later is ahead of
// every earlier one: a player whose edge restarts without its disk, or who is
// sent to a younger edge, reads on and never finds numbers that went back.
//
// The part that EXT-X-PRELOAD-HINT names may be requested at once. It is made
// of chunks of about 100 ms; the answer comes when it is whole, or chunk by
// chunk with Config.Trickle. Names of parts do not tell their segment, so what is
// hinted comes whether a segment ends before it, a gap or a discontinuity; at
// the end of the broadcast, who waits is told that there is none.
//
// The last minute is held in memory. With a dvr.Store everything is written
// to disk as well, each part before the playlist that lists it is shown, and
// what is older is read from there. So a playlist survives its process, even
// one that was killed, but for the part in progress: Muxer.Store restores it,
// and media goes on behind it with the next numbers, under the names and keys
// that were listed, in the middle of a segment where the upstream's cache
// reaches back so far. A disk that fails or does not keep up costs the past
// and nothing else.
package hls
