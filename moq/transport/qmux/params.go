package qmux

import (
	"slices"

	"github.com/quic-go/quic-go/quicvarint"
)

// Params are the transport parameters (RFC 9000, section 18.2) that QMux allows.
// Zero fields are those that are absent.
type Params struct {
	MaxIdleTimeout                 uint64 // milliseconds
	InitialMaxData                 uint64 // bytes, as the following
	InitialMaxStreamDataBidiLocal  uint64
	InitialMaxStreamDataBidiRemote uint64
	InitialMaxStreamDataUni        uint64
	InitialMaxStreamsBidi          uint64
	InitialMaxStreamsUni           uint64
	MaxDatagramFrameSize           uint64 // RFC 9221, section 3
	// MaxRecordSize is DefaultMaxRecord at least after ParseParams.
	MaxRecordSize uint64
}

// paramID is the identifier of a transport parameter.
type paramID uint64

const maxRecordSize paramID = 0x0571c59429cd0845

// fields are the parameters in the order in which they are sent.
func (p *Params) fields() []field {
	return []field{
		{0x01, &p.MaxIdleTimeout}, {0x04, &p.InitialMaxData},
		{0x05, &p.InitialMaxStreamDataBidiLocal}, {0x06, &p.InitialMaxStreamDataBidiRemote}, {0x07, &p.InitialMaxStreamDataUni},
		{0x08, &p.InitialMaxStreamsBidi}, {0x09, &p.InitialMaxStreamsUni},
		{0x20, &p.MaxDatagramFrameSize}, {maxRecordSize, &p.MaxRecordSize},
	}
}

type field struct {
	id    paramID
	value *uint64
}

// prohibited says whether QMux forbids a parameter that QUIC defines.
func (id paramID) prohibited() bool {
	return id == 0x00 || id == 0x02 || id == 0x03 || id >= 0x0a && id <= 0x10
}

// Append appends the payload of a QX_TRANSPORT_PARAMETERS frame.
func (p Params) Append(b []byte) []byte {
	for _, f := range p.fields() {
		if *f.value != 0 {
			b = quicvarint.Append(b, uint64(f.id))
			b = quicvarint.Append(b, uint64(quicvarint.Len(*f.value)))
			b = quicvarint.Append(b, *f.value)
		}
	}
	return b
}

// ParseParams reads the payload of a QX_TRANSPORT_PARAMETERS frame. Parameters
// that it does not know are skipped, those of section 7.4.2 of RFC 9000 with
// them, whose only purpose is that. The error is an *Error.
func ParseParams(b []byte) (Params, error) {
	p := Params{}
	fields := p.fields()
	seen := make([]bool, len(fields))
	c := cursor{b: b}
	for len(c.b) > 0 {
		id := paramID(c.varint())
		value := c.bytes(c.varint())
		if c.short {
			return Params{}, fault(TransportParameterError, "transport parameters end too early")
		}
		if id.prohibited() {
			return Params{}, fault(TransportParameterError, "transport parameter %#x is not allowed", uint64(id))
		}
		i := slices.IndexFunc(fields, func(f field) bool { return f.id == id })
		if i < 0 {
			continue
		}
		if seen[i] {
			return Params{}, fault(TransportParameterError, "transport parameter %#x twice", uint64(id))
		}
		seen[i] = true
		v := cursor{b: value}
		*fields[i].value = v.varint()
		if v.short || len(v.b) > 0 {
			return Params{}, fault(TransportParameterError, "transport parameter %#x is not a number", uint64(id))
		}
		if id == maxRecordSize && p.MaxRecordSize < DefaultMaxRecord {
			return Params{}, fault(TransportParameterError, "records of %d bytes", p.MaxRecordSize)
		}
	}
	if p.MaxRecordSize == 0 {
		p.MaxRecordSize = DefaultMaxRecord
	}
	if p.InitialMaxStreamsBidi > MaxStreams || p.InitialMaxStreamsUni > MaxStreams {
		return Params{}, fault(TransportParameterError, "a limit of more than 2^60 streams")
	}
	return p, nil
}
