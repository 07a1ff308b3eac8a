package hls

import (
	"bytes"
	"compress/gzip"
	"hash/fnv"
	"strconv"
	"sync"
)

// rendered is a playlist as it goes to clients. The zero value is none.
type rendered struct {
	plain, gzip []byte
	etag        string // of plain; the compressed one has it with a suffix
}

// compressors are kept: one weighs 800 KB and a playlist is made twice a second.
var compressors = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

func render(text []byte) rendered {
	h := fnv.New64a()
	_, _ = h.Write(text) // a hash does not fail
	var out bytes.Buffer
	w := compressors.Get().(*gzip.Writer)
	w.Reset(&out)
	_, _ = w.Write(text) // nor does a bytes.Buffer
	_ = w.Close()
	compressors.Put(w)
	return rendered{plain: text, gzip: out.Bytes(), etag: strconv.FormatUint(h.Sum64(), 36)}
}
