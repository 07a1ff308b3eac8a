package session

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// requestStream is the bidirectional stream of one request, at either end.
// One goroutine at a time reads from it; whoever has the turn writes.
type requestStream struct {
	s      *Session
	stream transport.Stream
	in     messageReader
	turn   turn
	kind   wire.MessageType // of the message that opened it
	id     uint64
	goaway bool // the peer sent GOAWAY on it
}

func (s *Session) newRequestStream(st transport.Stream) *requestStream {
	st.SetPriority(urgencyControl, false)
	return &requestStream{
		s: s, stream: st, turn: newTurn(),
		in: messageReader{draft: s.draft, stream: st, patience: s.cfg.Limits.MessageTimeout},
	}
}

// send writes a message, without what the draft cannot say of it. An error is the end of ctx, of the stream or of the
// connection, or says that m cannot be encoded.
func (r *requestStream) send(ctx context.Context, m wire.Message) error {
	if lost := r.s.draft.Fit(m); lost != nil {
		r.s.log.Debug("message says less than it should", "message", m.Type(), "draft", r.s.draft, "lost", lost)
	}
	b, err := r.s.draft.AppendMessage(nil, m)
	if err != nil {
		return err
	}
	if err := r.turn.take(ctx, r.s.ctx.Done()); err != nil {
		return err
	}
	defer r.turn.give()
	_, err = r.stream.Write(b)
	return err
}

// receive returns the next message of the peer. It closes the session over a
// breach of the protocol. Errors are those of messageReader.next.
func (r *requestStream) receive() (wire.Message, error) {
	for {
		m, err := r.in.next()
		if err != nil {
			r.failOnBreach(err)
			return nil, err
		}
		if err := r.check(m); err != nil {
			r.s.fail(err)
			return nil, err
		}
		if _, ok := m.(*wire.GoAway); ok {
			continue
		}
		return m, nil
	}
}

// check checks what a message alone does not show.
func (r *requestStream) check(m wire.Message) error {
	if err := r.s.draft.CheckReply(r.kind, m); err != nil {
		return err
	}
	switch m := m.(type) {
	case *wire.RequestError:
		if m.Redirect != nil && m.Redirect.URI != "" && r.s.role == RoleServer {
			return violation("redirect of a server to a URI")
		}
	case *wire.GoAway:
		// It asks to issue this request again elsewhere. The request goes on
		// until the peer ends it, which its owner sees anyway.
		if r.goaway {
			return violation("second GOAWAY on a request stream")
		}
		r.goaway = true
		if m.RequestID != nil {
			return violation("GOAWAY with a request ID on a request stream")
		}
		return r.s.checkGoAway(m)
	}
	return nil
}

// failOnBreach closes the session when err is a breach of the protocol.
func (r *requestStream) failOnBreach(err error) {
	var local *LocalError
	var breach *wire.Error
	if errors.As(err, &local) || errors.As(err, &breach) {
		r.s.fail(err)
	}
}

// unexpected closes the session over a message that has no place on the
// stream.
func (r *requestStream) unexpected(m wire.Message) {
	r.s.fail(violation("%v on a stream of %v", m.Type(), r.kind))
}

// cancel gives the request up in both directions
// (draft-ietf-moq-transport-19, section "Request Cancellation and
// Rejection").
func (r *requestStream) cancel(code wire.ResetCode) {
	r.stream.Reset(r.s.draft.ResetNumber(code))
	r.stream.Stop(r.s.draft.ResetNumber(code))
}

// openRequest opens the stream of a request of this end and sends its first
// message, which build makes with the Request ID. The caller ends it with
// release.
func (s *Session) openRequest(ctx context.Context, build func(id uint64) wire.Message) (*requestStream, error) {
	if err := s.awaitReady(ctx); err != nil {
		return nil, err
	}
	if err := s.goingAway(); err != nil {
		return nil, err
	}
	st, err := s.conn.OpenStream(ctx)
	if err != nil {
		return nil, s.failed(err)
	}
	r := s.newRequestStream(st)
	s.mu.Lock()
	r.id = s.takeIDLocked()
	s.outgoing++
	s.mu.Unlock()
	m := build(r.id)
	r.kind = m.Type()
	if err := r.send(ctx, m); err != nil {
		r.cancel(wire.ResetCancelled)
		r.release()
		return nil, s.failed(err)
	}
	return r, nil
}

