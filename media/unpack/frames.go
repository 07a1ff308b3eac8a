package unpack

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/catalog"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/loc"
	"github.com/freshet-live/freshet/moq"
)

// stallAfter is how long the next Object of a Group may take while a newer
// Group exists. A Group that is late by this much is given up.
const stallAfter = 3 * time.Second

// Frame is a frame with its place in the Track.
type Frame struct {
	media.Frame
	// Group is the ID of the Group that it came in.
	Group uint64
	// Discontinuity tells that frames were lost, or that the publisher
	// started anew, between the frame returned before and this one. The
	// first frame of a reader has none.
	Discontinuity bool
}

// Stats counts what a FrameReader has seen.
type Stats struct {
	Frames        uint64 // returned
	Groups        uint64 // begun
	MissingGroups uint64 // never came, by their IDs
	TooFarBehind  uint64 // times that Groups had been evicted unread
	LostObjects   uint64 // holes inside Groups, resets included
	Stalls        uint64 // Groups given up because they made no progress
	Malformed     uint64 // Objects that could not be understood
	Returns       uint64 // times that a lost publisher came back
}

// FrameReader returns the frames of one track in decode order. It is not safe
// for concurrent use.
type FrameReader struct {
	b         *Broadcast
	name      string
	packaging catalog.Packaging
	follow    *follower
	decoder   decoder

	group  *moq.GroupReader
	object uint64 // ID of the Object that comes next in the Group
	whole  bool   // nothing of the Group has been given up
	// missing is how many Groups did not come before the current one, which
	// its first Object may explain.
	missing uint64
	began   bool // a frame has been returned
	// returned tells that the publisher was lost and is back, and that none
	// of its Groups has been entered since.
	returned bool
	lost     bool // the next frame is behind a discontinuity
	stats    Stats
}

// Close ends the subscription.
func (r *FrameReader) Close() { r.follow.close() }

// Stats returns the counts so far.
func (r *FrameReader) Stats() Stats { return r.stats }

// Next waits for the next frame. The first one is the first frame of the
// Group that is current when the reader begins. It returns io.EOF when the
// track has ended: regularly, or because its lost publisher has not returned
// within ReturnWindow.
//
// Video begins with a key frame. Format is set on every key frame and, for
// audio and text, on every frame; a new pointer is a new format.
func (r *FrameReader) Next(ctx context.Context) (Frame, error) {
	for {
		if err := r.enter(ctx); err != nil {
			return Frame{}, err
		}
		if r.group == nil {
			continue
		}
		o, err := r.nextObject(ctx)
		if err != nil {
			return Frame{}, err
		}
		if o == nil {
			continue
		}
		f, ok, err := r.frame(ctx, o)
		if err != nil {
			return Frame{}, err
		}
		if !ok {
			continue
		}
		out := Frame{Frame: f, Group: r.group.ID(), Discontinuity: r.lost && r.began}
		r.began, r.lost = true, false
		r.stats.Frames++
		return out, nil
	}
}

// enter makes sure that there is a current Group; it may return without one.
func (r *FrameReader) enter(ctx context.Context) error {
	fresh, err := r.follow.reader(ctx)
	if err != nil {
		return err
	}
	before, had := r.follow.last, r.follow.begun
	if fresh && had {
		r.group, r.returned = nil, true
		r.stats.Returns++
	}
	if r.group != nil {
		return nil
	}
	g, err := r.follow.nextGroup(ctx)
	if err != nil {
		if errors.Is(err, moq.ErrTooFarBehind) {
			r.stats.TooFarBehind++
			r.lost = true
		}
		return r.follow.failed(ctx, err)
	}
	returned := r.returned
	r.returned = false
	switch {
	case !had || g.ID() == before+1 && !returned:
	case g.ID() == before && r.whole:
		// Back in the Group that was current when the publisher was out of
		// reach: what comes next is the Object after the last one read.
		r.group = g
		return nil
	case g.ID() == before:
		return nil // its beginning has been read, the rest given up
	case returned || g.ID() < before || g.ID()-before > maxMissingGroups:
		r.lost = true
		if !returned {
			r.stats.Returns++
		}
	default:
		r.missing = g.ID() - before - 1
	}
	r.group, r.object, r.whole = g, 0, true
	r.stats.Groups++
	return nil
}

// nextObject returns the next Object of the Group, nil at its end.
func (r *FrameReader) nextObject(ctx context.Context) (*moq.Object, error) {
	o, err := await(ctx, r.follow.track, r.group.ID(), r.group.Next)
	switch {
	case err == nil:
		return o, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err == io.EOF:
		r.group = nil
	default:
		r.broke(err, r.object)
	}
	return nil, nil
}

// errStalled: a newer Group exists, and the current one makes no progress.
var errStalled = errors.New("unpack: group stalled")

