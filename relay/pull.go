package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/session"
	"github.com/freshet-live/freshet/moq/wire"
)

// pull is the one subscription by which the node gets a Track from another
// session, shared by all local subscribers. It outlives the session that
// serves it: when that is lost it looks for another provider and goes on
// filling the same Track.
type pull struct {
	node *Node
	name moq.FullTrackName
	key  string
	// cancel ends the pull's goroutine.
	cancel context.CancelFunc

	mu      sync.Mutex
	refs    int
	linger  *time.Timer
	writer  *moq.TrackWriter // nil until the first SUBSCRIBE_OK
	ready   chan struct{}    // closed while the Track is being filled; replaced when its provider is lost
	isReady bool
	// asking is the session that is being asked for the Track, or that serves
	// it.
	asking   *remote
	failed   chan struct{} // closed and replaced after each fruitless search
	searches uint64        // that were fruitless
	lastErr  error         // of the last one
	// nudge makes a search that rests look again.
	nudge chan struct{}
}

func newPull(n *Node, name moq.FullTrackName, key string, cancel context.CancelFunc) *pull {
	return &pull{node: n, name: name, key: key, cancel: cancel, ready: make(chan struct{}), failed: make(chan struct{}), nudge: make(chan struct{}, 1)}
}

// acquire counts one more subscriber and tells how often the pull has searched
// in vain. It fails when the pull has been given up and the caller must begin
// another one.
func (p *pull) acquire() (searches uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refs < 0 {
		return 0, false
	}
	p.refs++
	if p.linger != nil {
		p.linger.Stop()
		p.linger = nil
	}
	return p.searches, true
}

// release counts one subscriber less and gives the Track up some time after
// the last one, so that a viewer that reloads finds it warm.
func (p *pull) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refs < 0 {
		return
	}
	if p.refs--; p.refs > 0 {
		return
	}
	if !p.isReady {
		p.refs = -1
		p.cancel()
		return
	}
	p.linger = time.AfterFunc(p.node.cfg.Linger, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.refs == 0 {
			p.refs = -1
			p.cancel()
		}
	})
}

// pullWait tells how a subscriber waits for a pull.
type pullWait struct {
	from *remote // the session that asks, if one does
	// since is how many searches were fruitless when it came. Without expired
	// it waits for the next one only.
	since uint64
	// changed sends it to look elsewhere; expired ends its patience.
	changed <-chan struct{}
	expired <-chan time.Time
}

var (
	// errLookAgain sends a subscriber of a pull to look for the Track
	// elsewhere before it waits on.
	errLookAgain = errors.New("relay: providers have changed")
	// errGivenUp tells a subscriber that the pull has ended.
	errGivenUp = errors.New("relay: the pull was given up")
)

