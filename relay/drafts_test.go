package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/session"
	"github.com/freshet-live/freshet/moq/wire"
)

// speaks makes a session to n in a draft.
func (r *rig) speaks(n *Node, d wire.Draft, cfg session.Config) *session.Session {
	r.t.Helper()
	client, server := moqtest.NewPipe(moqtest.PipeConfig{Protocol: d.ALPN()})
	r.wg.Go(func() { n.Serve(r.ctx, server) })
	s := session.New(client, session.RoleClient, cfg)
	r.wg.Go(func() { s.Run(r.ctx) })
	synctest.Wait()
	return s
}

// whole reads a Track to its end, each Object in a line with all that a viewer
// can know of it.
func whole(ctx context.Context, t *moq.Track) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "properties %v\n", t.Properties())
	r := t.NewReader(moq.ReaderConfig{Start: moq.StartAt})
	defer r.Close()
	for {
		sr, err := r.NextSubgroup(ctx)
		if errors.Is(err, io.EOF) {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
		cfg := sr.Config()
		fmt.Fprintf(&b, "group %d subgroup %d priority %d (inherited %v) last %v\n",
			sr.Group(), sr.ID(), cfg.Priority, cfg.InheritPriority, cfg.EndOfGroup)
		for {
			o, err := sr.Next(ctx)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return b.String(), err
			}
			payload, err := o.ReadAll(ctx)
			if err != nil {
				return b.String(), err
			}
			fmt.Fprintf(&b, "%d %v %v %q\n", o.ID, o.Status, o.Properties, payload)
		}
		fmt.Fprintln(&b, "end")
	}
}

// One broadcast, published in each draft, is watched through a relay in all of
// them: Objects, priorities, Properties and the ends of Groups and of the Track
// are what was published, whatever the two ends speak.
func TestDraftsCross(t *testing.T) {
	for _, publisher := range wire.Drafts() {
		t.Run(publisher.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testDraftsCross(t, publisher) })
		})
	}
}

func testDraftsCross(t *testing.T, publisher wire.Draft) {
	r := newRig(t)
	defer r.stop()
	n := r.run(r.node(Config{}))
	b := moq.NewBroadcast(demo)
	w, err := b.CreateTrack("video0", moq.TrackConfig{Properties: moq.Properties{
		{Type: moq.PropertyDefaultPublisherPriority, Value: 77}, {Type: 0x8a, Value: 1 << 40}, {Type: 0x8b, Bytes: []byte("track")},
	}})
	check(t, err)
	subgroup := func(g *moq.GroupWriter, id uint64, cfg moq.SubgroupConfig) *moq.SubgroupWriter {
		t.Helper()
		sg, err := g.Subgroup(id, cfg)
		check(t, err)
		return sg
	}
	object := func(sg *moq.SubgroupWriter, id uint64, size int) {
		t.Helper()
		check(t, sg.WriteObject(id, moq.Properties{{Type: 0x0d, Bytes: []byte{byte(id)}}, {Type: 0x10, Value: id << 33}},
			[]byte(strings.Repeat(string(rune('a'+id)), size))))
	}
	group := func(id uint64) *moq.GroupWriter {
		t.Helper()
		g, err := w.Group(id)
		check(t, err)
		return g
	}

	// The first Group is joined, and a fetch stream does not tell where it ends.
	first := subgroup(group(1<<40), 0, moq.SubgroupConfig{InheritPriority: true})
	object(first, 0, 5)
	object(first, 1, 70000)
	s := r.speaks(n, publisher, session.Config{Handler: &broadcaster{b: b}})
	_, err = s.PublishNamespace(t.Context(), demo)
	check(t, err)

	got := make(map[wire.Draft]chan string)
	for _, viewer := range wire.Drafts() {
		v := r.speaks(n, viewer, session.Config{})
		sub, err := v.Subscribe(t.Context(), video(demo), session.SubscribeOptions{Join: true})
		check(t, err)
		ch := make(chan string, 1)
		got[viewer] = ch
		r.wg.Go(func() {
			all, err := whole(r.ctx, sub.Track())
			if err != nil {
				t.Errorf("%v: %v", viewer, err)
			}
			ch <- all
		})
	}
	synctest.Wait()
	object(first, 2, 0)
	check(t, first.Close())
	second := group(1<<40 + 2)
	base := subgroup(second, 0, moq.SubgroupConfig{Priority: 9})
	object(base, 0, 100)
	object(base, 7, 10)
	check(t, base.Close())
	synctest.Wait()
	high := subgroup(second, 3, moq.SubgroupConfig{Priority: 200, EndOfGroup: true})
	object(high, 3, 1)
	check(t, high.WriteObject(9, nil, nil))
	check(t, high.Close())
	synctest.Wait()
	last := subgroup(group(1<<40+3), 0, moq.SubgroupConfig{InheritPriority: true})
	object(last, 0, 1)
	check(t, last.BeginObject(1, moq.StatusEndOfTrack, nil, 0))
	check(t, last.Close())
	w.End(nil)

	want, err := whole(t.Context(), w.Track())
	check(t, err)
	if strings.Count(want, "end\n") != 4 {
		t.Fatalf("published %s", want)
	}
	for viewer, ch := range got {
		if g := <-ch; g != want {
			t.Errorf("%v to %v: got\n%.2000s\nwant\n%.2000s", publisher, viewer, shorten(g), shorten(want))
		}
	}
}

// shorten makes long payloads short, for a person to read.
func shorten(s string) string {
	for _, c := range "abc" {
		for run := strings.Repeat(string(c), 1000); strings.Contains(s, run); {
			s = strings.ReplaceAll(s, run, "…")
		}
	}
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
