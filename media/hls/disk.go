package hls

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf"
	"github.com/freshet-live/freshet/media/hls/dvr"
)

// memoryWindow is how far from the live edge media stays in memory: what
// low-latency players ask for, and those that stalled for a while.
const memoryWindow = 60 * time.Second

// onDisk is a body that is read from disk.
type onDisk struct{ file *dvr.File }

// Len implements body.
func (d onDisk) Len() (int64, bool) { return d.file.Size(), true }

// Open implements body.
func (d onDisk) Open() bodyReader {
	return &diskReader{io.NewSectionReader(d.file, 0, d.file.Size())}
}

type diskReader struct{ *io.SectionReader }

// copyBuffers are as large as a part is at most; a slow client needs one only
// while it is written to.
var copyBuffers = sync.Pool{New: func() any { return new([128 << 10]byte) }}

// WriteTo implements io.WriterTo.
func (d *diskReader) WriteTo(w io.Writer) (int64, error) {
	buf := copyBuffers.Get().(*[128 << 10]byte)
	defer copyBuffers.Put(buf)
	// SectionReader alone: it has no WriteTo that would lead back here.
	return io.CopyBuffer(struct{ io.Writer }{w}, d.SectionReader, buf[:])
}

// format is a media.Format in a journal. Its codec goes by name: numbers may
// change from one release to the next.
type format struct {
	Name string
	media.Format
}

func encodeFormat(f *media.Format) json.RawMessage {
	b, err := json.Marshal(format{f.Codec.String(), *f})
	if err != nil { // a frame rate that is not a number
		return json.RawMessage("null")
	}
	return b
}

// decodeFormat reads what encodeFormat wrote. ok is false for codecs that
// this build does not know.
func decodeFormat(b json.RawMessage) (_ *media.Format, ok bool) {
	var f format
	if json.Unmarshal(b, &f) != nil {
		return nil, false
	}
	for c := media.Codec(1); c.Kind() != 0; c++ {
		if c.String() == f.Name && Offered(c) {
			f.Codec = c
			return &f.Format, true
		}
	}
	return nil, false
}

// Each of the following queues what happened for the disk, if there is one.
// m.mu is held; nothing here waits.

// recordInit keeps the initialization segment in force.
func (r *rendition) recordInit() {
	if r.log == nil {
		return
	}
	i := dvr.Init{Name: r.init.file, Format: encodeFormat(r.format)}
	r.log.Init(i, dvr.FileOf(r.init.file), cmaf.NewBuffer(r.init.data))
}

// recordOpen keeps the beginning of the open segment.
func (r *rendition) recordOpen() {
	if r.log == nil {
		return
	}
	s := r.open
	g := dvr.Segment{
		MSN: r.nextMSN, File: s.file, Init: r.init.file, Time: s.entry.Time.UnixMilli(),
		Discontinuity: s.entry.Discontinuity, Discontinuities: r.disc,
	}
	s.stored = r.log.Write(dvr.Record{Segment: &g}, "", nil, nil)
}

// recordPart keeps a part of the open segment, before anybody hears of it.
// decode is where the sample behind it is due.
func (r *rendition) recordPart(name string, body cmaf.Buffer, p dvr.Part, decode int64) {
	s := r.open
	if r.log == nil || !s.stored {
		return
	}
	p.Size = body.Len()
	if len(s.entry.Parts) == 0 {
		p.Prefix = s.key
	}
	p.Position = dvr.Position{
		Anchor: int64(r.clock.Anchor()), Decode: decode, Present: int64(r.newest), Offset: r.offset, Group: r.group,
	}
	if !p.Gap {
		p.Name = name
	}
	var data dvr.Data
	if p.Size > 0 {
		data = body
	}
	s.stored = r.log.Write(dvr.Record{Part: &p}, s.file, data, nil)
}

// recordClose keeps the end of the segment s, whose file has the given name.
func (r *rendition) recordClose(s *segment, name string) {
	if r.log == nil || !s.stored {
		return
	}
	c := dvr.Close{Name: name, Gap: s.entry.Gap, Key: s.key}
	file, data := "", dvr.Data(nil)
	if r.text != nil {
		c.Size = s.bodies[0].Len()
		file, data = s.file, s.bodies[0]
	}
	r.log.Write(dvr.Record{Close: &c}, file, data, func(ok bool) { s.durable.Store(ok) })
}

// recordFirst keeps which segment is the first that is listed.
func (r *rendition) recordFirst() {
	if r.log != nil && len(r.listed) > 0 {
		r.log.Write(dvr.Record{First: r.nextMSN - uint64(len(r.listed))}, "", nil, nil)
	}
}

// recordEnd keeps that the playlist has ended.
func (r *rendition) recordEnd() {
	if r.log != nil {
		r.log.Write(dvr.Record{End: true}, "", nil, nil)
	}
}

// settle lets go of memory what is on disk and behind the live edge; all
// that is on disk when memory is short.
func (r *rendition) settle() {
	if r.log == nil {
		return
	}
	left := time.Duration(r.duration)
	for _, s := range r.listed {
		left -= s.entry.Duration
		if left < memoryWindow && r.bytes <= r.m.cfg.MaxBytes {
			return
		}
		if s.moved || !s.durable.Load() {
			continue
		}
		s.moved = true
		r.bytes -= s.size
		r.files.addAll(r.stored(s))
		if left >= minWindow {
			s.entry.Parts = nil // no playlist lists them again
		}
	}
}

// stored returns the files of a segment as they lie on disk: the parts one
// after the other. Together they are the segment, but for one of text, which
// lies behind them.
func (r *rendition) stored(s *segment) map[string]body {
	all := make(map[string]body, len(s.files))
	whole := r.log.File(s.file, 0, s.size)
	at := int64(0)
	for _, p := range s.parts {
		all[p.name] = onDisk{whole.Section(at, p.size)}
		at += p.size
	}
	if s.name != "" {
		if r.text != nil {
			whole = whole.Section(at, s.size-at)
		}
		all[s.name] = onDisk{whole}
	}
	return all
}

// announce makes v what requests see, once what it lists is on disk: after a
// crash, nobody knows of media that does not come back. A disk that is slow
// is not waited for.
func (r *rendition) announce(v *version) {
	if r.log == nil || !r.log.After(func() { r.show(v) }) {
		r.show(v)
	}
}

// show makes v current unless a newer version is.
func (r *rendition) show(v *version) {
	r.showing.Lock()
	defer r.showing.Unlock()
	old := r.current.Load()
	if v.number <= old.number {
		return
	}
	r.current.Store(v)
	close(old.next)
}
