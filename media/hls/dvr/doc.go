// Package dvr keeps the past of broadcasts on disk: the segments of every
// rendition, and a journal of what its playlist listed, from which the
// playlist is restored after the process was killed.
//
// On disk a broadcast is
//
//	{dir}/{room}/{broadcast}/{rendition}/journal
//	{dir}/{room}/{broadcast}/{rendition}/{segment}.m4s, init-….mp4
//
// where {broadcast} names one run from the first viewer to EXT-X-ENDLIST.
// A segment's file grows part by part while the segment is open. The journal
// is text, one record a line, with a checksum in front: it ends where the
// first line is not whole.
//
// A Store has one writer, the goroutine of Run, which alone touches the
// files; callers queue what is to be written and never wait. When the disk is
// slow or full, the queue, which is bounded, refuses, and what was not
// written stays the caller's. Reading is done by the goroutines of requests,
// a bounded number of files being open at a time.
//
// What was written survives the end of the process, however sudden: the
// kernel has it. It is not forced to the medium, so a power cut may take the
// last seconds; the journal's checksums then end it at the last whole record.
package dvr
