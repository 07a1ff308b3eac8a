package rtpmedia

import (
	"errors"
	"fmt"

	"github.com/pion/rtp"
)

// AACPacking is the layout of AU headers (RFC 3640, section 3.2.1) that
// signalling negotiated; sizes in bits. The usual AAC-hbr mode is 13, 3, 3.
type AACPacking struct{ SizeLength, IndexLength, IndexDeltaLength int }

// HBR is the packing of mode AAC-hbr (RFC 3640, section 3.3.6).
var HBR = AACPacking{SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}

// maxAACSize bounds an access unit put together from fragments, in bytes: the
// decoder's input buffer is 6144 bits a channel (ISO/IEC 13818-7, 8.2.2), so
// this is room for 48 channels and more.
const maxAACSize = 64 << 10

func (p AACPacking) validate() error {
	for _, n := range []int{p.SizeLength, p.IndexLength, p.IndexDeltaLength} {
		if n < 0 || n > 16 {
			return fmt.Errorf("rtpmedia: AU header field of %d bits", n)
		}
	}
	if p.SizeLength == 0 {
		return errors.New("rtpmedia: AU headers without size")
	}
	return nil
}

// aacDecoder takes AAC apart (RFC 3640). gortsplib's decoder is not used here
// because it counts AU headers wrongly from the fifth in a packet on.
type aacDecoder struct {
	AACPacking
	fragment []byte // of the access unit in progress
}

// Decode returns the access units of a packet, or the one whose last fragment
// it brings. The packets come without gaps.
func (d *aacDecoder) Decode(pkt *rtp.Packet) ([][]byte, error) {
	sizes, data, err := d.headers(pkt.Payload)
	if err != nil {
		return nil, err
	}
	// "Marker bit: ... set to 1 to indicate that the RTP packet payload
	// contains either the final fragment of a fragmented Access Unit or one or
	// more complete Access Units" (section 3.1).
	if len(d.fragment) > 0 || !pkt.Marker {
		if len(sizes) != 1 {
			return nil, errors.New("rtpmedia: AAC fragment among other access units")
		}
		if len(d.fragment)+len(data) > maxAACSize {
			return nil, errors.New("rtpmedia: AAC access unit too large")
		}
		d.fragment = append(d.fragment, data...)
		if !pkt.Marker {
			return nil, errMore
		}
		whole := d.fragment
		d.fragment = nil
		return [][]byte{whole}, nil
	}
	units := make([][]byte, 0, len(sizes))
	for _, n := range sizes {
		if n == 0 || n > len(data) {
			return nil, fmt.Errorf("rtpmedia: AAC access unit of %d bytes, %d left", n, len(data))
		}
		units = append(units, data[:n:n])
		data = data[n:]
	}
	return units, nil
}

// headers parses the AU Header Section (section 3.2.1) and returns the sizes
// of the access units and the Access Unit Data Section. Only access units in
// decoding order are taken: AAC-hbr may interleave, nobody does.
func (d *aacDecoder) headers(p []byte) (sizes []int, data []byte, err error) {
	if len(p) < 2 {
		return nil, nil, errors.New("rtpmedia: AAC payload without AU headers")
	}
	bits := int(p[0])<<8 | int(p[1]) // AU-headers-length
	end := 2 + (bits+7)/8
	if bits == 0 || end > len(p) {
		return nil, nil, fmt.Errorf("rtpmedia: AU headers of %d bits in %d bytes", bits, len(p))
	}
	section, pos := p[2:end], 0
	read := func(n int) int {
		v := 0
		for range n {
			v = v<<1 | int(section[pos/8]>>(7-pos%8)&1)
			pos++
		}
		return v
	}
	for index := d.IndexLength; pos < bits; index = d.IndexDeltaLength {
		if pos+d.SizeLength+index > bits {
			return nil, nil, errors.New("rtpmedia: AU header cut off")
		}
		sizes = append(sizes, read(d.SizeLength))
		if read(index) != 0 {
			return nil, nil, errors.New("rtpmedia: interleaved AAC")
		}
	}
	return sizes, p[end:], nil
}
