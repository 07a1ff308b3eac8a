// Package cmaf writes the Common Media Application Format (ISO/IEC 23000-19):
// one initialization segment per Format and chunks of moof and mdat, each
// track in files of its own.
//
// A chunk is a scatter list: a few hundred bytes of boxes made here in front
// of payloads that belong to the frames. No payload is copied between the
// MoQ Object a frame came in and the socket it leaves by; segments are lists
// of the same slices as their parts.
//
// The package also turns presentation times into the decode timeline that
// ISO BMFF needs (Clock and Reorder), because frames carry no decode time.
package cmaf
