// Package hls serves Low-Latency HLS, muxed on demand from the MoQ tracks of
// a broadcast at whatever node the viewer asks.
//
// A Muxer has one writer side and any number of HTTP requests. The writer
// closes a part, renders the rendition's playlists once (full, delta, each
// also compressed), swaps them in as one immutable version and closes the
// channel that everybody who waits for it selects on. Requests take no lock
// that the writer holds, and none while they write to a client.
//
// What never changes while a playlist lives, whatever the input does:
// PART-TARGET (0.5 s), PART-HOLD-BACK (three times that) and TARGETDURATION
// (10 s). How input is fitted into it:
//
//   - A segment starts at the first key frame once the one before it lasts
//     4 s (1 s for the very first, which a viewer waits for). A publisher that sends none for 10 s gets a segment that starts
//     without; nothing else keeps TARGETDURATION.
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
// Times in the media count from the Unix epoch, and media sequence numbers
// start with the time: another muxer of the same broadcast, or the same one
// after a restart, goes on where a player left.
//
// The part that EXT-X-PRELOAD-HINT names may be requested at once; the
// answer comes when the part is complete.
package hls
