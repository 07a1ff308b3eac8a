package wire

import "fmt"

// MessageType identifies a control message
// (draft-ietf-moq-transport-18, section "Control Messages").
type MessageType uint64

// The message types. The values are the code points of drafts 18 to 22, and
// of the last draft that had the message where those have it no more; in some
// drafts a message travels under another code point.
const (
	TypeRequestUpdate          MessageType = 0x2
	TypeSubscribe              MessageType = 0x3
	TypeSubscribeOK            MessageType = 0x4
	TypeRequestError           MessageType = 0x5
	TypePublishNamespace       MessageType = 0x6
	TypeRequestOK              MessageType = 0x7
	TypeNamespace              MessageType = 0x8
	TypePublishNamespaceDone   MessageType = 0x9 // up to draft 16
	TypeUnsubscribe            MessageType = 0xA // up to draft 16
	TypePublishDone            MessageType = 0xB
	TypePublishNamespaceCancel MessageType = 0xC // up to draft 16
	TypeTrackStatus            MessageType = 0xD
	TypeNamespaceDone          MessageType = 0xE
	TypePublishSkipped         MessageType = 0xF // PUBLISH_BLOCKED in draft 18
	TypeGoAway                 MessageType = 0x10
	TypeUnsubscribeNamespace   MessageType = 0x14 // up to draft 15
	TypeMaxRequestID           MessageType = 0x15 // up to draft 16
	TypeFetch                  MessageType = 0x16
	TypeFetchCancel            MessageType = 0x17 // up to draft 16
	TypeFetchOK                MessageType = 0x18
	TypeRequestsBlocked        MessageType = 0x1A // up to draft 16
	TypePublish                MessageType = 0x1D
	TypePublishStateNotify     MessageType = 0x22 // since draft 20
	TypeSubscribeNamespace     MessageType = 0x50
	TypeSubscribeTracks        MessageType = 0x51
	TypeSetup                  MessageType = 0x2F00
)

// String returns the draft's name of the message.
func (t MessageType) String() string {
	switch t {
	case TypeRequestUpdate:
		return "REQUEST_UPDATE"
	case TypeSubscribe:
		return "SUBSCRIBE"
	case TypeSubscribeOK:
		return "SUBSCRIBE_OK"
	case TypeRequestError:
		return "REQUEST_ERROR"
	case TypePublishNamespace:
		return "PUBLISH_NAMESPACE"
	case TypeRequestOK:
		return "REQUEST_OK"
	case TypeNamespace:
		return "NAMESPACE"
	case TypePublishDone:
		return "PUBLISH_DONE"
	case TypeTrackStatus:
		return "TRACK_STATUS"
	case TypeNamespaceDone:
		return "NAMESPACE_DONE"
	case TypePublishSkipped:
		return "PUBLISH_SKIPPED"
	case TypeGoAway:
		return "GOAWAY"
	case TypeFetch:
		return "FETCH"
	case TypeFetchOK:
		return "FETCH_OK"
	case TypePublish:
		return "PUBLISH"
	case TypeSubscribeNamespace:
		return "SUBSCRIBE_NAMESPACE"
	case TypeSubscribeTracks:
		return "SUBSCRIBE_TRACKS"
	case TypeSetup:
		return "SETUP"
	case TypePublishStateNotify:
		return "PUBLISH_STATE_NOTIFY"
	case TypePublishNamespaceDone:
		return "PUBLISH_NAMESPACE_DONE"
	case TypeUnsubscribe:
		return "UNSUBSCRIBE"
	case TypePublishNamespaceCancel:
		return "PUBLISH_NAMESPACE_CANCEL"
	case TypeUnsubscribeNamespace:
		return "UNSUBSCRIBE_NAMESPACE"
	case TypeMaxRequestID:
		return "MAX_REQUEST_ID"
	case TypeFetchCancel:
		return "FETCH_CANCEL"
	case TypeRequestsBlocked:
		return "REQUESTS_BLOCKED"
	}
	return fmt.Sprintf("MessageType(%#x)", uint64(t))
}

// OpensRequest reports whether the message is the first on a new request
// stream. A bidirectional stream that begins with any other message is a
// PROTOCOL_VIOLATION (draft-ietf-moq-transport-18, section "Session
// initialization").
func (t MessageType) OpensRequest() bool {
	switch t {
	case TypeSubscribe, TypePublish, TypeFetch, TypeTrackStatus,
		TypePublishNamespace, TypeSubscribeNamespace, TypeSubscribeTracks:
		return true
	}
	return false
}

// Message is a control message: a pointer to one of the message structs of
// this package.
type Message interface {
	Type() MessageType
}

// maxBody is what the 16-bit length of a control message can say, in bytes.
const maxBody = 1<<16 - 1

