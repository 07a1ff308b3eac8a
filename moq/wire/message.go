package wire

import "fmt"

// MessageType identifies a control message
// (draft-ietf-moq-transport-18, section "Control Messages").
type MessageType uint64

// The message types of drafts 18 and 19.
const (
	TypeRequestUpdate      MessageType = 0x2
	TypeSubscribe          MessageType = 0x3
	TypeSubscribeOK        MessageType = 0x4
	TypeRequestError       MessageType = 0x5
	TypePublishNamespace   MessageType = 0x6
	TypeRequestOK          MessageType = 0x7
	TypeNamespace          MessageType = 0x8
	TypePublishDone        MessageType = 0xB
	TypeTrackStatus        MessageType = 0xD
	TypeNamespaceDone      MessageType = 0xE
	TypePublishSkipped     MessageType = 0xF // PUBLISH_BLOCKED in draft 18
	TypeGoAway             MessageType = 0x10
	TypeFetch              MessageType = 0x16
	TypeFetchOK            MessageType = 0x18
	TypePublish            MessageType = 0x1D
	TypeSubscribeNamespace MessageType = 0x50
	TypeSubscribeTracks    MessageType = 0x51
	TypeSetup              MessageType = 0x2F00
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

// AppendMessage appends m with its type and its length. The error wraps
// ErrInvalid when the draft cannot express m: a body of more than 65535
// bytes, a parameter that may not appear in the message, a value outside the
// draft's limits.
func (d Draft) AppendMessage(b []byte, m Message) ([]byte, error) {
	r := d.rules()
	if r == nil {
		return b, ErrDraft
	}
	codec, ok := r.messages[m.Type()]
	if !ok {
		return b, invalid("%v does not exist in %v", m.Type(), d)
	}
	e := encoder{b: AppendVarint(b, uint64(m.Type())), rules: r}
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
func (d Draft) MessageSize(b []byte) (t MessageType, size int, err error) {
	r := d.rules()
	if r == nil {
		return 0, 0, ErrDraft
	}
	v, n, err := ParseVarint(b)
	if err != nil {
		return 0, 0, err
	}
	t = MessageType(v)
	if _, ok := r.messages[t]; !ok {
		return t, 0, violation("unknown message type %#x", v)
	}
	if len(b) < n+2 {
		return t, 0, ErrShort
	}
	return t, n + 2 + int(b[n])<<8 + int(b[n+1]), nil
}

// ParseMessage reads the control message at the start of b and returns its
// length in bytes. What the request decides to which m belongs is checked by
// CheckReply, and what the peer's role decides by Setup.CheckClient and
// Setup.CheckServer.
func (d Draft) ParseMessage(b []byte) (m Message, n int, err error) {
	t, size, err := d.MessageSize(b)
	if err != nil {
		return nil, 0, err
	}
	if len(b) < size {
		return nil, 0, ErrShort
	}
	r := d.rules()
	_, head, _ := ParseVarint(b)
	c := decoder{b: b[head+2 : size], rules: r}
	m = r.messages[t].parse(&c)
	if c.err == nil && c.remaining() > 0 {
		c.fail(violation("%d bytes after the end of the message", c.remaining()))
	}
	if c.err != nil {
		return nil, 0, inMessage(t, c.err)
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
