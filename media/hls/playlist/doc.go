// Package playlist holds HLS playlists as values: it writes them, reads them
// strictly, applies delta updates, and checks the rules that they and their
// updates must obey.
//
// The rules are those of draft-pantos-hls-rfc8216bis-22 ("bis" below) and of
// Apple's HLS Authoring Specification ("authoring"), each cited by the check
// that enforces it. The muxer writes with this package and every one of its
// playlists is checked by it in tests; a checker of foreign streams reads
// with it.
package playlist