// release ends the count of a request of this end.
func (r *requestStream) release() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.outgoing--
}

// takeIDLocked returns the next Request ID of this end.
func (s *Session) takeIDLocked() uint64 {
	id := s.nextID
	s.nextID += 2
	return id
}

// answer waits for the first message of the peer on a request of this end. The
// end of ctx cancels the request. A REQUEST_ERROR is returned as
// *RequestError.
func (r *requestStream) answer(ctx context.Context) (wire.Message, error) {
	stop := context.AfterFunc(ctx, func() { r.cancel(wire.ResetCancelled) })
	m, err := r.receive()
	if !stop() {
		return nil, context.Cause(ctx)
	}
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		// "An endpoint that receives a FIN before all required messages have
		// arrived treats the request as failed."
		r.cancel(wire.ResetCancelled)
		return nil, ErrCancelled
	default:
		r.cancel(wire.ResetCancelled)
		return nil, r.s.failed(err)
	}
	if e, ok := m.(*wire.RequestError); ok {
		r.stream.Close()
		r.stream.Stop(r.s.draft.ResetNumber(wire.ResetCancelled))
		return nil, refused(e)
	}
	return m, nil
}

// request holds what all first messages have in common.
type request struct {
	id     uint64
	params *wire.Params
	ns     moq.Namespace // of the Track, or the Namespace or prefix itself
	track  string
	named  bool // ns and track are set
}

// requestOf returns what the first message of a request says.
func requestOf(m wire.Message) (q request, ok bool) {
	switch m := m.(type) {
	case *wire.Subscribe:
		return request{m.RequestID, &m.Params, m.Name.Namespace, m.Name.Track, true}, true
	case *wire.TrackStatus:
		return request{m.RequestID, &m.Params, m.Name.Namespace, m.Name.Track, true}, true
	case *wire.Publish:
		return request{m.RequestID, &m.Params, m.Name.Namespace, m.Name.Track, true}, true
	case *wire.Fetch:
		return request{m.RequestID, &m.Params, m.Name.Namespace, m.Name.Track, m.FetchType == wire.FetchStandalone}, true
	case *wire.PublishNamespace:
		return request{m.RequestID, &m.Params, m.Namespace, "", true}, true
	case *wire.SubscribeNamespace:
		return request{m.RequestID, &m.Params, m.Prefix, "", true}, true
	case *wire.SubscribeTracks:
		return request{m.RequestID, &m.Params, m.Prefix, "", true}, true
	}
	return request{}, false
}

// serve answers one request of the peer.
func (s *Session) serve(st transport.Stream) {
	r := s.newRequestStream(st)
	r.in.deadline(s.cfg.Limits.SetupTimeout)
	m, err := r.in.next()
	if err != nil {
		r.failOnBreach(err)
		r.cancel(wire.ResetCancelled)
		return
	}
	q, ok := requestOf(m)
	if !ok {
		s.fail(violation("request stream begins with %v", m.Type()))
		return
	}
	r.kind, r.id = m.Type(), q.id
	if err := s.awaitReady(s.ctx); err != nil {
		return
	}
	if r.kind == wire.TypeSubscribe {
		defer s.unsetServed(q.id)
	}
	token, err := s.admit(r.kind, q.id, q.params.Tokens)
	if err != nil {
		s.fail(err)
		return
	}
	if err := s.begin(q); err != nil {
		r.refuse(err)
		return
	}
	defer s.end()

	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	defer r.onStop(cancel)()

	if h := s.cfg.Handler; h == nil {
		r.refuse(&RequestError{Code: wire.RequestNotSupported})
		return
	}
	switch m := m.(type) {
	case *wire.Subscribe:
		s.serveSubscribe(ctx, cancel, r, m, token)
	case *wire.TrackStatus:
		s.serveTrackStatus(ctx, r, m, token)
	case *wire.Fetch:
		s.serveFetch(ctx, cancel, r, m, token)
	case *wire.Publish:
		s.servePublish(ctx, cancel, r, m, token)
	case *wire.PublishNamespace:
		s.servePublishNamespace(ctx, cancel, r, m)
	case *wire.SubscribeNamespace:
		s.serveSubscribeNamespace(ctx, cancel, r, m)
	default:
		r.refuse(&RequestError{Code: wire.RequestNotSupported})
	}
}

