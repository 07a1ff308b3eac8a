// Package ladder adds smaller renditions to a broadcast, and AAC beside Opus,
// by way of an ffmpeg process: for viewers on narrow paths, and for players
// that cannot decode what the publisher sends.
//
// The renditions are in the catalogs as soon as the publisher's tracks are.
// One process for each broadcast makes all of them, from when the first reader
// comes until a while after the last one has left; nobody pays for a ladder
// that nobody reads.
//
// ffmpeg gets the frames as Matroska on its standard input and gives each
// rendition as fragmented MP4, a fragment for each frame, on a pipe of its
// own: in one file the muxer would hold back the picture for want of sound.
// Times are those of the source. Key frames are forced where the source has
// them, and a Group has the ID of the source's Group that begins with the same
// picture, so viewers change between renditions at any Group.
//
// When ffmpeg dies it is started again, with pauses that grow. When it cannot
// make anything of a broadcast, the renditions leave the catalogs, and the
// broadcast goes on without them.
//
// It works for broadcasts that freshet packages itself. One that comes as
// MoQ Tracks has a catalog of the publisher's own, which is not freshet's to
// change.
package ladder
