package transport_test

import (
	"errors"
	"io"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
	"github.com/quic-go/webtransport-go"

	"github.com/freshet-live/freshet/moq/transport"
)

// A peer that resets a stream with WT_SESSION_GONE, and does not end the
// session, holds nobody who gives the stream up: calls on it end.
func TestSessionGoneWithoutEnd(t *testing.T) {
	l := listen(t, transport.ListenConfig{Fallback: "moqt-18"})
	tlsConf, err := transport.Trust{Insecure: true}.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	tlsConf.NextProtos = []string{http3.NextProtoH3}
	qc, err := quic.DialAddr(patient(t), l.Addr().String(), tlsConf,
		&quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true})
	if err != nil {
		t.Fatal(err)
	}
	defer qc.CloseWithError(0, "")
	cc, err := (&webtransport.Transport{}).NewClientConn(qc)
	if err != nil {
		t.Fatal(err)
	}
	_, sess, err := cc.Dial(patient(t), "https://"+l.Addr().String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer sess.CloseWithError(0, "")
	server, err := l.Accept(patient(t))
	if err != nil {
		t.Fatal(err)
	}

	// A stream of the session that its first request has opened, by hand: the
	// library does not let a client send that code.
	open := func(payload string) (*quic.Stream, transport.Stream) {
		t.Helper()
		const webTransportStream, sessionID = 0x41, 0
		client, err := qc.OpenStreamSync(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		head := quicvarint.Append(quicvarint.Append(nil, webTransportStream), sessionID)
		if _, err := client.Write(append(head, payload...)); err != nil {
			t.Fatal(err)
		}
		st, err := server.AcceptStream(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(st, make([]byte, len(payload))); err != nil {
			t.Fatal(err)
		}
		return client, st
	}
	client, st := open("x")
	ended := make(chan error, 2)
	go func() {
		_, err := st.Read(make([]byte, 1))
		ended <- err
	}()
	go func() {
		for {
			if _, err := st.Write(make([]byte, 64<<10)); err != nil {
				ended <- err
				return
			}
		}
	}()
	client.CancelWrite(quic.StreamErrorCode(webtransport.WTSessionGoneErrorCode))
	client.CancelRead(quic.StreamErrorCode(webtransport.WTSessionGoneErrorCode))
	// What was sent later than the resets has come.
	open("y")

	const code = 7
	st.Reset(code)
	st.Stop(code)
	for range 2 {
		select {
		case err := <-ended:
			var stream *transport.StreamError
			if !errors.As(err, &stream) || stream.Remote || stream.Code != code {
				t.Errorf("the call ended with %v, want the code of this end", err)
			}
		case <-patient(t).Done():
			t.Fatal("a call on a stream that was given up does not end")
		}
	}
}
