package unpack

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/catalog"
	"github.com/freshet-live/freshet/moq"
)

// Subscriber is where Tracks come from: a relay node or a session.
type Subscriber interface {
	// Subscribe returns a Track that is being filled until release is
	// called. It fails when nobody publishes the Track.
	Subscribe(ctx context.Context, name moq.FullTrackName) (t *moq.Track, release func(), err error)
}

// Errors of this package.
var (
	// ErrNoTrack: the catalog has no media track of that name.
	ErrNoTrack = errors.New("unpack: no such track in the catalog")
	// ErrUnsupported: a packaging or codec that cannot be unpacked.
	ErrUnsupported = errors.New("unpack: unsupported track")
)

const (
	// ReturnWindow is how long a publisher may be lost before the broadcast
	// counts as ended.
	ReturnWindow = 15 * time.Second
	// returnInterval is how often a lost Track is subscribed to again.
	returnInterval = 250 * time.Millisecond
)

// Broadcast is one publisher's broadcast as a subscriber sees it. Catalog and
// Frames are safe for concurrent use; Next is for one goroutine.
type Broadcast struct {
	sub Subscriber
	ns  moq.Namespace

	follow  *follower
	hang    bool // reading hang's catalog
	group   *moq.GroupReader
	first   bool // the next Object is the first of its Group
	decoder catalog.Reader

	mu      sync.Mutex
	current catalog.Catalog
	clock   clock
}

// Open subscribes to the catalog of the broadcast in ns and waits for its
// first version. It falls back to hang's catalog when there is no MSF catalog
// or none of a version that this package reads.
func Open(ctx context.Context, sub Subscriber, ns moq.Namespace) (*Broadcast, error) {
	b, errMSF := open(ctx, sub, ns, false)
	if errMSF == nil || ctx.Err() != nil {
		return b, errMSF
	}
	b, errHang := open(ctx, sub, ns, true)
	if errHang != nil {
		return nil, fmt.Errorf("unpack: catalog of %v: %w", ns, errors.Join(errMSF, errHang))
	}
	return b, nil
}

func open(ctx context.Context, sub Subscriber, ns moq.Namespace, hang bool) (*Broadcast, error) {
	name := catalog.TrackMSF
	if hang {
		name = catalog.TrackHang
	}
	b := &Broadcast{sub: sub, ns: ns, hang: hang, follow: &follower{sub: sub, name: moq.FullTrackName{Namespace: ns, Track: name}}}
	if err := b.follow.open(ctx); err != nil {
		return nil, err
	}
	if _, err := b.next(ctx, true); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// Close ends the subscription to the catalog. FrameReaders go on until they
// are closed.
func (b *Broadcast) Close() { b.follow.close() }

// Namespace returns the broadcast's Namespace.
func (b *Broadcast) Namespace() moq.Namespace { return b.ns }

// Reachable tells whether who subscribes to the broadcast now finds it: a
// node may keep a Track open whose publisher it has lost, and is silent then
// as if the publisher were. The error is why it does not. It is safe for
// concurrent use.
func (b *Broadcast) Reachable(ctx context.Context) error {
	t, release, err := b.sub.Subscribe(ctx, b.follow.name)
	if err != nil {
		return err
	}
	defer release()
	return t.Err()
}

// Catalog returns the newest catalog that Open or Next has seen.
func (b *Broadcast) Catalog() catalog.Catalog {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.current
}

// Next waits for the next version of the catalog. A version that cannot be
// read is passed over. It returns io.EOF when the broadcast has ended: after a
// catalog that is Complete, at a regular end of the catalog Track, and when a
// lost publisher has not returned within ReturnWindow.
func (b *Broadcast) Next(ctx context.Context) (catalog.Catalog, error) {
	if b.Catalog().Complete {
		return catalog.Catalog{}, io.EOF
	}
	return b.next(ctx, false)
}

// next reads catalog Objects. With strict it fails at the first one that
// cannot be read.
func (b *Broadcast) next(ctx context.Context, strict bool) (catalog.Catalog, error) {
	for {
		payload, first, err := b.object(ctx)
		if err != nil {
			return catalog.Catalog{}, err
		}
		c, err := b.decode(payload, first)
		if err != nil {
			if strict {
				return catalog.Catalog{}, err
			}
			continue
		}
		b.mu.Lock()
		b.current = c
		b.mu.Unlock()
		return c, nil
	}
}

func (b *Broadcast) decode(payload []byte, first bool) (catalog.Catalog, error) {
	switch {
	case b.hang:
		return catalog.ParseHang(payload)
	case first:
		return b.decoder.Independent(payload)
	}
	return b.decoder.Delta(payload)
}

// object returns the next catalog Object and whether it is the first of its
// Group.
func (b *Broadcast) object(ctx context.Context) ([]byte, bool, error) {
	for {
		fresh, err := b.follow.reader(ctx)
		if err != nil {
			return nil, false, err
		}
		if fresh {
			b.group = nil
		}
		if b.group == nil {
			g, err := b.follow.nextGroup(ctx)
			if err != nil {
				if err := b.follow.failed(ctx, err); err != nil {
					return nil, false, err
				}
				continue
			}
			b.group, b.first = g, true
		}
		o, err := await(ctx, b.follow.track, b.group.ID(), b.group.Next)
		if err != nil {
			if ctx.Err() != nil {
				return nil, false, context.Cause(ctx)
			}
			b.group = nil // its end, or what is left of it is lost
			continue
		}
		if o.Status != moq.StatusNormal {
			continue
		}
		payload, err := readBounded(ctx, o, catalog.MaxSize)
		if err == nil {
			payload, err = decompress(payload, o.Properties, b.follow.track.Properties())
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil, false, context.Cause(ctx)
			}
			b.group = nil
			continue
		}
		first := b.first
		if first && o.ID != 0 {
			// Deltas without their beginning mean nothing.
			b.group = nil
			continue
		}
		b.first = false
		return payload, first, nil
	}
}

