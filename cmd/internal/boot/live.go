package boot

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/freshet-live/freshet/control/api"
	"github.com/freshet-live/freshet/media/unpack"
	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/relay"
)

// liveRooms follows the Namespaces (live, room) of a node and their
// catalogs, for the list of live rooms.
type liveRooms struct {
	node *relay.Node
	// count tells that viewers watch at this node.
	count bool

	mu    sync.Mutex
	rooms map[string]*liveRoom
}

type liveRoom struct {
	api.LiveRoom
	cancel context.CancelFunc
}

func newLiveRooms(node *relay.Node, count bool) *liveRooms {
	return &liveRooms{node: node, count: count, rooms: make(map[string]*liveRoom)}
}

// liveNamespace is the Namespace of a room's own broadcast.
func liveNamespace(room string) moq.Namespace { return moq.Namespace{"live", room} }

// run follows until ctx ends. It owns a goroutine for each live room.
func (l *liveRooms) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	watch := l.node.Namespaces(moq.Namespace{"live"})
	for {
		e, err := watch.Next(ctx)
		if err != nil {
			return
		}
		if len(e.Namespace) != 2 {
			continue // a co-host's
		}
		room := e.Namespace[1]
		l.mu.Lock()
		if r := l.rooms[room]; r != nil {
			r.cancel()
			delete(l.rooms, room)
		}
		if e.Live {
			ctx, cancel := context.WithCancel(ctx)
			r := &liveRoom{LiveRoom: api.LiveRoom{Room: room, Live: true, StartedAt: time.Now().UTC()}, cancel: cancel}
			l.rooms[room] = r
			wg.Go(func() { l.follow(ctx, r) })
		}
		l.mu.Unlock()
	}
}

// catalogRetry is how long follow rests when it finds no catalog.
const catalogRetry = 2 * time.Second

// follow keeps the codecs of one room up to date. A catalog may come later than
// its Namespace; the room is live all the same.
func (l *liveRooms) follow(ctx context.Context, r *liveRoom) {
	for ctx.Err() == nil {
		l.followCatalog(ctx, r)
		select {
		case <-time.After(catalogRetry):
		case <-ctx.Done():
		}
	}
}

// followCatalog returns when the catalog cannot be had, or has ended.
func (l *liveRooms) followCatalog(ctx context.Context, r *liveRoom) {
	b, err := unpack.Open(ctx, l.node, liveNamespace(r.Room))
	if err != nil {
		return
	}
	defer b.Close()
	for c := b.Catalog(); ; {
		var codecs []string
		for _, t := range c.Tracks {
			if name := t.Format.Codec.String(); !slices.Contains(codecs, name) {
				codecs = append(codecs, name)
			}
		}
		l.mu.Lock()
		r.Codecs = codecs
		l.mu.Unlock()
		if c, err = b.Next(ctx); err != nil {
			return
		}
	}
}

// LiveRooms implements api.Live.
func (l *liveRooms) LiveRooms() []api.LiveRoom {
	l.mu.Lock()
	defer l.mu.Unlock()
	rooms := make([]api.LiveRoom, 0, len(l.rooms))
	for _, r := range l.rooms {
		room := r.LiveRoom
		if l.count {
			viewers := l.node.Viewers(liveNamespace(room.Room))
			room.Viewers = &viewers
		}
		rooms = append(rooms, room)
	}
	slices.SortFunc(rooms, func(a, b api.LiveRoom) int { return strings.Compare(a.Room, b.Room) })
	return rooms
}
