package ingest

import (
	"context"

	"github.com/freshet-live/freshet/media"
)

// Source makes the frames that a publishing client sends.
type Source interface {
	// Formats are the tracks, in the order that Next numbers them. They are
	// known from the start and stay what they are.
	Formats() []media.Format
	// Next waits for the next frame, which is due now: a source of recorded
	// media keeps its pace. Frames of a track come in decode order. It fails
	// with io.EOF at the end and with ctx's error.
	Next(ctx context.Context) (track int, f media.Frame, err error)
}
