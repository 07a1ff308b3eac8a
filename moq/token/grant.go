package token

import (
	"slices"
	"strings"
	"time"

	"github.com/freshet-live/freshet/moq"
)

// Grant is what a token allows. The zero Grant allows nothing.
//
// Root, Put and Get are Namespaces with their fields joined by "/"; empty fields
// are left out, so that "/live/" is the same as "live". They match whole fields:
// "live/a" covers the Namespaces (live, a) and (live, a, b), and neither
// (live, ab) nor the one field (live/a).
type Grant struct {
	// Root is what Put and Get are relative to. Empty means everything.
	Root string
	// Put and Get are prefixes of the Namespaces that may be published, and
	// subscribed to. The empty string covers all that is under Root.
	Put, Get []string
	// Expires is when the grant ends, to the second. Zero means never. AllowPut
	// and AllowGet do not look at it.
	Expires time.Time
	// KeyID names the key that signed the token. Verify sets it, Mint takes no
	// notice.
	KeyID string
}

// AllowPut reports whether ns may be published.
func (g Grant) AllowPut(ns moq.Namespace) bool { return g.allows(g.Put, ns) }

// AllowGet reports whether ns may be subscribed to, and whether all Namespaces
// below it may be.
func (g Grant) AllowGet(ns moq.Namespace) bool { return g.allows(g.Get, ns) }

func (g Grant) allows(prefixes []string, ns moq.Namespace) bool {
	rest, ok := cutPrefix(ns, g.Root)
	return ok && slices.ContainsFunc(prefixes, func(p string) bool {
		_, ok := cutPrefix(rest, p)
		return ok
	})
}

// cutPrefix returns ns without the leading fields that are in path.
func cutPrefix(ns moq.Namespace, path string) (rest moq.Namespace, ok bool) {
	for field := range strings.SplitSeq(path, "/") {
		if field == "" {
			continue
		}
		if len(ns) == 0 || ns[0] != field {
			return nil, false
		}
		ns = ns[1:]
	}
	return ns, true
}

// within reports whether all that g allows is allowed by scope too.
func (g Grant) within(scope Grant) bool {
	absolute := func(p string) moq.Namespace {
		return slices.DeleteFunc(strings.Split(g.Root+"/"+p, "/"), func(f string) bool { return f == "" })
	}
	for _, p := range g.Put {
		if !scope.AllowPut(absolute(p)) {
			return false
		}
	}
	for _, p := range g.Get {
		if !scope.AllowGet(absolute(p)) {
			return false
		}
	}
	return true
}