// admit notes the Request ID and the tokens of a message of the peer. A
// SUBSCRIBE is pending from then on. Errors end the session.
func (s *Session) admit(kind wire.MessageType, id uint64, tokens []wire.Token) (token string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id%2 == s.parity() {
		return "", &LocalError{Code: wire.InvalidRequestID, Reason: "request ID has the parity of the receiver"}
	}
	if !s.peerIDs.add(id / 2) {
		return "", &LocalError{Code: wire.InvalidRequestID, Reason: "request ID repeats"}
	}
	if kind == wire.TypeSubscribe {
		s.served.byID[id] = nil
		s.changedLocked()
	}
	return s.tokens.resolve(tokens, false)
}

// begin counts a request of the peer, or says why it is refused.
func (s *Session) begin(q request) error {
	if q.named && len(q.ns) > 0 && (q.ns[0] == "." || q.ns[0] == ".session") {
		// No session-level Track or Namespace is known here.
		return &RequestError{Code: wire.RequestDoesNotExist}
	}
	if hasRangeFilters(q.params) {
		return &RequestError{Code: wire.RequestInvalidFilter, Reason: "range filters are not supported"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.goaway.sent {
		return &RequestError{Code: wire.RequestGoingAway}
	}
	if s.open >= s.cfg.Limits.Requests {
		return &RequestError{Code: wire.RequestExcessiveLoad, Retry: true, RetryAfter: time.Second}
	}
	s.open++
	return nil
}

func (s *Session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// onStop cancels a request when the peer stops its stream, which it may do
// whether or not it has ended its own direction. The returned function ends
// that.
func (r *requestStream) onStop(cancel context.CancelCauseFunc) (stop func() bool) {
	return context.AfterFunc(r.stream.Context(), func() {
		r.s.failed(context.Cause(r.stream.Context())) // the end of the connection comes first
		cancel(ErrCancelled)
	})
}

// refuse sends REQUEST_ERROR and ends the stream.
func (r *requestStream) refuse(err error) {
	if r.send(r.s.ctx, refusal(err)) != nil {
		r.cancel(wire.ResetCancelled)
		return
	}
	r.finish()
}

// unanswered ends a request of the peer that has not been accepted, and returns
// true: because ctx, that of the request, has ended, or because of err, which
// the peer is then told. Without either it returns false.
func (r *requestStream) unanswered(ctx context.Context, cancel context.CancelCauseFunc, err error) bool {
	switch {
	case ctx.Err() != nil:
		r.cancel(wire.ResetCancelled)
		return true
	case err != nil:
		cancel(err) // later messages have no meaning
		r.refuse(err)
		return true
	}
	return false
}

// finish ends the stream after the last message of this end.
func (r *requestStream) finish() {
	r.stream.Close()
	r.stream.Stop(r.s.draft.ResetNumber(wire.ResetCancelled))
}

// watch reads the rest of a request of the peer until the peer's direction
// ends. A reset cancels the request; a FIN, which only says that no update
// will come, makes watch return true.
func (r *requestStream) watch(cancel context.CancelCauseFunc, update func(*wire.RequestUpdate)) (fin bool) {
	for {
		m, err := r.receive()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return true
			}
			r.s.failed(err) // the end of the connection comes first
			cancel(ErrCancelled)
			return false
		}
		u, ok := m.(*wire.RequestUpdate)
		if !ok {
			r.unexpected(m)
			return false
		}
		if _, err := r.s.admit(u.Type(), u.RequestID, u.Params.Tokens); err != nil {
			r.s.fail(err)
			return false
		}
		update(u)
	}
}

// update sends REQUEST_UPDATE on a request of this end, after it has told
// before, unless that is nil, its Request ID. The answer comes to the reader
// of the stream.
func (r *requestStream) update(ctx context.Context, p wire.Params, before func(id uint64)) error {
	r.s.mu.Lock()
	id := r.s.takeIDLocked()
	r.s.mu.Unlock()
	if before != nil {
		before(id)
	}
	return r.send(ctx, &wire.RequestUpdate{RequestID: id, Params: p})
}
