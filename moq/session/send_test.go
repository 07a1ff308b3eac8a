package session

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// Two viewers of one Track that join at different places get the same Objects,
// though the first one's header is kept for all.
func TestViewersShareHeaders(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		origin, w := servedTrack()
		p := connect(t, pipe, Config{}, Config{Handler: origin})
		q := connect(t, pipe, Config{}, Config{Handler: origin})
		sg := subgroup(t, w, 0)
		subscribe := func(p *pair) *moq.Track {
			return must[*Subscription](t)(p.client.Subscribe(t.Context(), trackName, SubscribeOptions{})).Track()
		}
		first := subscribe(p)
		props := moq.Properties{{Type: 0x10, Value: 3}}
		check(t, sg.WriteObject(2, props, []byte("a")))
		synctest.Wait()
		second := subscribe(q)
		check(t, sg.WriteObject(5, props, []byte("b")))
		synctest.Wait()
		check(t, sg.WriteObject(6, nil, []byte("c")))
		synctest.Wait()
		for track, want := range map[*moq.Track]string{first: "2a 5b 6c", second: "5b 6c"} {
			var got []string
			for r := track.Range(moq.Location{}, moq.Location{Group: 1}, 0); ; {
				o, err := r.Next()
				if err != nil {
					break
				}
				if o.Object == nil {
					continue // what was before the second one joined
				}
				got = append(got, fmt.Sprintf("%d%s", o.Object.ID, o.Object.Payload()))
			}
			if s := strings.Join(got, " "); s != want {
				t.Errorf("got %q, want %q", s, want)
			}
		}
		p.close()
		q.close()
	})
}

// "DELIVERY_TIMEOUT [...] If the timer expires before the underlying transport
// stream reaches 'all data committed' state, the implementation MUST reset the
// stream." (draft 18, Delivery Timeouts and Data Reliability)
func TestSubgroupDeliveryTimeout(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n, w := servedTrack()
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		p.skipControl()
		next[*wire.SubscribeOK](p.subscribeTo(wire.Params{SubgroupDeliveryTimeout: ptr(wire.Milliseconds(300))}))
		sg := subgroup(t, w, 0)
		check(t, sg.WriteObject(0, nil, []byte("x")))
		check(t, sg.Close())
		st := must[transport.ReceiveStream](t)(p.conn.AcceptUniStream(t.Context()))
		time.Sleep(301 * time.Millisecond)
		_, err := io.Copy(io.Discard, st)
		var end *transport.StreamError
		if !errors.As(err, &end) || wire.ResetCode(end.Code) != wire.ResetDeliveryTimeout {
			t.Errorf("late stream ended with %v", err)
		}
	})
}
