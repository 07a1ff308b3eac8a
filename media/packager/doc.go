// Package packager turns the frames of one streamer into a MoQ Broadcast.
//
// Each frame is one LOC Object (draft-ietf-moq-loc-04). Each closed GOP of a
// video Track is one Group with one Subgroup; audio is cut into Groups of about
// a second, where possible at the video's key frames, so that a viewer who
// joins at the current Groups gets picture and sound from nearly the same
// moment. Group IDs start at the Unix time in milliseconds, so that a restart
// of the publisher never uses a Location twice.
//
// Beside the media there are two catalog Tracks, one of MSF and one of hang,
// which describe the same media Tracks and get a new Group whenever a
// description changes.
//
// Nothing waits: frames go straight into moq.TrackWriters. The package starts
// no goroutines; the wishes of readers for key frames are looked at whenever
// a frame comes.
package packager
