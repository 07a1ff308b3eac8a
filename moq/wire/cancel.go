package wire

import "github.com/freshet-live/freshet/moq"

// The messages of this file end a request in drafts up to 16. Later ones do
// it by the end of the stream of the request.

// Unsubscribe is UNSUBSCRIBE: the subscriber gives a subscription up
// (draft-ietf-moq-transport-16, section "UNSUBSCRIBE").
type Unsubscribe struct {
	RequestID uint64 // of the Subscribe or the Publish
}

// Type returns TypeUnsubscribe.
func (*Unsubscribe) Type() MessageType { return TypeUnsubscribe }

// FetchCancel is FETCH_CANCEL (draft-ietf-moq-transport-16, section
// "FETCH_CANCEL").
type FetchCancel struct {
	RequestID uint64 // of the Fetch
}

// Type returns TypeFetchCancel.
func (*FetchCancel) Type() MessageType { return TypeFetchCancel }

// PublishNamespaceDone is PUBLISH_NAMESPACE_DONE: the sender has no Tracks
// within a Namespace any more (draft-ietf-moq-transport-16, section
// "PUBLISH_NAMESPACE_DONE").
type PublishNamespaceDone struct {
	RequestID uint64        // of the PublishNamespace; in draft 16
	Namespace moq.Namespace // of the PublishNamespace; in draft 14
}

// Type returns TypePublishNamespaceDone.
func (*PublishNamespaceDone) Type() MessageType { return TypePublishNamespaceDone }

// PublishNamespaceCancel is PUBLISH_NAMESPACE_CANCEL: the receiver of a
// PublishNamespace that was accepted takes that back
// (draft-ietf-moq-transport-16, section "PUBLISH_NAMESPACE_CANCEL").
type PublishNamespaceCancel struct {
	RequestID uint64        // of the PublishNamespace; in draft 16
	Namespace moq.Namespace // of the PublishNamespace; in draft 14
	Code      RequestCode
	// Reason is text of at most MaxReasonLength bytes for people.
	Reason string
}

// Type returns TypePublishNamespaceCancel.
func (*PublishNamespaceCancel) Type() MessageType { return TypePublishNamespaceCancel }

// UnsubscribeNamespace is UNSUBSCRIBE_NAMESPACE of draft 14
// (draft-ietf-moq-transport-14, section "UNSUBSCRIBE_NAMESPACE"). In draft 16
// the subscriber closes the stream of the SubscribeNamespace.
type UnsubscribeNamespace struct {
	Prefix moq.Namespace // of the SubscribeNamespace
}

// Type returns TypeUnsubscribeNamespace.
func (*UnsubscribeNamespace) Type() MessageType { return TypeUnsubscribeNamespace }