// wait returns the Track once it is being filled. Without patience it returns
// the error of the next search that finds no provider.
//
// A session that is itself being asked for the Track is told at once that it
// does not exist: two nodes that each know the other as a provider would
// otherwise wait for one another.
func (p *pull) wait(ctx context.Context, w pullWait) (*moq.Track, error) {
	for nudge := true; ; nudge = false {
		p.mu.Lock()
		ready, isReady, failed, writer := p.ready, p.isReady, p.failed, p.writer
		circular := w.from != nil && w.from == p.asking
		over, searches, err := p.refs < 0, p.searches, p.lastErr
		p.mu.Unlock()
		switch {
		case circular:
			return nil, notFound(p.name, nil)
		case isReady:
			return writer.Track(), nil
		case searches > w.since && w.expired == nil:
			return nil, notFound(p.name, err)
		case over:
			return nil, errGivenUp
		}
		if nudge {
			select {
			case p.nudge <- struct{}{}:
			default: // it will look in any case
			}
		}
		select {
		case <-ready:
		case <-failed:
		case <-w.changed:
			return nil, errLookAgain
		case <-w.expired:
			return nil, notFound(p.name, err)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// run pulls until nobody wants the Track, its publisher ends it or no
// provider can be found any more. It owns no further goroutine.
func (p *pull) run(ctx context.Context) {
	err := p.search(ctx)
	p.mu.Lock()
	p.refs = -1
	writer := p.writer
	if p.linger != nil {
		p.linger.Stop()
	}
	p.failLocked(err)
	p.mu.Unlock()
	p.node.dropPull(p)
	if writer != nil {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		writer.End(err)
	}
}

func (p *pull) failLocked(err error) {
	p.lastErr = err
	p.searches++
	close(p.failed)
	p.failed = make(chan struct{})
}

// lost lets no further subscriber in until a provider has been found again:
// what is retained is of a broadcast that may be over. Those who are in stay.
func (p *pull) lost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isReady {
		p.isReady = false
		p.ready = make(chan struct{})
	}
	if p.refs == 0 {
		// It only lingered.
		p.refs = -1
		p.cancel()
	}
}

// search goes from provider to provider. It returns io.EOF when the
// publisher has ended the Track.
func (p *pull) search(ctx context.Context) error {
	var orphaned time.Time // when the last provider was lost
	backoff := firstRetry
	for {
		providers, changed := p.node.namespaces.match(p.name.Namespace)
		var lastErr error
		for _, candidate := range providers {
			r, ok := candidate.(*remote)
			if !ok {
				continue
			}
			established, err := p.follow(ctx, r)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if established {
				p.lost()
				orphaned, backoff = time.Now(), firstRetry
				p.node.log.Debug("lost the provider of a track", "track", p.name.String(), "provider", r.id, "error", err)
				if ended(err) {
					return io.EOF
				}
			}
			if errors.Is(err, errReplaced) {
				return err
			}
			lastErr = err
		}
		p.mu.Lock()
		p.failLocked(notFound(p.name, lastErr))
		p.mu.Unlock()
		if !orphaned.IsZero() && time.Since(orphaned) > p.node.cfg.Orphan {
			return fmt.Errorf("no provider came back within %v: %w", p.node.cfg.Orphan, notFound(p.name, lastErr))
		}
		timer := time.NewTimer(backoff)
		select {
		case <-changed:
		case <-p.nudge:
		case <-timer.C:
			backoff = min(2*backoff, lastRetry)
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		timer.Stop()
	}
}

const (
	// firstRetry and lastRetry bound how long a search rests before it asks
	// providers again that had refused; a change of the Namespace table ends
	// the rest at once.
	firstRetry = 250 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// answerTimeout bounds how long a provider may leave a SUBSCRIBE unanswered
// before the next one is asked: a node may have to ask its own upstream.
const answerTimeout = 10 * time.Second

// errNoAnswer is why a provider was passed over.
var errNoAnswer = errors.New("relay: the provider did not answer")

// errReplaced tells that a provider has come back with a Track that is not
// the one that subscribers know.
var errReplaced = errors.New("relay: the track was replaced by another one")

// follow subscribes at r and returns when that subscription has ended;
// established tells whether it was accepted.
func (p *pull) follow(ctx context.Context, r *remote) (established bool, err error) {
	p.setAsking(r)
	defer p.setAsking(nil)
	answer, cancel := context.WithTimeoutCause(ctx, answerTimeout, errNoAnswer)
	sub, err := r.session.Subscribe(answer, p.name, session.SubscribeOptions{
		Join: true,
		Into: p.into,
	})
	cancel()
	if err != nil {
		return false, err
	}
	defer sub.Close()
	// Subscribers are let in once what came before the live edge is here:
	// their own joining FETCH is answered from this Track.
	select {
	case <-sub.Joined():
	case <-sub.Done():
		return true, sub.Err()
	case <-ctx.Done():
		return true, context.Cause(ctx)
	}
	p.mu.Lock()
	if !p.isReady {
		p.isReady = true
		p.lastErr = nil
		close(p.ready)
	}
	p.mu.Unlock()

	select {
	case <-sub.Done():
		return true, sub.Err()
	case <-ctx.Done():
		return true, context.Cause(ctx)
	}
}

func (p *pull) setAsking(r *remote) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asking = r
}

// servedBy reports whether r fills the Track.
func (p *pull) servedBy(r *remote) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.isReady && p.asking == r
}

// into gives the session the writer to fill, the same one after a provider
// was lost and another found.
func (p *pull) into(props moq.Properties) (*moq.TrackWriter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writer == nil {
		p.writer = moq.NewTrack(p.name, moq.TrackConfig{Properties: props, Retention: p.node.cfg.Retention})
		return p.writer, nil
	}
	if old := p.writer.Track().Properties(); len(old)+len(props) > 0 && !reflect.DeepEqual(old, props) {
		return nil, errReplaced
	}
	return p.writer, nil
}

// ended tells whether a subscription ended because its publisher said so,
// rather than because the way to it was lost.
func ended(err error) bool {
	var done *session.PublishDoneError
	return errors.As(err, &done) && done.Code == wire.DoneTrackEnded
}

func notFound(name moq.FullTrackName, cause error) error {
	var refused *session.RequestError
	if errors.As(cause, &refused) {
		return refused
	}
	return &session.RequestError{Code: wire.RequestDoesNotExist, Reason: "nobody publishes " + name.String()}
}
