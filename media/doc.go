// Package media holds what every codec, container and protocol of freshet
// agrees on: the coded Frame, its Format and the clock that both live on.
//
// It imports nothing else of freshet. Ingest makes Frames, media/packager
// turns them into MoQ Tracks, media/unpack turns MoQ Tracks back into Frames
// for the LL-HLS muxer and the recorder.
package media
