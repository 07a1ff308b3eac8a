package hls

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media/packager"
	"github.com/freshet-live/freshet/moq"
)

// TestLostPublisher has a publisher fall silent, as a relay shows it that keeps
// the tracks open: playlists of one that newcomers do not find end after the
// grace and no later, also when the tracks end meanwhile; those of one that
// merely has nothing to say wait for it, and go on.
func TestLostPublisher(t *testing.T) {
	clip := picture(t)
	for _, c := range []struct {
		name string
		lost bool
		ends time.Duration // when the tracks end with an error; 0: they do not
		back bool          // the publisher can be had again before the grace is over
	}{
		{name: "lost", lost: true},
		{name: "lost, and its tracks end", lost: true, ends: 10 * time.Second},
		{name: "lost, and back", lost: true, back: true},
		{name: "silent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, n, stop := serve(t, ServerConfig{Linger: time.Hour})
				defer stop()
				ns := moq.Namespace{"live", "demo"}
				b := packager.New(ns, packager.Config{})
				show := func(shown bool) {
					n.mu.Lock()
					defer n.mu.Unlock()
					delete(n.broadcasts, ns.String())
					if shown {
						n.broadcasts[ns.String()] = b.Broadcast()
					}
				}
				show(true)
				v := repeat(clip, 5)
				w, err := b.AddTrack(*v.frames[0].Format)
				if err != nil {
					t.Fatal(err)
				}
				go func() { get(t.Context(), s, "/hls/demo/index.m3u8") }()
				feedTrack(t, w, v)
				show(!c.lost)
				const list = "/hls/demo/p/open/video0.m3u8"
				ended := func() bool { return parsed(t, get(t.Context(), s, list)).EndList }
				time.Sleep(c.ends)
				if c.ends > 0 {
					b.Close(errors.New("no packet for 10 s"))
				}
				time.Sleep(29*time.Second - c.ends)
				if ended() {
					t.Error("it has ended within the grace")
				}
				if c.back {
					show(true)
				}
				time.Sleep(11 * time.Second)
				if want := c.lost && !c.back; ended() != want {
					t.Errorf("ended %v after 40 s, want %v", !want, want)
				}
				if !c.lost || c.back {
					before := parsed(t, get(t.Context(), s, list))
					time.Sleep(2 * time.Minute)
					feedTrack(t, w, repeat(clip, 5))
					time.Sleep(time.Second)
					after := parsed(t, get(t.Context(), s, list))
					for _, f := range before.CheckUpdate(after) {
						t.Error(f)
					}
					if len(after.Segments) <= len(before.Segments) {
						t.Errorf("it did not go on\n%s", after.Append(nil))
					}
				}
				if c.ends == 0 {
					b.Close(nil)
				}
			})
		})
	}
}