// readBounded reads an Object unless it is larger than limit bytes.
func readBounded(ctx context.Context, o *moq.Object, limit int) ([]byte, error) {
	if o.Size > uint64(limit) {
		return nil, fmt.Errorf("%w: object of %d bytes", catalog.ErrTooLarge, o.Size)
	}
	return o.ReadAll(ctx)
}

// propertyCompression is MSF_COMPRESSION, of Tracks and Objects
// (draft-ietf-moq-msf, section "Compression Signaling").
const propertyCompression uint64 = 0x78

// decompress undoes MSF_COMPRESSION.
func decompress(b []byte, object, track moq.Properties) ([]byte, error) {
	p, ok := object.Get(propertyCompression)
	if !ok {
		p, _ = track.Get(propertyCompression)
	}
	switch p.Value {
	case 0:
		return b, nil
	case 1:
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", catalog.ErrMalformed, err)
		}
		b, err = io.ReadAll(io.LimitReader(z, catalog.MaxSize+1))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", catalog.ErrMalformed, err)
		}
		return b, nil // the parser refuses what is over MaxSize
	}
	return nil, fmt.Errorf("%w: compression %d", ErrUnsupported, p.Value)
}

// Frames subscribes to a media track of the current catalog. It fails with
// ErrNoTrack, with ErrUnsupported for a codec or packaging that cannot be
// unpacked, and as the Subscriber does.
func (b *Broadcast) Frames(ctx context.Context, name string) (*FrameReader, error) {
	t, ok := b.track(name)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrNoTrack, name)
	}
	switch {
	case t.Format.Codec == 0:
		return nil, fmt.Errorf("%w: codec %.64q of track %q", ErrUnsupported, t.Format.MIME, name)
	case t.Encryption != "":
		return nil, fmt.Errorf("%w: track %q is encrypted with %.64q", ErrUnsupported, name, t.Encryption)
	case t.Packaging != catalog.LOC && t.Packaging != catalog.Legacy:
		return nil, fmt.Errorf("%w: packaging %.32q of track %q", ErrUnsupported, t.Packaging, name)
	}
	r := &FrameReader{
		b: b, name: name, packaging: t.Packaging,
		decoder: decoder{codec: t.Format.Codec, kind: t.Format.Codec.Kind()},
		follow:  &follower{sub: b.sub, name: moq.FullTrackName{Namespace: b.ns, Track: name}},
	}
	if err := r.follow.open(ctx); err != nil {
		return nil, fmt.Errorf("unpack: track %q: %w", name, err)
	}
	return r, nil
}

func (b *Broadcast) track(name string) (*catalog.Track, bool) {
	c := b.Catalog()
	t, ok := c.Track(name)
	if !ok || t.Namespace != "" && t.Namespace != b.ns.String() {
		return nil, false // another broadcast's
	}
	return t, true
}

// clock puts times that count from an unknown moment on the wall clock.
type clock struct {
	set    bool
	offset time.Duration
}

// maxClockError is how far such a time may stray from the wall clock before it
// is taken for a new timeline, as after a restart of the publisher.
const maxClockError = 30 * time.Second

// wall converts the time of a frame that has just arrived. All tracks of a
// broadcast share one clock, so that they stay in sync.
func (b *Broadcast) wall(t media.Time) media.Time {
	now := media.TimeOf(time.Now())
	b.mu.Lock()
	defer b.mu.Unlock()
	if at := t.Add(b.clock.offset); !b.clock.set || now.Sub(at).Abs() > maxClockError {
		b.clock = clock{set: true, offset: now.Sub(t)}
	}
	return t.Add(b.clock.offset)
}
