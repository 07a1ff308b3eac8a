package wire

import (
	"math"

	"github.com/freshet-live/freshet/moq"
)

// Publish is PUBLISH: a publisher starts a subscription of the receiver
// (draft-ietf-moq-transport-18, section "PUBLISH").
type Publish struct {
	RequestID  uint64
	Name       moq.FullTrackName
	Alias      uint64 // Track Alias, by which subgroups and datagrams name the Track
	Params     Params
	Properties moq.Properties // Track Properties
}

// Type returns TypePublish.
func (*Publish) Type() MessageType { return TypePublish }

// UnknownStreamCount is the StreamCount of a publisher that cannot tell how
// many streams it opened.
const UnknownStreamCount uint64 = math.MaxUint64

// PublishDone is PUBLISH_DONE, the last message of a publisher on the stream
// of a subscription (draft-ietf-moq-transport-18, section "PUBLISH_DONE").
type PublishDone struct {
	RequestID uint64 // of the subscription, in drafts up to 16; not sent in later ones
	Code      PublishDoneCode
	// StreamCount is the number of data streams that were opened for the
	// subscription, or UnknownStreamCount. Drafts up to 19 have 2^62-1 for
	// unknown; it and whatever exceeds it are read as UnknownStreamCount.
	StreamCount uint64
	// Reason is text of at most MaxReasonLength bytes for people.
	Reason string
}

// Type returns TypePublishDone.
func (*PublishDone) Type() MessageType { return TypePublishDone }

// PublishSkipped is PUBLISH_SKIPPED, on the stream of a SUBSCRIBE_TRACKS: a
// Track matches and will not be published (draft-ietf-moq-transport-19,
// section "PUBLISH_SKIPPED"). Draft 18 calls it PUBLISH_BLOCKED.
type PublishSkipped struct {
	Suffix moq.Namespace // what follows the prefix of the SUBSCRIBE_TRACKS
	Track  string
}

// Type returns TypePublishSkipped.
func (*PublishSkipped) Type() MessageType { return TypePublishSkipped }

// PublishStateNotify is PUBLISH_STATE_NOTIFY, on the stream of a subscription:
// the publisher tells what changed in it without the subscriber having asked
// (draft-ietf-moq-transport-20, section "PUBLISH_STATE_NOTIFY"). It has no
// answer. CheckReply checks that the stream is that of a subscription; that it
// comes from the publisher is for the receiver to check.
type PublishStateNotify struct {
	Params Params // LargestObject, Forward and Filter
}

// Type returns TypePublishStateNotify.
func (*PublishStateNotify) Type() MessageType { return TypePublishStateNotify }
