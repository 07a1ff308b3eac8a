// Package rtpmedia stands between RTP and media.Frame, in both directions, for
// every protocol that carries media in RTP.
//
// Receiving, a Track takes the packets of one RTP stream, puts them together
// to Frames on the common timeline of a Clock and writes them to a
// media.BroadcastWriter. A Reorderer in front of it repairs the order where
// the transport does not. Sending, a Packetizer cuts Frames into packets.
//
// The payload formats themselves are gortsplib's; what is here is what a
// server needs around them: loss, time, key frames, bounds and counts.
package rtpmedia
