// Package codec knows the bitstreams that freshet carries, as far as a server
// that never decodes a picture needs to: it tells key frames from others,
// reads sizes and profiles, builds the configuration records that decoders
// and MP4 files take, and brings frames into the one form that media.Frame
// promises.
//
// An ingest makes one Assembler per track with NewAssembler and hands it each
// access unit as it came off the wire. Everything that turns frames into
// another container starts from Format.Description with ParseDescription,
// ParameterSets or AppendAnnexBFrame.
//
// Nothing here panics on input, and nothing allocates more than the input's
// own size plus a small constant.
package codec
