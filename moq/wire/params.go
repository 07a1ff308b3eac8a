package wire

import (
	"fmt"
	"math"
	"time"

	"github.com/freshet-live/freshet/moq"
)

// Milliseconds is a duration as the protocol carries it. It can be longer
// than a time.Duration can say.
type Milliseconds uint64

// MillisecondsOf returns d in milliseconds, rounded up, so that a timeout
// that is not 0 never becomes 0. A negative d gives 0.
func MillisecondsOf(d time.Duration) Milliseconds {
	if d <= 0 {
		return 0
	}
	return Milliseconds((d-1)/time.Millisecond) + 1
}

// Duration returns m as a time.Duration, the largest one when m is larger.
func (m Milliseconds) Duration() time.Duration {
	if m > Milliseconds(math.MaxInt64/time.Millisecond) {
		return math.MaxInt64
	}
	return time.Duration(m) * time.Millisecond
}

// ParamType identifies a Message Parameter
// (draft-ietf-moq-transport-18, section "Message Parameters").
type ParamType uint64

// The Message Parameters. Most exist since draft 15 or 18; in draft 14 they
// are fields of messages.
const (
	ParamObjectDeliveryTimeout   ParamType = 0x02
	ParamAuthorizationToken      ParamType = 0x03
	ParamRendezvousTimeout       ParamType = 0x04
	ParamSubgroupDeliveryTimeout ParamType = 0x06
	ParamExpires                 ParamType = 0x08
	ParamLargestObject           ParamType = 0x09
	ParamFillTimeout             ParamType = 0x0A
	ParamForward                 ParamType = 0x10
	ParamSubscriberPriority      ParamType = 0x20
	ParamFilter                  ParamType = 0x21 // SUBSCRIPTION_FILTER, since draft 19 LOCATION_FILTER
	ParamGroupOrder              ParamType = 0x22
	ParamFillParameters          ParamType = 0x23 // since draft 20
	ParamSubgroupFilter          ParamType = 0x25 // since draft 19
	ParamObjectIDFilter          ParamType = 0x26 // since draft 19
	ParamPriorityFilter          ParamType = 0x27 // since draft 19
	ParamObjectPropertyFilter    ParamType = 0x28 // since draft 19
	ParamTrackPropertyFilter     ParamType = 0x29 // since draft 19
	ParamNewGroupRequest         ParamType = 0x32
	ParamTrackNamespacePrefix    ParamType = 0x34
	ParamIncludeProperties       ParamType = 0x35 // since draft 20
)

// String returns the draft's name of the parameter.
func (t ParamType) String() string {
	switch t {
	case ParamObjectDeliveryTimeout:
		return "OBJECT_DELIVERY_TIMEOUT"
	case ParamAuthorizationToken:
		return "AUTHORIZATION_TOKEN"
	case ParamRendezvousTimeout:
		return "RENDEZVOUS_TIMEOUT"
	case ParamSubgroupDeliveryTimeout:
		return "SUBGROUP_DELIVERY_TIMEOUT"
	case ParamExpires:
		return "EXPIRES"
	case ParamLargestObject:
		return "LARGEST_OBJECT"
	case ParamFillTimeout:
		return "FILL_TIMEOUT"
	case ParamForward:
		return "FORWARD"
	case ParamSubscriberPriority:
		return "SUBSCRIBER_PRIORITY"
	case ParamFilter:
		return "LOCATION_FILTER"
	case ParamGroupOrder:
		return "GROUP_ORDER"
	case ParamSubgroupFilter:
		return "SUBGROUP_FILTER"
	case ParamObjectIDFilter:
		return "OBJECTID_FILTER"
	case ParamPriorityFilter:
		return "PRIORITY_FILTER"
	case ParamObjectPropertyFilter:
		return "OBJECT_PROPERTY_FILTER"
	case ParamTrackPropertyFilter:
		return "TRACK_PROPERTY_FILTER"
	case ParamNewGroupRequest:
		return "NEW_GROUP_REQUEST"
	case ParamTrackNamespacePrefix:
		return "TRACK_NAMESPACE_PREFIX"
	case ParamFillParameters:
		return "FILL_PARAMETERS"
	case ParamIncludeProperties:
		return "INCLUDE_PROPERTIES"
	}
	return fmt.Sprintf("ParamType(%#x)", uint64(t))
}

// Params are the Message Parameters of one message. A nil field, or the zero
// GroupOrder, is absent. Which parameters a message may carry depends on the
// draft and on the message; a parser closes the session over any other, and
// AppendMessage refuses to encode one.
type Params struct {
	// ObjectDeliveryTimeout and SubgroupDeliveryTimeout bound how late an
	// Object, or the rest of a Subgroup, is still worth sending; 0 is no bound.
	ObjectDeliveryTimeout   *Milliseconds
	SubgroupDeliveryTimeout *Milliseconds
	// Tokens authorise the request.
	Tokens []Token
	// RendezvousTimeout is how long a subscriber waits for a publisher to
	// come; absent means 0.
	RendezvousTimeout *Milliseconds
	// Expires is after how long the sender will end the subscription; absent
	// or 0 when it does not say.
	Expires *Milliseconds
	// LargestObject is the largest Location of the Track that the publisher
	// has seen; absent when the Track has no Objects yet.
	LargestObject *moq.Location
	// FillTimeout is how long a relay may wait for its upstream to answer a
	// Fetch.
	FillTimeout *Milliseconds
	// Forward is whether Objects are to be sent; absent means true, and in a
	// RequestUpdate unchanged.
	Forward *bool
	// SubscriberPriority orders requests of a session, the lowest first;
	// absent means moq.DefaultPriority, and in a RequestUpdate unchanged.
	SubscriberPriority *uint8
	// Filter selects Objects by Location; absent means all, and in a
	// RequestUpdate unchanged. See Fetch for what it means there.
	Filter *Filter
	// Fill asks for a fetch stream of what was before the subscription. Its
	// FillTimeout, SubscriberPriority, Filter, GroupOrder and RangeFilters
	// are those of that stream where they differ from the subscription's; it
	// has no others. Since draft 20; before, there are joining Fetches.
	Fill *Params
	// GroupOrder is GroupOrderPublisher when absent.
	GroupOrder moq.GroupOrder
	// RangeFilters select Objects and Tracks by other numbers, as they came;
	// ParseRangeFilters reads them. Since draft 19.
	RangeFilters []RawRangeFilter
	// NewGroupRequest is the largest Group that the subscriber knows plus
	// one, or 0, and asks for a newer one.
	NewGroupRequest *uint64
	// TrackNamespacePrefix replaces the prefix of a SubscribeNamespace or
	// SubscribeTracks.
	TrackNamespacePrefix *moq.Namespace
	// IncludeProperties is whether the answer, or a PUBLISH that follows, is
	// to have Track Properties; absent means true. Since draft 20.
	IncludeProperties *bool
	// Unknown holds parameters that the draft does not define, as they came.
	// Draft 14 wants them ignored; every later one closes the session over
	// them, and cannot send them.
	Unknown moq.Properties

	// maxCacheDuration is a parameter in draft 14 and a Track Property
	// everywhere else. It is set only inside that draft's codec.
	maxCacheDuration *Milliseconds
}
