package boot

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/freshet-live/freshet/control"
	"github.com/freshet-live/freshet/media/catalog"
	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/session"
	"github.com/freshet-live/freshet/moq/wire"
	"github.com/freshet-live/freshet/relay"
)

// admitByAccess asks the control plane of this process.
func admitByAccess(access *control.Access) ingest.Admission {
	return ingest.AdmissionFunc(func(ctx context.Context, r ingest.AdmissionRequest) (ingest.AdmissionDecision, error) {
		err := access.Admit(ctx, r.Room, r.Member, r.Key)
		if errors.Is(err, control.ErrUnauthorized) {
			err = ingest.ErrUnauthorized
		}
		return decision(r.Key), err
	})
}

// admitByKeys knows the keys of --stream-key.
func admitByKeys(keys map[string]control.KeyDigest) ingest.Admission {
	return ingest.AdmissionFunc(func(_ context.Context, r ingest.AdmissionRequest) (ingest.AdmissionDecision, error) {
		want, ok := keys[r.Room]
		got := control.DigestKey(r.Key)
		if r.Key == "" || !ok || subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			return ingest.AdmissionDecision{}, ingest.ErrUnauthorized
		}
		return decision(r.Key), nil
	})
}

// decision names a key by the beginning of its digest.
func decision(key string) ingest.AdmissionDecision {
	d := control.DigestKey(key)
	return ingest.AdmissionDecision{KeyID: fmt.Sprintf("%x", d[:4])}
}

// admissionTimeout bounds one question to --admission-url; a publisher
// waits for it.
const admissionTimeout = 5 * time.Second

// admitByHTTP asks a URL, as freshet-api answers it at /v1/admission: a POST
// of a JSON object, to which 200 says yes, 401 and 403 no, and 404 that there
// is no such room. Whatever else comes means no for now.
func admitByHTTP(client *http.Client, url string) ingest.Admission {
	return ingest.AdmissionFunc(func(ctx context.Context, r ingest.AdmissionRequest) (ingest.AdmissionDecision, error) {
		body, err := json.Marshal(map[string]any{
			"room": r.Room, "member": r.Member, "key": r.Key, "protocol": r.Protocol,
			"remote_addr": r.RemoteAddr, "takeover": r.Takeover,
		})
		if err != nil {
			return ingest.AdmissionDecision{}, fmt.Errorf("asking for admission: %w", err)
		}
		ctx, cancel := context.WithTimeout(ctx, admissionTimeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return ingest.AdmissionDecision{}, fmt.Errorf("asking for admission: %w", err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return ingest.AdmissionDecision{}, fmt.Errorf("asking for admission: %w", err)
		}
		defer resp.Body.Close()
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
		switch resp.StatusCode {
		case http.StatusOK:
			return decision(r.Key), nil
		case http.StatusUnauthorized, http.StatusForbidden:
			return ingest.AdmissionDecision{}, ingest.ErrUnauthorized
		case http.StatusNotFound:
			return ingest.AdmissionDecision{}, ingest.ErrNotFound
		}
		return ingest.AdmissionDecision{}, fmt.Errorf("asking for admission: %s", resp.Status)
	})
}

// gate applies the takeover rule of ingest to sessions that publish by MoQ.
//
// A publisher of Frames sends whether or not anybody watches; one of Tracks
// only sends what is pulled from it. So one whose media is pulled is judged
// by what arrives, like WHIP and RTSP, and one whose media nobody wants by
// whether it answers: only if it does not is it silent.
type gate struct{ registry *ingest.Registry }

const (
	// activityCheck is how often a MoQ publisher is looked at, and
	// activityBytes what it must have sent meanwhile to count as alive: more
	// than the PINGs, acknowledgements and answers of a silent one, less than
	// the thinnest audio.
	activityCheck = 500 * time.Millisecond
	activityBytes = 500
	// askTimeout is how long a publisher may take to answer. It is shorter
	// than ingest.DefaultSilence by more than activityCheck, so that the next
	// answer comes in time.
	askTimeout = 1400 * time.Millisecond
)

// Enter implements relay.Gate for Namespaces (live, room[, member]).
func (g *gate) Enter(ctx context.Context, ns moq.Namespace, p relay.Publisher) error {
	if len(ns) < 2 || len(ns) > 3 || ns[0] != "live" {
		return nil // not a broadcast: bench, or what an embedding product adds
	}
	member := ""
	if len(ns) == 3 {
		member = ns[2]
	}
	if !ingest.ValidName(ns[1]) || member != "" && !ingest.ValidName(member) {
		return &session.RequestError{Code: wire.RequestDoesNotExist, Reason: "no such room"}
	}
	claim, err := g.registry.Claim(ctx, ns[1], member, "moq", p.Takeover())
	if errors.Is(err, ingest.ErrRoomTaken) {
		return &session.RequestError{Code: wire.RequestUninterested, Reason: "the room has a publisher", RetryAfter: ingest.DefaultSilence}
	}
	if err != nil {
		return err
	}
	go func() { // ends with the session
		claim.Release(watch(ctx, claim, p))
	}()
	return nil
}

// watch touches the claim while the publisher is alive. It returns why the
// hold is over. It owns a goroutine while the publisher is asked.
func watch(ctx context.Context, claim *ingest.Claim, p relay.Publisher) error {
	ticker := time.NewTicker(activityCheck)
	defer ticker.Stop()
	answered := make(chan error, 1)
	asking := false
	last := p.ReceivedBytes()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-claim.Done():
			p.Close("taken over by a newer publisher")
			return claim.Err()
		case err := <-answered:
			asking = false
			if err == nil {
				claim.Touch()
			}
		case <-ticker.C:
			now := p.ReceivedBytes()
			switch {
			case now-last >= activityBytes:
				claim.Touch()
			case !asking && !sendsMedia(p):
				asking = true
				go func() {
					ctx, cancel := context.WithTimeout(ctx, askTimeout)
					defer cancel()
					answered <- p.Ask(ctx, catalog.TrackMSF)
				}()
			}
			last = now
		}
	}
}

// sendsMedia tells whether anything is pulled from a publisher besides the
// catalogs, which send nothing most of the time.
func sendsMedia(p relay.Publisher) bool {
	return slices.ContainsFunc(p.Pulled(), func(track string) bool {
		return track != catalog.TrackMSF && track != catalog.TrackHang
	})
}
