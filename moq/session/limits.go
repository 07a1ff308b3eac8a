package session

import (
	"cmp"
	"time"
)

// Limits bound what a peer can make a Session hold, and how long the Session
// waits for it. A zero field means its default. The transport adds a bound of
// its own: the number of streams that the peer may have open.
type Limits struct {
	// Requests is how many requests of the peer may be open. Further ones are
	// refused with EXCESSIVE_LOAD. The default is 512: a page that shows a
	// hundred rooms has some tracks of each.
	Requests int
	// Namespaces is how many Namespaces may be known through one
	// SUBSCRIBE_NAMESPACE, in either direction. Beyond it the request is
	// cancelled. The default is 16384.
	Namespaces int
	// PendingStreams is how many data streams may wait for the message that
	// names their Track Alias or Request ID. Further ones are stopped. The
	// default is 32: one per Track that starts at the same time.
	PendingStreams int
	// PendingTimeout is how long such a stream waits. The default is 3 s, some
	// round trips of a bad path with a loss.
	PendingTimeout time.Duration
	// OpenSubgroups is how many data streams one subscription of the peer may
	// have open. Further Subgroups wait for one to end, by delivery or by
	// eviction. The default is 64.
	OpenSubgroups int
	// TokenCache is the MAX_AUTH_TOKEN_CACHE_SIZE, in bytes as the draft
	// counts them. The default is 8192, a few signed tokens. Negative means 0,
	// which forbids token aliases.
	TokenCache int
	// RequestUpdates is the MAX_REQUEST_UPDATES of draft 19. The default is
	// 16.
	RequestUpdates int
	// SetupTimeout is how long the peer's SETUP may take, and how long a
	// stream may take to say what it is. The default is 10 s.
	SetupTimeout time.Duration
	// MessageTimeout is how long a control message may take from its first
	// byte to its last, and a header on a data stream likewise. The default is
	// 10 s.
	MessageTimeout time.Duration
	// JoinTimeout is how long the live streams of a joined Group wait for the
	// FETCH that fills what precedes them. The default is 5 s.
	JoinTimeout time.Duration
	// DoneTimeout is how long a subscription goes on after PUBLISH_DONE for
	// streams that are still to come. The default is 5 s.
	DoneTimeout time.Duration
}

func (l Limits) withDefaults() Limits {
	l.Requests = cmp.Or(l.Requests, 512)
	l.Namespaces = cmp.Or(l.Namespaces, 16384)
	l.PendingStreams = cmp.Or(l.PendingStreams, 32)
	l.PendingTimeout = cmp.Or(l.PendingTimeout, 3*time.Second)
	l.OpenSubgroups = cmp.Or(l.OpenSubgroups, 64)
	l.TokenCache = max(cmp.Or(l.TokenCache, 8192), 0)
	l.RequestUpdates = cmp.Or(l.RequestUpdates, 16)
	l.SetupTimeout = cmp.Or(l.SetupTimeout, 10*time.Second)
	l.MessageTimeout = cmp.Or(l.MessageTimeout, 10*time.Second)
	l.JoinTimeout = cmp.Or(l.JoinTimeout, 5*time.Second)
	l.DoneTimeout = cmp.Or(l.DoneTimeout, 5*time.Second)
	return l
}

// cancelledAliases is how many Track Aliases of ended subscriptions are
// remembered, so that a late stream is stopped at once and does not wait for
// an alias that never comes.
const cancelledAliases = 64

// idWindow remembers which Request IDs of the peer have been seen. IDs come
// in order but for the reordering of streams, so a window over the newest is
// enough; an ID older than the window counts as a duplicate.
type idWindow struct {
	next uint64 // all indices from here on are unseen
	bits [idWindowSize / 64]uint64
}

// idWindowSize is far more than the streams that a peer may have open, which
// is what can overtake each other.
const idWindowSize = 1024

// add notes the n-th Request ID of the peer and reports whether it is new.
func (w *idWindow) add(n uint64) bool {
	word, bit := &w.bits[n%idWindowSize/64], uint64(1)<<(n%64)
	if n < w.next {
		if w.next-n > idWindowSize || *word&bit != 0 {
			return false
		}
		*word |= bit
		return true
	}
	if n-w.next >= idWindowSize {
		clear(w.bits[:])
	} else {
		for i := w.next; i < n; i++ {
			w.bits[i%idWindowSize/64] &^= 1 << (i % 64)
		}
	}
	*word |= bit
	w.next = n + 1
	return true
}

// seen reports whether the n-th Request ID has been seen, or is too old to
// tell.
func (w *idWindow) seen(n uint64) bool {
	if n >= w.next {
		return false
	}
	return w.next-n > idWindowSize || w.bits[n%idWindowSize/64]&(1<<(n%64)) != 0
}
