package hlsload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-live/freshet/media/hls/playlist"
)

// viewer is a player as far as the network notices: it follows one rendition
// by blocking requests, and loads each part while it is only hinted.
type viewer struct {
	client *http.Client
	index  string // URL of the multivariant playlist
	track  string // path of the rendition to watch: its playlist's name
	media  bool   // load parts
	goal   int    // leave after so many updates; 0: never

	// What it has seen.
	updates, parts int
	bytes          atomic.Int64
	first, last    position
	waits          []wait
	address        atomic.Value // net.Addr of its newest connection
}

// local returns the address of the viewer's connection; "" before.
func (v *viewer) local() string {
	if a, ok := v.address.Load().(net.Addr); ok {
		return a.String()
	}
	return ""
}

// position is that of a part.
type position struct {
	msn  uint64
	part int
}

// wait is one blocking request.
type wait struct {
	At         playlistAt
	Start, End time.Time
}

// watch plays until it has reached its goal. Without one it plays until ctx is
// done, which is no error then.
func (v *viewer) watch(ctx context.Context) error {
	base, err := v.find(ctx)
	if err != nil {
		return v.ended(ctx, err)
	}
	p, err := v.load(ctx, base)
	if err != nil {
		return v.ended(ctx, err)
	}
	v.first.msn, v.first.part, _ = p.Last()
	v.last = v.first
	for {
		hint := p.Hint
		var wg sync.WaitGroup
		var partErr error
		if v.media && hint != "" {
			wg.Go(func() { partErr = v.loadPart(ctx, base, hint) })
		}
		msn, part, _ := p.Last()
		ask := *base
		ask.RawQuery = fmt.Sprintf("_HLS_msn=%d&_HLS_part=%d&_HLS_skip=YES", msn, part+1)
		w := wait{At: playlistAt{v.track, strconv.FormatUint(msn, 10), strconv.Itoa(part + 1)}, Start: time.Now()}
		text, err := v.get(ctx, &ask)
		w.End = time.Now()
		wg.Wait()
		if err = errors.Join(err, partErr); err != nil {
			return v.ended(ctx, err)
		}
		v.waits = append(v.waits, w)
		v.updates++
		if p, err = playlist.ParseMedia(text); err != nil {
			return fmt.Errorf("%s: %w", &ask, err)
		}
		now := v.last
		now.msn, now.part, _ = p.Last()
		if now.msn < v.last.msn || now.msn == v.last.msn && now.part <= v.last.part {
			return fmt.Errorf("%s: at %v, and then at %v", v.track, v.last, now)
		}
		if v.last = now; v.updates == v.goal {
			return nil
		}
	}
}

// ended turns the end of the time into no error, unless there is a goal.
func (v *viewer) ended(ctx context.Context, err error) error {
	switch {
	case ctx.Err() == nil:
		return err
	case v.goal > 0:
		return fmt.Errorf("%s: %d of %d updates: %w", v.track, v.updates, v.goal, err)
	}
	return nil
}

// find reads the multivariant playlist and returns where the rendition is.
func (v *viewer) find(ctx context.Context) (*url.URL, error) {
	u, err := url.Parse(v.index)
	if err != nil {
		return nil, err
	}
	b, err := v.get(ctx, u)
	if err != nil {
		return nil, err
	}
	m, err := playlist.ParseMultivariant(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", u, err)
	}
	for _, variant := range m.Variants {
		ref, err := u.Parse(variant.URI)
		if err != nil {
			return nil, err
		}
		if rendition(ref) == v.track {
			return ref, nil
		}
	}
	for _, sound := range m.Renditions {
		ref, err := u.Parse(sound.URI)
		if err != nil {
			return nil, err
		}
		if rendition(ref) == v.track {
			return ref, nil
		}
	}
	return nil, fmt.Errorf("no rendition %s in\n%s", v.track, b)
}

// rendition returns the name in the URL of a media playlist.
func rendition(u *url.URL) string {
	a, _ := classify(&http.Request{URL: u})
	return a.rendition
}

func (v *viewer) load(ctx context.Context, u *url.URL) (*playlist.Media, error) {
	b, err := v.get(ctx, u)
	if err != nil {
		return nil, err
	}
	p, err := playlist.ParseMedia(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", u, err)
	}
	return p, nil
}

func (v *viewer) loadPart(ctx context.Context, base *url.URL, hint string) error {
	u, err := base.Parse(hint)
	if err != nil {
		return err
	}
	b, err := v.get(ctx, u)
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return fmt.Errorf("%s is empty", u)
	}
	v.parts++
	return nil
}

func (v *viewer) get(ctx context.Context, u *url.URL) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", u, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d: %.80s", u, resp.StatusCode, b)
	}
	v.bytes.Add(int64(len(b)))
	return b, nil
}
