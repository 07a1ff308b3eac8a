package boot

import (
	"context"
	"sync"

	"github.com/freshet-live/freshet/media/hls"
	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/relay"
)

// holdLive has LL-HLS mux every broadcast that is live at a node, co-hosts'
// too, from its start to its end. It owns a goroutine for each and returns
// after the last.
func holdLive(ctx context.Context, node *relay.Node, h *hls.Server) {
	var wg sync.WaitGroup
	defer wg.Wait()
	held := make(map[string]context.CancelFunc) // by Namespace
	defer func() {
		for _, release := range held {
			release()
		}
	}()
	watch := node.Namespaces(moq.Namespace{"live"})
	for {
		e, err := watch.Next(ctx)
		if err != nil {
			return
		}
		room, member, ok := liveBroadcast(e.Namespace)
		if !ok {
			continue
		}
		key := e.Namespace.String()
		if release := held[key]; release != nil {
			release()
			delete(held, key)
		}
		if e.Live {
			ctx, release := context.WithCancel(ctx)
			held[key] = release
			wg.Go(func() { h.Hold(ctx, room, member) })
		}
	}
}

// liveBroadcast tells whose broadcast lies under a Namespace: a room's, or a
// co-host's.
func liveBroadcast(ns moq.Namespace) (room, member string, ok bool) {
	switch len(ns) {
	case 2:
		return ns[1], "", true
	case 3:
		return ns[1], ns[2], true
	}
	return "", "", false
}
