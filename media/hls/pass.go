package hls

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"
)

// passLife is how long a pass opens a room at most; the longest show that a
// native player follows without asking for the multivariant playlist again.
const passLife = 24 * time.Hour

// A pass lets one viewer read the media playlists of one room. It is a path
// element, since native players carry neither headers nor queries from one
// playlist to the next, and cookies do not cross sites:
//
//	version (1) | issued (5) | expires (5) | viewer (8) | MAC (16)
//
// Times are Unix seconds, big-endian; the MAC is HMAC-SHA256 over the room and
// all that precedes it, truncated to 128 bits (RFC 2104, section 5). Encoded
// it is 47 characters of base64url (RFC 4648, section 5).
type pass struct {
	issued, expires time.Time // to the second
	viewer          viewerID
	text            string // what sign returned, once somebody has it
}

// viewerID is what a pass tells of the viewer: enough to revoke it, too
// little to find the credential.
type viewerID [8]byte

func viewerOf(id string) (v viewerID) {
	sum := sha256.Sum256([]byte(id))
	copy(v[:], sum[:])
	return v
}

const (
	passVersion = 1
	passBody    = 1 + 5 + 5 + len(viewerID{})
	passSize    = passBody + macSize
	macSize     = 16
)

// errPass tells that a pass is not one, is another room's, or has expired.
var errPass = errors.New("the pass does not open this room")

// sign returns p as a path element.
func (p pass) sign(key []byte, room string) string {
	b := make([]byte, 0, passSize)
	b = append(b, passVersion)
	b = appendSeconds(b, p.issued)
	b = appendSeconds(b, p.expires)
	b = append(b, p.viewer[:]...)
	return base64.RawURLEncoding.EncodeToString(append(b, passMAC(key, room, b)...))
}

// openPassOf verifies what sign made.
func openPassOf(key []byte, room, s string, now time.Time) (p pass, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != passSize || b[0] != passVersion || !hmac.Equal(b[passBody:], passMAC(key, room, b[:passBody])) {
		return p, errPass
	}
	p.issued, p.expires = seconds(b[1:6]), seconds(b[6:11])
	copy(p.viewer[:], b[11:passBody])
	if !now.Before(p.expires) {
		return p, errPass
	}
	return p, nil
}

func passMAC(key []byte, room string, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("pass\x00" + room + "\x00")) // no room's name has a zero
	h.Write(body)
	return h.Sum(nil)[:macSize]
}

func appendSeconds(b []byte, t time.Time) []byte {
	n := binary.BigEndian.AppendUint64(nil, uint64(max(0, t.Unix())))
	return append(b, n[3:]...)
}

func seconds(b []byte) time.Time {
	var n [8]byte
	copy(n[3:], b)
	return time.Unix(int64(binary.BigEndian.Uint64(n[:])), 0)
}
