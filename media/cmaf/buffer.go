package cmaf

import (
	"errors"
	"io"
	"net"
	"slices"
)

// Buffer is an immutable list of byte slices that are sent one after the
// other. Copies of a Buffer share the slices. The zero value is empty.
type Buffer struct {
	slices [][]byte
	size   int64
}

// NewBuffer makes a Buffer of the given slices, which must not change later.
func NewBuffer(bs ...[]byte) Buffer {
	b := Buffer{slices: bs}
	for _, s := range bs {
		b.size += int64(len(s))
	}
	return b
}

// Join makes one Buffer of several without copying their bytes.
func Join(bs ...Buffer) Buffer {
	var out Buffer
	n := 0
	for _, b := range bs {
		n += len(b.slices)
	}
	out.slices = make([][]byte, 0, n)
	for _, b := range bs {
		out.slices = append(out.slices, b.slices...)
		out.size += b.size
	}
	return out
}

// Len is the number of bytes.
func (b Buffer) Len() int64 { return b.size }

// Bytes returns a copy in one piece.
func (b Buffer) Bytes() []byte { return slices.Concat(b.slices...) }

// WriteTo writes everything, by writev where w is a TCP connection.
func (b Buffer) WriteTo(w io.Writer) (int64, error) {
	bufs := net.Buffers(slices.Clone(b.slices)) // WriteTo consumes its receiver
	return bufs.WriteTo(w)
}

// Reader returns a new reader at the start of b.
func (b Buffer) Reader() *BufferReader { return &BufferReader{buf: b} }

// BufferReader reads a Buffer; http.ServeContent takes it for byte ranges.
type BufferReader struct {
	buf   Buffer
	index int   // the slice to read next
	skip  int   // bytes of that slice already read
	off   int64 // position in the buffer
}

// Read implements io.Reader.
func (r *BufferReader) Read(p []byte) (n int, err error) {
	for n < len(p) && r.index < len(r.buf.slices) {
		c := copy(p[n:], r.buf.slices[r.index][r.skip:])
		n += c
		r.advance(c)
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// advance moves on by n bytes of the present slice.
func (r *BufferReader) advance(n int) {
	r.off += int64(n)
	r.skip += n
	if r.skip == len(r.buf.slices[r.index]) {
		r.index, r.skip = r.index+1, 0
	}
}

// WriteTo implements io.WriterTo without an intermediate copy.
func (r *BufferReader) WriteTo(w io.Writer) (n int64, err error) {
	for r.index < len(r.buf.slices) {
		c, err := w.Write(r.buf.slices[r.index][r.skip:])
		n += int64(c)
		r.advance(c)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

var errSeek = errors.New("cmaf: seek outside the buffer")

// Seek implements io.Seeker. Unlike a file it refuses to leave the buffer.
func (r *BufferReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.off
	case io.SeekEnd:
		offset += r.buf.size
	default:
		return r.off, errSeek
	}
	if offset < 0 || offset > r.buf.size {
		return r.off, errSeek
	}
	r.index, r.skip, r.off = 0, 0, 0
	for rest := offset; r.index < len(r.buf.slices); {
		n := int64(len(r.buf.slices[r.index]))
		if rest < n {
			r.skip = int(rest)
			break
		}
		rest -= n
		r.index++
	}
	r.off = offset
	return offset, nil
}
