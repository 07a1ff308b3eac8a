// Package hlscheck watches an HLS stream as a strict client would and tells
// which rules it breaks.
//
// Run loads the multivariant playlist and then watches every media playlist
// that it names at once: with blocking reloads and delta updates where they
// are offered, by polling where not. Parts (the hinted one included),
// segments and initialization segments are loaded and read. Each violated
// rule becomes a Finding with the place in the playlist, the time and the
// rule's source; Rules lists them all.
//
// Sources are draft-pantos-hls-rfc8216bis-22 ("rfc8216bis"), Apple's HLS
// Authoring Specification ("authoring"), RFC 9110 and RFC 9111 for HTTP, and
// ISO/IEC 14496-12 for the media. What the checker cannot look into, such as
// encrypted media or MPEG-TS, becomes a note, never a finding.
//
// Memory is bounded: by the playlists' own size limit, by a budget for the
// parts of segments that are still open, and by how many findings are kept;
// the same finding again is counted, not kept.
package hlscheck