// MaxMessageSize is the largest encoded control message in bytes: a body
// after a type and a length.
const MaxMessageSize = maxBody + 2 + MaxVarintLen

// messageCodec is how one draft encodes and decodes the body of a message.
type messageCodec struct {
	typ    MessageType // of the message in memory
	append func(*encoder, Message)
	parse  func(*decoder) Message
}

func codecOf[M Message](appendBody func(*encoder, M), parseBody func(*decoder) M) messageCodec {
	return messageCodec{
		append: func(e *encoder, m Message) {
			v, ok := m.(M)
			if !ok {
				e.fail("%T is not a %v of this package", m, m.Type())
				return
			}
			appendBody(e, v)
		},
		parse: func(d *decoder) Message { return parseBody(d) },
	}
}

// of returns the codec for messages of type t.
func (c messageCodec) of(t MessageType) messageCodec {
	c.typ = t
	return c
}

// codeOf returns the code point under which m travels.
func (r *rules) codeOf(m Message) uint64 {
	if r.code != nil {
		return r.code(m)
	}
	return uint64(m.Type())
}

// AppendMessage appends m with its type and its length. The error wraps
// ErrInvalid when the draft cannot express m: a body of more than 65535
// bytes, a parameter that may not appear in the message, a value outside the
// draft's limits.
func (d Draft) AppendMessage(b []byte, m Message) ([]byte, error) {
	r := d.rules()
	if r == nil {
		return b, ErrDraft
	}
	code := r.codeOf(m)
	codec, ok := r.messages[code]
	if !ok {
		return b, invalid("%v does not exist in %v", m.Type(), d)
	}
	e := r.encoder(b)
	e.varint(code)
	lengthAt := len(e.b)
	e.b = append(e.b, 0, 0)
	codec.append(&e, m)
	size := len(e.b) - lengthAt - 2
	if size > maxBody {
		e.fail("body of %d bytes, at most %d are allowed", size, maxBody)
	}
	if e.err != nil {
		return b, fmt.Errorf("%v: %w", m.Type(), e.err)
	}
	e.b[lengthAt], e.b[lengthAt+1] = byte(size>>8), byte(size)
	return e.b, nil
}

// MessageSize returns the length in bytes of the encoded message at the start
// of b, which may not have arrived completely; so a reader knows how much to
// wait for. It returns ErrShort until the type and the length have arrived,
// and an Error as soon as the type is known not to be one of the draft's.
//
// SUBSCRIBE_NAMESPACE of draft 16 can turn out to be a SubscribeTracks.
func (d Draft) MessageSize(b []byte) (t MessageType, size int, err error) {
	r := d.rules()
	if r == nil {
		return 0, 0, ErrDraft
	}
	codec, _, size, err := r.messageHead(b)
	return codec.typ, size, err
}

// messageHead reads the type and the length of a message. head is the length
// of the type.
func (r *rules) messageHead(b []byte) (codec messageCodec, head, size int, err error) {
	c := r.decoder(b)
	v := c.varint()
	if c.err != nil {
		return codec, 0, 0, c.err
	}
	codec, ok := r.messages[v]
	if !ok {
		return messageCodec{typ: MessageType(v)}, 0, 0, violation("unknown message type %#x", v)
	}
	length := c.take(2)
	if c.err != nil {
		return codec, 0, 0, c.err
	}
	return codec, c.off - 2, c.off + int(length[0])<<8 + int(length[1]), nil
}

// ParseMessage reads the control message at the start of b and returns its
// length in bytes. What the request decides to which m belongs is checked by
// CheckReply, and what the peer's role decides by Setup.CheckClient and
// Setup.CheckServer.
func (d Draft) ParseMessage(b []byte) (m Message, n int, err error) {
	r := d.rules()
	if r == nil {
		return nil, 0, ErrDraft
	}
	codec, head, size, err := r.messageHead(b)
	if err != nil {
		return nil, 0, err
	}
	if len(b) < size {
		return nil, 0, ErrShort
	}
	c := r.decoder(b[head+2 : size])
	m = codec.parse(&c)
	if c.err == nil && c.remaining() > 0 {
		c.fail(violation("%d bytes after the end of the message", c.remaining()))
	}
	if c.err != nil {
		return nil, 0, inMessage(codec.typ, c.err)
	}
	return m, size, nil
}

// inMessage turns what a decoder ran into in a complete message into the
// error for the caller: a body that is too short for its fields breaks the
// rule that its length matches.
func inMessage(t MessageType, err error) error {
	if e, ok := err.(*Error); ok {
		return &Error{Code: e.Code, Reason: t.String() + ": " + e.Reason}
	}
	return violation("%v: message is too short for its fields", t)
}
