package wire

import "github.com/freshet-live/freshet/moq"

// PublishNamespace is PUBLISH_NAMESPACE: the sender has Tracks within a
// Namespace (draft-ietf-moq-transport-18, section "PUBLISH_NAMESPACE").
type PublishNamespace struct {
	RequestID uint64
	Namespace moq.Namespace
	Params    Params
}

// Type returns TypePublishNamespace.
func (*PublishNamespace) Type() MessageType { return TypePublishNamespace }

// SubscribeNamespace is SUBSCRIBE_NAMESPACE: it asks which Namespaces with a
// prefix are published, now and later (draft-ietf-moq-transport-18, section
// "SUBSCRIBE_NAMESPACE").
//
// In draft 14 it asks for the Tracks too, always; in draft 16 it can.
type SubscribeNamespace struct {
	RequestID uint64
	Prefix    moq.Namespace
	// Tracks tells that it also asks for what a SubscribeTracks with the same
	// prefix would. Draft 14 has nothing else, draft 16 has the choice, later
	// drafts have two requests.
	Tracks bool
	Params Params
}

// Type returns TypeSubscribeNamespace.
func (*SubscribeNamespace) Type() MessageType { return TypeSubscribeNamespace }

// SubscribeTracks is SUBSCRIBE_TRACKS: it asks for a PUBLISH of each Track
// within the Namespaces with a prefix (draft-ietf-moq-transport-18, section
// "SUBSCRIBE_TRACKS").
type SubscribeTracks struct {
	RequestID uint64
	Prefix    moq.Namespace
	Params    Params
}

// Type returns TypeSubscribeTracks.
func (*SubscribeTracks) Type() MessageType { return TypeSubscribeTracks }

// Namespace is NAMESPACE, on the stream of a SUBSCRIBE_NAMESPACE: a Namespace
// is published (draft-ietf-moq-transport-18, section "NAMESPACE").
type Namespace struct {
	Suffix moq.Namespace // what follows the prefix of the SUBSCRIBE_NAMESPACE
}

// Type returns TypeNamespace.
func (*Namespace) Type() MessageType { return TypeNamespace }

// NamespaceDone is NAMESPACE_DONE: a Namespace is no longer published
// (draft-ietf-moq-transport-18, section "NAMESPACE_DONE").
type NamespaceDone struct {
	Suffix moq.Namespace // as in the Namespace message that it withdraws
}

// Type returns TypeNamespaceDone.
func (*NamespaceDone) Type() MessageType { return TypeNamespaceDone }
