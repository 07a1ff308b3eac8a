package packager

import (
	"context"
	"fmt"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/moq"
)

// Derived is a track that is made of another track of the same broadcast, such
// as a smaller rendition. Its Groups have the IDs of those that they are made
// of. It is safe for concurrent use.
type Derived struct{ t *track }

// AddDerived declares a track of that name, made of the track source. It is in
// the catalogs at once, so f needs all that the catalogs say, except for the
// Description, which may come with the frames. It fails with ErrEnded,
// ErrTooManyTracks, ErrCodec for a codec of no kind or another kind than the
// source's, moq.ErrDuplicate for a name that is taken, and ErrNoSource.
func (b *Broadcast) AddDerived(name, source string, f media.Format) (*Derived, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, ErrEnded
	}
	var of *track
	for _, t := range b.tracks {
		if t.name == source && !t.derived {
			of = t
		}
	}
	switch {
	case of == nil:
		return nil, fmt.Errorf("%w: %q", ErrNoSource, source)
	case f.Kind() != of.kind:
		return nil, fmt.Errorf("%w: %v of %q", ErrCodec, f.Codec, source)
	}
	t, err := b.add(name, f)
	if err != nil {
		return nil, err
	}
	t.derived, t.alt = true, of.alt
	t.format = &f
	if err := b.catalogs.publish(b.describe()); err != nil {
		return nil, fmt.Errorf("packager: catalog: %w", err)
	}
	t.listed = t.format
	return &Derived{t}, nil
}

// WriteFrame appends a frame to the Group with the ID group of the source, and
// begins it with the first frame of an ID. gap is the number of IDs before it
// that the source leaves out. Frames of Groups before the newest one, video
// that does not begin with a key frame, and frames that nobody could decode are
// dropped and counted, which is no error. It fails with ErrEnded and ErrCodec.
func (d *Derived) WriteFrame(group, gap uint64, f media.Frame) error {
	t := d.t
	t.b.mu.Lock()
	defer t.b.mu.Unlock()
	if t.b.closed || t.withdrawn {
		return ErrEnded
	}
	if f.Format != nil && f.Format.Codec != t.codec {
		return fmt.Errorf("%w: %v after %v", ErrCodec, f.Format.Codec, t.codec)
	}
	if len(f.Data) == 0 || f.PTS < 0 {
		return t.drop(DropInvalid)
	}
	if t.groups > 0 && group+1 == t.next { // the current one
		if t.sub == nil || t.broken {
			return t.drop(DropBrokenGroup)
		}
		return t.write(f, nil, nil)
	}
	switch {
	case group < t.next && t.groups > 0:
		return t.drop(DropOldGroup)
	case !f.Key:
		return t.drop(DropNoKeyFrame)
	}
	t.endGroup()
	if f.Format != nil && f.Format.MIME != "" {
		t.format = f.Format
	}
	t.meter.begin(f.PTS)
	if t.groups == 0 || group-t.next != gap {
		gap = 0 // Groups that should be there are missing, and readers are to know
	}
	t.next = group
	return t.begin(f, gap)
}

// Interrupt gives up on the current Group and forgets what is retained: what
// comes next is not connected to it.
func (d *Derived) Interrupt() {
	t := d.t
	t.b.mu.Lock()
	defer t.b.mu.Unlock()
	if t.sub != nil {
		t.fail()
	}
	t.out.Clear()
	t.twin.stop()
}

// Withdraw takes the track out of the catalogs and ends it.
func (d *Derived) Withdraw(reason error) {
	t := d.t
	b := t.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || t.withdrawn {
		return
	}
	t.withdrawn = true
	if t.sub != nil {
		t.fail()
	}
	t.twin.end(reason)
	t.out.End(reason)
	// It fails after the end only.
	_ = b.catalogs.publish(b.describe())
}

// Demand returns what the readers of the track want, in either packaging.
func (d *Derived) Demand() moq.Demand {
	demand := d.t.out.Demand()
	if w := d.t.twin.out; w != nil {
		twin := w.Demand()
		demand.Readers += twin.Readers
		demand.Joined += twin.Joined
		demand.NewGroup = max(demand.NewGroup, twin.NewGroup)
	}
	return demand
}

// NextDemand waits until Demand is no longer what it was, and returns it. It
// fails with ErrEnded when the track ends, and with ctx's cause.
func (d *Derived) NextDemand(ctx context.Context, was moq.Demand) (moq.Demand, error) {
	for {
		changed := d.t.out.DemandChanged()
		var twinChanged <-chan struct{}
		if w := d.t.twin.out; w != nil {
			twinChanged = w.DemandChanged()
		}
		if now := d.Demand(); now != was {
			return now, nil
		}
		select {
		case <-changed:
		case <-twinChanged:
		case <-d.t.out.Track().Done():
			return moq.Demand{}, ErrEnded
		case <-ctx.Done():
			return moq.Demand{}, context.Cause(ctx)
		}
	}
}
