package whip

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pion/sdp/v3"
)

// Errors of offers and fragments, which become 400 and 422.
var (
	errMalformed   = errors.New("malformed")
	errUnsupported = errors.New("unsupported")
)

// maxLayers bounds the simulcast layers of a track; OBS sends up to four.
const maxLayers = 4

// offer is what the server needs to know of an SDP offer before pion sees it.
type offer struct {
	ufrag string // ICE username fragment of the client
}

// parseOffer checks that the body is an offer of a publisher that can be
// accepted as a whole: RFC 9725, section 4.2, wants one MediaStream of at most
// one audio and one video track, and no m= section may be refused by itself.
func parseOffer(body []byte) (offer, error) {
	var d sdp.SessionDescription
	if err := d.Unmarshal(body); err != nil {
		return offer{}, fmt.Errorf("%w SDP: %w", errMalformed, err)
	}
	session := attributes(d.Attributes)
	var o offer
	count := map[string]int{}
	for _, m := range d.MediaDescriptions {
		own := attributes(m.Attributes)
		attribute := func(key string) (string, bool) {
			if v, ok := own[key]; ok {
				return v, true
			}
			v, ok := session[key]
			return v, ok
		}
		kind := m.MediaName.Media
		if kind != "audio" && kind != "video" {
			return offer{}, fmt.Errorf("%w: a track of kind %.20q", errUnsupported, kind)
		}
		if count[kind]++; count[kind] > 1 {
			return offer{}, fmt.Errorf("%w: more than one %s track", errUnsupported, kind)
		}
		if _, ok := attribute("recvonly"); ok {
			return offer{}, fmt.Errorf("%w: the offer wants to receive", errUnsupported)
		}
		if _, ok := attribute("inactive"); ok {
			return offer{}, fmt.Errorf("%w: the offer has an inactive track", errUnsupported)
		}
		ufrag, ok := attribute("ice-ufrag")
		if _, pwd := attribute("ice-pwd"); !ok || !pwd {
			return offer{}, fmt.Errorf("%w offer: no ICE credentials", errMalformed)
		}
		if _, ok := attribute("fingerprint"); !ok {
			return offer{}, fmt.Errorf("%w offer: no DTLS fingerprint", errMalformed)
		}
		o.ufrag = ufrag
		layers := 0
		for _, a := range m.Attributes {
			if a.Key == "rid" {
				layers++
			}
		}
		if layers > maxLayers {
			return offer{}, fmt.Errorf("%w: %d simulcast layers, at most %d", errUnsupported, layers, maxLayers)
		}
	}
	if len(count) == 0 {
		return offer{}, fmt.Errorf("%w offer: no tracks", errMalformed)
	}
	return o, nil
}

// checkAnswer refuses what pion could only answer in part.
func checkAnswer(answer string) error {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(answer); err != nil {
		return err
	}
	for _, m := range d.MediaDescriptions {
		if m.MediaName.Port.Value == 0 {
			return fmt.Errorf("%w: no %s codec of the offer is taken", errUnsupported, m.MediaName.Media)
		}
	}
	return nil
}

func attributes(list []sdp.Attribute) map[string]string {
	m := make(map[string]string, len(list))
	for _, a := range list {
		m[a.Key] = a.Value
	}
	return m
}

// checkFragment checks a trickle ICE fragment (RFC 8840, section 9) of a
// session whose offer had the given ufrag. The candidates themselves are of no
// use to an ICE-lite server, which answers checks and makes none (RFC 8445,
// section 6.1.1): it learns the client's address from its checks.
func checkFragment(body []byte, ufrag string) error {
	known := false
	for line := range strings.Lines(string(body)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		kind, value, ok := strings.Cut(line, "=")
		if !ok || kind != "a" && kind != "m" {
			return fmt.Errorf("%w fragment: %.40q", errMalformed, line)
		}
		key, value, _ := strings.Cut(value, ":")
		switch {
		case kind == "m":
		case key == "ice-ufrag":
			if value != ufrag {
				return fmt.Errorf("%w: ICE restart", errUnsupported)
			}
			known = true
		case key == "candidate" && len(strings.Fields(value)) < 8:
			return fmt.Errorf("%w candidate: %.40q", errMalformed, value)
		}
	}
	if !known {
		return fmt.Errorf("%w fragment: no ice-ufrag", errMalformed)
	}
	return nil
}
