package session

import (
	"cmp"
	"context"
	"errors"
	"math"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/wire"
)

// Since draft 20 a subscription asks for what was before it by
// FILL_PARAMETERS, which are answered by a fetch stream without a FETCH: a
// fill (draft-ietf-moq-transport-22, section "Fill Semantics").

// maxFills is how many fills of one subscription this end sends at a time.
// REQUEST_UPDATEs that ask for more are refused.
const maxFills = 8

// errNoFill ends a fill that the publisher does not begin.
var errNoFill = errors.New("session: no fill came")

// hasRangeFilters reports whether a request has filters that are not offered
// here.
func hasRangeFilters(p *wire.Params) bool {
	return len(p.RangeFilters) > 0 || p.Fill != nil && len(p.Fill.RangeFilters) > 0
}

// included returns the Track Properties for an answer, which a subscriber can
// do without by INCLUDE_PROPERTIES.
func included(track *moq.Track, p *wire.Params) moq.Properties {
	if p.IncludeProperties != nil && !*p.IncludeProperties {
		return nil
	}
	return track.Properties()
}

// rangeOf returns the Locations that a filter selects of a Track whose largest
// Object is known, as it does for a FETCH: none of them is greater. It returns
// false when there are none.
func rangeOf(f *wire.Filter, largest moq.Location) (start, last moq.Location, ok bool) {
	last = largest
	if f == nil {
		return start, last, true
	}
	end := func(l moq.Location) {
		if l.Less(last) {
			last = l
		}
	}
	switch f.Type {
	case wire.FilterNone:
	case wire.FilterRelativeStart:
		if f.Groups == 0 {
			return start, last, false // the next Group
		}
		if f.Groups <= largest.Group {
			start.Group = largest.Group - f.Groups + 1
		}
	case wire.FilterAbsoluteStart:
		start = f.Start
	case wire.FilterAbsoluteRange:
		start = f.Start
		if f.EndGroup < largest.Group {
			end(moq.Location{Group: f.EndGroup, Object: math.MaxUint64})
		}
	case wire.FilterObjectRange:
		start = f.Start
		end(moq.Location{Group: f.EndGroup, Object: f.EndObject})
	default:
		return start, last, false // the next Group or Object
	}
	return start, last, !last.Less(start)
}

// fill sends what p, which may be nil, asks for: on a stream with the Request
// ID of the message that asked, up to the largest Location that its answer
// named. "FILL_PARAMETERS carried while the subscription is paused opens no
// fill fetch stream", nor does an empty range.
func (d *sender) fill(id uint64, p *wire.Params, largest *moq.Location) {
	if p == nil || largest == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	start, last, ok := rangeOf(cmp.Or(p.Filter, d.params.filter), *largest)
	if !ok || d.ended || d.epoch.reader == nil {
		return
	}
	// The order decides how the stream is coded, so it is what the subscriber
	// knows, and not that of groupOrder.
	order := cmp.Or(p.GroupOrder, d.params.order)
	if v, ok := wire.FindProperty(d.track.Properties(), moq.PropertyDefaultGroupOrder); ok && order == moq.GroupOrderPublisher {
		order = moq.GroupOrder(v.Value)
	}
	l := &lane{fetch: true, subscriber: d.s.sched.priority(d.lane)}
	if p.SubscriberPriority != nil {
		l.subscriber = *p.SubscriberPriority
	}
	d.wg.Add(1)
	d.fills++
	opened := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.opened++
	}
	filled := func() {
		d.mu.Lock()
		d.fills--
		d.mu.Unlock()
		d.wg.Done()
	}
	if !d.s.spawn(func() {
		defer filled()
		// How it ends, the stream tells; the subscription goes on.
		_ = d.s.sendFetch(d.ctx, id, l, d.track.Range(start, last, order), order, opened)
	}) {
		d.fills--
		d.wg.Done()
	}
}

// accepted waits until the publisher has agreed to send the fetch, and then
// for a fill to begin no longer than JoinTimeout.
func (f *fetch) accepted(start moq.Location) error {
	if f.r != nil {
		_, err := f.answer(f.ctx, start)
		return err
	}
	if f.ask != nil {
		if err := f.ask(); err != nil {
			return err
		}
	}
	t := time.AfterFunc(f.s.cfg.Limits.JoinTimeout, func() {
		f.s.mu.Lock()
		taken := f.taken
		f.s.mu.Unlock()
		if !taken {
			f.cancel(errNoFill)
		}
	})
	context.AfterFunc(f.ctx, func() { t.Stop() })
	return nil
}

// joinPublished asks for the Group that was current when the peer sent a
// PUBLISH which this end has accepted.
func (s *Session) joinPublished(in *inbound, r *requestStream) {
	j := in.join
	if !s.dialect.Fill {
		f, err := s.openJoiningFetch(j.ctx, r.id, 0)
		if err != nil {
			j.abandon() // the Track goes on without
			return
		}
		j.start(in, f)
		return
	}
	f := s.newFetch(moq.GroupOrderAscending)
	f.ask = func() error {
		// A newer Group may have begun since, so this one is named.
		return in.updates.sendWith(f.ctx, wire.Params{Fill: &wire.Params{
			Filter:     &wire.Filter{Type: wire.FilterAbsoluteRange, Start: moq.Location{Group: j.group}, EndGroup: j.group},
			GroupOrder: moq.GroupOrderAscending,
		}}, f.expect)
	}
	j.start(in, f)
}
