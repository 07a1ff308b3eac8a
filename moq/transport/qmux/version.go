package qmux

import (
	"fmt"
	"strings"
)

// Version is a draft of QMux.
type Version uint8

// The drafts that are spoken.
const (
	Draft00 Version = iota
	Draft01
	Draft02
)

// Versions lists the drafts, newest first: the order of preference.
var Versions = [...]Version{Draft02, Draft01, Draft00}

// String returns the bare subprotocol, such as "qmux-02".
func (v Version) String() string { return fmt.Sprintf("qmux-%02d", uint8(v)) }

// Records says whether a message is a record of several frames. Since draft 01
// it is, and with the records came QX_PING and DATAGRAM.
func (v Version) Records() bool { return v >= Draft01 }

// Subprotocol returns what Sec-WebSocket-Protocol says for a protocol over this
// draft: "qmux-02.moqt-18", or "qmux-02" when no protocol is named.
func (v Version) Subprotocol(protocol string) string {
	if protocol == "" {
		return v.String()
	}
	return v.String() + "." + protocol
}

// ParseSubprotocol is the reverse of Subprotocol. It reports false for what is
// not a subprotocol of the drafts spoken here.
func ParseSubprotocol(s string) (v Version, protocol string, ok bool) {
	name, protocol, named := strings.Cut(s, ".")
	if named && protocol == "" {
		return 0, "", false
	}
	for _, v := range Versions {
		if v.String() == name {
			return v, protocol, true
		}
	}
	return 0, "", false
}
