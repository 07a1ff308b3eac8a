package hls

import (
	"bytes"
	"compress/gzip"
	"hash/fnv"
	"slices"
	"strconv"
	"sync"
)

// rendered is a playlist as it goes to clients. It is immutable; what most
// versions are never asked for is made when it first is, by whoever asks.
type rendered struct {
	pieces [][]byte // of the text, shared with other versions
	etag   string   // of the plain text; the compressed one has it with a suffix

	joinOnce, packOnce sync.Once
	joined, packed     []byte
}

// compressors are kept: one weighs 800 KB.
var compressors = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// render makes a playlist of a text that seldom changes.
func render(text []byte) *rendered {
	h := fnv.New64a()
	_, _ = h.Write(text) // a hash does not fail
	return &rendered{pieces: [][]byte{text}, etag: strconv.FormatUint(h.Sum64(), 36)}
}

// plain returns the text.
func (t *rendered) plain() []byte {
	t.joinOnce.Do(func() { t.joined = slices.Concat(t.pieces...) })
	return t.joined
}

// gzip returns the text compressed.
func (t *rendered) gzip() []byte {
	t.packOnce.Do(func() {
		var out bytes.Buffer
		w := compressors.Get().(*gzip.Writer)
		w.Reset(&out)
		for _, p := range t.pieces {
			_, _ = w.Write(p) // a bytes.Buffer does not fail
		}
		_ = w.Close()
		compressors.Put(w)
		t.packed = out.Bytes()
	})
	return t.packed
}

// pastText is the text of closed segments that list no parts any more, one
// behind the other. It only grows at its end, so versions share its bytes;
// places in it are counted from the first byte there ever was.
type pastText struct {
	b    []byte
	base int // place of b[0]
}

// end is the place behind the last byte.
func (p *pastText) end() int { return p.base + len(p.b) }

// from returns the text behind a place.
func (p *pastText) from(place int) []byte { return slices.Clip(p.b[place-p.base:]) }

// drop lets go of what lies before a place, once it is as much as the rest.
func (p *pastText) drop(place int) {
	if n := place - p.base; n > len(p.b)/2 && n > 4096 {
		p.b = append(make([]byte, 0, 2*(len(p.b)-n)), p.b[n:]...)
		p.base = place
	}
}
