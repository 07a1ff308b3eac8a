package packager

import (
	"bytes"
	"time"

	"github.com/freshet-live/freshet/media/catalog"
	"github.com/freshet-live/freshet/moq"
)

// catalogWriter publishes the catalogs, one Group with one Object for each
// version. It is guarded by Broadcast.mu.
type catalogWriter struct {
	msf, hang *moq.TrackWriter
	next      uint64 // Group ID
	last      []byte // the newest MSF catalog, without its time
}

// publish writes c to both Tracks if it says anything new. The time of
// generation is set here.
func (w *catalogWriter) publish(c *catalog.Catalog) error {
	c.GeneratedAt = time.Time{}
	content, err := c.MarshalMSF()
	if err != nil {
		return err
	}
	if bytes.Equal(content, w.last) {
		return nil
	}
	w.last = content
	c.GeneratedAt = time.Now()
	msf, err := c.MarshalMSF()
	if err != nil {
		return err
	}
	hang, err := c.MarshalHang()
	if err != nil {
		return err
	}
	id := w.next
	w.next++
	if err := writeGroup(w.msf, id, msf); err != nil {
		return err
	}
	return writeGroup(w.hang, id, hang)
}

// complete publishes the last MSF catalog, which promises that nothing more
// will come and lists no tracks. hang has no such mark; there the end of the
// Tracks says it.
func (w *catalogWriter) complete() {
	c := catalog.Catalog{GeneratedAt: time.Now(), Complete: true}
	if b, err := c.MarshalMSF(); err == nil {
		_ = writeGroup(w.msf, w.next, b) // fails only after the end
	}
}

// writeGroup writes a Group that consists of one Object.
func writeGroup(w *moq.TrackWriter, id uint64, payload []byte) error {
	g, err := w.Group(id)
	if err != nil {
		return err
	}
	s, err := g.Subgroup(0, subgroupConfig)
	if err != nil {
		return err
	}
	if err := s.WriteObject(0, nil, payload); err != nil {
		return err
	}
	g.Close()
	return s.Close()
}

// subgroupConfig is that of every Subgroup here: the Group's only one, at the
// Track's priority.
var subgroupConfig = moq.SubgroupConfig{InheritPriority: true, EndOfGroup: true}
