package hls

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
)

// Limits bounds the requests that a Server answers at a time. Most of them
// wait for a part that is not there yet, at the cost of a goroutine and a
// connection each, about 20 KiB; so a client that begins requests without end
// must not have them all.
type Limits struct {
	// Requests is how many there may be at the node; 65536 by default.
	Requests int
	// ClientRequests is how many one client may have: one IPv4 address, or one
	// IPv6 network of 64 bits, which is what a subscriber line gets. 2000 by
	// default: a player has four at most, and hundreds may share an address.
	ClientRequests int
	// Proxies are the networks of proxies in front of this node; those of
	// this machine always are. What they forward counts for the client that
	// X-Forwarded-For names, and for nobody without.
	Proxies []netip.Prefix
}

func (l Limits) withDefaults() Limits {
	if l.Requests <= 0 {
		l.Requests = 65536
	}
	if l.ClientRequests <= 0 {
		l.ClientRequests = 2000
	}
	return l
}

// Errors of crowd.enter.
var (
	errNodeFull   = errors.New("too many requests at this node")
	errClientFull = errors.New("too many requests from this address")
)

// crowd counts the requests that are being answered.
type crowd struct {
	limits Limits

	mu      sync.Mutex
	all     int
	clients map[netip.Prefix]int
}

func newCrowd(l Limits) *crowd {
	return &crowd{limits: l.withDefaults(), clients: make(map[netip.Prefix]int)}
}

// enter lets a request in. The caller calls leave with the client once it is
// answered.
func (c *crowd) enter(r *http.Request) (client netip.Prefix, err error) {
	client = c.client(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= c.limits.Requests {
		return client, errNodeFull
	}
	if client.IsValid() {
		n := c.clients[client]
		if n >= c.limits.ClientRequests {
			return client, errClientFull
		}
		c.clients[client] = n + 1
	}
	c.all++
	return client, nil
}

func (c *crowd) leave(client netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if !client.IsValid() {
		return
	}
	if n := c.clients[client]; n > 1 {
		c.clients[client] = n - 1
	} else {
		delete(c.clients, client)
	}
}

// open returns how many requests are being answered.
func (c *crowd) open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

// client tells whose request it is. It is not valid where a proxy does not
// say.
func (c *crowd) client(r *http.Request) netip.Prefix {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	addr = addr.Unmap().WithZone("")
	if !c.isProxy(addr) {
		return network(addr)
	}
	// Each proxy adds the address that it sees at the end; what stands before
	// the first that is not one of ours, anybody may have made up.
	chain := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(chain) - 1; i >= 0; i-- {
		addr, err := netip.ParseAddr(strings.TrimSpace(chain[i]))
		if err != nil {
			break
		}
		if addr = addr.Unmap().WithZone(""); !c.isProxy(addr) {
			return network(addr)
		}
	}
	return netip.Prefix{}
}

func (c *crowd) isProxy(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	for _, p := range c.limits.Proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// network returns what a client has to itself.
func network(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // the number fits
	return p
}
