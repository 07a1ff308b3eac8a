package cmaf

import "encoding/binary"

// be32, be16 and be64 append big-endian integers.
func be16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }
func be32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func be64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// box appends a box of the given type whose body is what body appends.
func box(b []byte, typ string, body func([]byte) []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = append(b, typ...)
	if body != nil {
		b = body(b)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// fullBox appends a box that starts with a version and flags.
func fullBox(b []byte, typ string, version uint8, flags uint32, body func([]byte) []byte) []byte {
	return box(b, typ, func(b []byte) []byte {
		b = be32(b, uint32(version)<<24|flags)
		if body != nil {
			b = body(b)
		}
		return b
	})
}

// rawBox appends a box with a ready body.
func rawBox(b []byte, typ string, body []byte) []byte {
	return box(b, typ, func(b []byte) []byte { return append(b, body...) })
}
