package hls

import (
	"context"
	"errors"
	"io"

	"github.com/freshet-live/freshet/media/cmaf"
)

// body is the content of one media file: in memory, on disk, or a part that
// is still being made. Its bytes never change once there; readers are
// independent of each other and take no lock of the writer's.
type body interface {
	// Len returns how many bytes there are, and whether that is all.
	Len() (n int64, complete bool)
	// Open returns a reader at the first byte.
	Open() bodyReader
}

// bodyReader reads a body. Read and WriteTo end with what is there of a part
// in progress; Seek goes no further either. Follow is for those.
type bodyReader interface {
	io.ReadSeeker
	io.WriterTo
}

// errGivenUp ends the reading of a part that is never completed.
var errGivenUp = errors.New("hls: the part was given up")

// memory is a body that is held in memory.
type memory struct{ buf cmaf.Buffer }

// Len implements body.
func (m memory) Len() (int64, bool) { return m.buf.Len(), true }

// Open implements body.
func (m memory) Open() bodyReader { return m.buf.Reader() }

// follower is a body that may be growing.
type follower interface {
	body
	// Begun is closed with the first byte, or when there will be none.
	Begun() <-chan struct{}
	// Next returns what follows the first n bytes, one write's worth, waiting
	// for it until ctx is done. The error is io.EOF behind the last byte, and
	// errGivenUp when the rest will never come.
	Next(ctx context.Context, n int64) (cmaf.Buffer, error)
}