// await calls read until it succeeds, or returns errStalled.
func await[T any](ctx context.Context, t *moq.Track, group uint64, read func(context.Context) (T, error)) (T, error) {
	for {
		attempt, cancel := context.WithTimeoutCause(ctx, stallAfter, errStalled)
		v, err := read(attempt)
		stalled := attempt.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !stalled {
			return v, err
		}
		if largest, ok := t.Largest(); ok && largest.Group > group {
			return v, errStalled
		}
	}
}

// broke takes an error that ended the current Group before its Object next.
// When the publisher is out of reach it may go on there.
func (r *FrameReader) broke(err error, next uint64) {
	var reset *moq.ResetError
	if errors.As(err, &reset) && r.follow.outOfReach(r.group.ID()) {
		r.group, r.object = nil, next
		return
	}
	r.abandon(err)
}

// abandon gives up on the current Group.
func (r *FrameReader) abandon(err error) {
	switch {
	case err == errStalled:
		r.stats.Stalls++
	case errors.Is(err, moq.ErrTooFarBehind):
		r.stats.TooFarBehind++
	case isMalformed(err):
		r.stats.Malformed++
	default:
		r.stats.LostObjects++
	}
	r.lost = true
	r.group, r.whole = nil, false
}

func isMalformed(err error) bool {
	for _, target := range []error{loc.ErrMalformed, loc.ErrNoTimestamp, codec.ErrMalformed, codec.ErrTooLarge,
		codec.ErrUnsupported, codec.ErrNoFormat, codec.ErrNoPicture} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// frame makes a frame of an Object; false when there is none.
func (r *FrameReader) frame(ctx context.Context, o *moq.Object) (media.Frame, bool, error) {
	first := r.object == 0
	if !r.inOrder(o) {
		return media.Frame{}, false, nil
	}
	if o.Status != moq.StatusNormal {
		return media.Frame{}, false, nil // an end, which its reader notices
	}
	data, err := await(ctx, r.follow.track, r.group.ID(), o.ReadAll)
	if err != nil {
		if ctx.Err() != nil {
			return media.Frame{}, false, context.Cause(ctx)
		}
		r.broke(err, o.ID)
		return media.Frame{}, false, nil
	}
	h, data, err := r.header(o, data)
	var f media.Frame
	if err == nil {
		if h.Relative {
			h.Time = r.b.wall(h.Time)
		}
		f, err = r.decoder.frame(r.hint(), h, data, first)
	}
	switch {
	case err == nil:
		return f, true, nil
	case errors.Is(err, codec.ErrNoPicture), errors.Is(err, errEmpty):
		return media.Frame{}, false, nil
	case r.decoder.kind != media.Video:
		r.stats.Malformed++
		r.lost = true
		return media.Frame{}, false, nil
	}
	r.abandon(err)
	return media.Frame{}, false, nil
}

// errEmpty: an Object without data, which some publishers use as a marker.
var errEmpty = errors.New("unpack: empty frame")

// header splits an Object into metadata and data.
func (r *FrameReader) header(o *moq.Object, payload []byte) (loc.Header, []byte, error) {
	if r.packaging == catalog.Legacy {
		return loc.SplitLegacy(payload)
	}
	h, err := loc.Parse(o.Properties, r.follow.track.Properties())
	if errors.Is(err, loc.ErrNoTimestamp) {
		// Without the Property the payload may bring its own. A frame that
		// has neither fails there, or cannot be placed in time anyway.
		return loc.SplitBlock(payload)
	}
	return h, payload, err
}

// hint returns what the catalog says of the track now.
func (r *FrameReader) hint() *media.Format {
	if t, ok := r.b.track(r.name); ok && t.Format.Codec == r.decoder.codec {
		return &t.Format
	}
	return &media.Format{Codec: r.decoder.codec}
}

// inOrder checks that no Object is missing before o. Publishers say so when
// they left out IDs on purpose.
func (r *FrameReader) inOrder(o *moq.Object) bool {
	if o.ID < r.object {
		return false // read before the publisher was out of reach
	}
	first := r.object == 0
	if r.missing > 0 && gap(o.Properties, moq.PropertyPriorGroupIDGap) < r.missing {
		r.stats.MissingGroups += r.missing
		r.lost = true
	}
	r.missing = 0
	missing := o.ID - r.object
	if missing > 0 && gap(o.Properties, moq.PropertyPriorObjectIDGap) < missing {
		if r.decoder.kind == media.Video {
			if first && !r.began {
				r.group, r.whole = nil, false // joined in the middle of a Group: wait for a whole one
				return false
			}
			r.abandon(&moq.ResetError{})
			return false
		}
		if r.began || !first {
			r.stats.LostObjects++
		}
		r.lost = true
	}
	r.object = o.ID + 1
	return true
}

func gap(p moq.Properties, typ uint64) uint64 {
	v, _ := p.Get(typ)
	return v.Value
}
