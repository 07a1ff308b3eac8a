package hlscheck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
)

// errBox is the root of what is wrong with boxes.
var errBox = errors.New("malformed")

// Bounds of what is read. They are far above all use, and keep what a file
// makes the reader allocate in proportion to its size.
const (
	maxTracks  = 64
	maxSamples = 1 << 20 // of one fragment; CMAF chunks have a few hundred at most
	maxDepth   = 8
)

// initText is an initialization segment.
type initText struct {
	brands []string
	tracks []trackText
}

// trackText is one track as moov describes it.
type trackText struct {
	id        uint32
	handler   string // vide, soun, subt, text …
	timescale uint32
	codec     string // as CODECS would name it; the four characters alone where no more is known
	width     int
	height    int
	shift     int64 // media_time of the first edit: presentation time 0
	encrypted bool
	duration  uint32 // trex: of samples
	size      uint32
	flags     uint32
}

// video tells whether the track has pictures.
func (t *trackText) video() bool { return t.handler == "vide" }

// find returns the track of that ID.
func (i *initText) find(id uint32) *trackText {
	for n := range i.tracks {
		if i.tracks[n].id == id {
			return &i.tracks[n]
		}
	}
	return nil
}

// main returns the track that segments are measured by: the first video
// track, else the first.
func (i *initText) main() *trackText {
	for n := range i.tracks {
		if i.tracks[n].video() {
			return &i.tracks[n]
		}
	}
	if len(i.tracks) == 0 {
		return nil
	}
	return &i.tracks[0]
}

// sampleText is one sample of a fragment.
type sampleText struct {
	duration uint32
	size     uint32
	offset   int64 // of composition
	sync     bool
}

// runText is what one fragment says of one track.
type runText struct {
	track   uint32
	decode  uint64 // tfdt
	samples []sampleText
	length  uint64 // sum of the samples' durations
}

// sync tells whether the first sample is a sync sample, any whether one is.
func (r *runText) sync() (first, any bool) {
	for i := range r.samples {
		if r.samples[i].sync {
			return i == 0, true
		}
	}
	return false, false
}

// box is one ISO BMFF box.
type box struct {
	kind string
	body []byte
}

// boxes splits b into boxes.
func boxes(b []byte) ([]box, error) {
	var out []box
	for len(b) > 0 {
		if len(b) < 8 {
			return out, fmt.Errorf("%w: %d bytes instead of a box", errBox, len(b))
		}
		size, head := uint64(binary.BigEndian.Uint32(b)), 8
		kind := string(b[4:8])
		switch size {
		case 0: // to the end of the file
			size = uint64(len(b))
		case 1:
			if len(b) < 16 {
				return out, fmt.Errorf("%w: box %q is cut short", errBox, kind)
			}
			size, head = binary.BigEndian.Uint64(b[8:]), 16
		}
		if size < uint64(head) || size > uint64(len(b)) {
			return out, fmt.Errorf("%w: box %q of %d bytes with %d left", errBox, kind, size, len(b))
		}
		out = append(out, box{kind, b[head:size]})
		b = b[size:]
	}
	return out, nil
}

// find returns the body of the first box at path.
func find(b []byte, path ...string) ([]byte, bool, error) {
	for _, kind := range path {
		list, err := boxes(b)
		if err != nil {
			return nil, false, err
		}
		ok := false
		for _, x := range list {
			if x.kind == kind {
				b, ok = x.body, true
				break
			}
		}
		if !ok {
			return nil, false, nil
		}
	}
	return b, true, nil
}

// cursor reads the fields of a box and remembers that they ran out.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.short, c.b = true, nil
		return make([]byte, min(n, 16))
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) u8() uint8   { return c.take(1)[0] }
func (c *cursor) u16() uint16 { return binary.BigEndian.Uint16(c.take(2)) }
func (c *cursor) u32() uint32 { return binary.BigEndian.Uint32(c.take(4)) }
func (c *cursor) u64() uint64 { return binary.BigEndian.Uint64(c.take(8)) }

// full reads version and flags of a full box.
func (c *cursor) full() (version uint8, flags uint32) {
	v := c.u32()
	return uint8(v >> 24), v & 0xffffff
}

func (c *cursor) end(kind string) error {
	if c.short {
		return fmt.Errorf("%w: %s is cut short", errBox, kind)
	}
	return nil
}

// parseInit reads an initialization segment.
func parseInit(b []byte) (*initText, error) {
	top, err := boxes(b)
	if err != nil {
		return nil, err
	}
	out := &initText{}
	var moov []byte
	for _, x := range top {
		switch x.kind {
		case "ftyp":
			for i := 0; i+4 <= len(x.body) && len(out.brands) < maxTracks; i += 4 {
				if i != 4 { // minor_version
					out.brands = append(out.brands, string(x.body[i:i+4]))
				}
			}
		case "moov":
			moov = x.body
		}
	}
	if moov == nil {
		return nil, fmt.Errorf("%w: no moov", errBox)
	}
	list, err := boxes(moov)
	if err != nil {
		return nil, err
	}
	extends := false
	for _, x := range list {
		if x.kind != "trak" {
			continue
		}
		if len(out.tracks) == maxTracks {
			return nil, fmt.Errorf("%w: more than %d tracks", errBox, maxTracks)
		}
		t, err := parseTrack(x.body)
		if err != nil {
			return nil, err
		}
		out.tracks = append(out.tracks, t)
	}
	for _, x := range list {
		if x.kind != "mvex" {
			continue
		}
		extends = true
		inner, err := boxes(x.body)
		if err != nil {
			return nil, err
		}
		for _, y := range inner {
			if y.kind != "trex" {
				continue
			}
			c := &cursor{b: y.body}
			c.full()
			id := c.u32()
			c.u32() // sample description
			duration, size, flags := c.u32(), c.u32(), c.u32()
			if err := c.end("trex"); err != nil {
				return nil, err
			}
			if t := out.find(id); t != nil {
				t.duration, t.size, t.flags = duration, size, flags
			}
		}
	}
	switch {
	case len(out.brands) == 0:
		return out, fmt.Errorf("%w: no ftyp", errBox)
	case len(out.tracks) == 0:
		return out, fmt.Errorf("%w: no track", errBox)
	case !extends:
		return out, fmt.Errorf("%w: no mvex", errBox)
	}
	return out, nil
}

func parseTrack(b []byte) (t trackText, err error) {
	head, ok, err := find(b, "tkhd")
	if err != nil || !ok {
		return t, errors.Join(err, missing(ok, "tkhd"))
	}
	c := &cursor{b: head}
	if version, _ := c.full(); version == 1 {
		c.take(16)
	} else {
		c.take(8)
	}
	if t.id = c.u32(); c.short {
		return t, c.end("tkhd")
	}
	if t.id == 0 {
		return t, fmt.Errorf("%w: track_ID 0", errBox)
	}
	head, ok, err = find(b, "mdia", "mdhd")
	if err != nil || !ok {
		return t, errors.Join(err, missing(ok, "mdhd"))
	}
	c = &cursor{b: head}
	if version, _ := c.full(); version == 1 {
		c.take(16)
	} else {
		c.take(8)
	}
	if t.timescale = c.u32(); c.short {
		return t, c.end("mdhd")
	}
	if t.timescale == 0 {
		return t, fmt.Errorf("%w: timescale 0", errBox)
	}
	head, ok, err = find(b, "mdia", "hdlr")
	if err != nil || !ok {
		return t, errors.Join(err, missing(ok, "hdlr"))
	}
	c = &cursor{b: head}
	c.full()
	c.u32()
	if t.handler = string(c.take(4)); c.short {
		return t, c.end("hdlr")
	}
	if edits, ok, err := find(b, "edts", "elst"); err != nil {
		return t, err
	} else if ok {
		if t.shift, err = parseEdits(edits); err != nil {
			return t, err
		}
	}
	entries, ok, err := find(b, "mdia", "minf", "stbl", "stsd")
	if err != nil || !ok {
		return t, errors.Join(err, missing(ok, "stsd"))
	}
	return t, t.describe(entries)
}

func missing(ok bool, kind string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%w: no %s", errBox, kind)
}

// parseEdits returns the media time at which presentation begins.
func parseEdits(b []byte) (int64, error) {
	c := &cursor{b: b}
	version, _ := c.full()
	n := c.u32()
	for range min(n, 16) {
		var at int64
		if version == 1 {
			c.u64()
			at = int64(c.u64())
		} else {
			c.u32()
			at = int64(int32(c.u32()))
		}
		c.u32() // media_rate
		if c.short {
			return 0, c.end("elst")
		}
		if at >= 0 {
			return at, nil
		}
	}
	return 0, nil
}

// describe reads the first sample entry.
func (t *trackText) describe(b []byte) error {
	c := &cursor{b: b}
	c.full()
	if n := c.u32(); c.short || n == 0 {
		return fmt.Errorf("%w: stsd without entry", errBox)
	}
	list, err := boxes(c.b)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("%w: stsd without entry", errBox)
	}
	e := list[0]
	t.codec = strings.TrimRight(e.kind, " \x00")
	t.encrypted = e.kind == "encv" || e.kind == "enca"
	c = &cursor{b: e.body}
	c.take(8) // reserved, data_reference_index
	switch t.handler {
	case "vide":
		c.take(16)
		t.width, t.height = int(c.u16()), int(c.u16())
		c.take(14)
		c.take(32) // compressorname
		c.take(4)  // depth, pre_defined
	case "soun":
		version := c.u16()
		c.take(18)
		switch version { // QuickTime's
		case 1:
			c.take(16)
		case 2:
			c.take(36)
		}
	default:
		return nil
	}
	if err := c.end(e.kind); err != nil {
		return err
	}
	inner, err := boxes(c.b)
	if err != nil {
		return err
	}
	for _, x := range inner {
		t.configure(x)
	}
	if t.codec == "Opus" {
		t.codec = "opus"
	}
	return nil
}

// configure reads a decoder configuration record. One that cannot be read
// leaves the four characters to stand for the codec.
func (t *trackText) configure(x box) {
	var f media.Format
	var err error
	switch x.kind {
	case "avcC":
		f, err = codec.ParseDescription(media.H264, x.body)
	case "hvcC":
		f, err = codec.ParseDescription(media.H265, x.body)
	case "av1C":
		f, err = codec.ParseDescription(media.AV1, x.body)
	case "vpcC":
		c := &cursor{b: x.body}
		c.full()
		profile, level, depth := c.u8(), c.u8(), c.u8()>>4
		if !c.short {
			t.codec = fmt.Sprintf("%s.%02d.%02d.%02d", t.codec, profile, level, depth)
		}
		return
	case "esds":
		if s, ok := parseESDS(x.body); ok {
			t.codec += "." + s
		}
		return
	default:
		return
	}
	if err != nil {
		return
	}
	// The description of parameter sets names one family; the entry may be
	// of its sibling with sets in band.
	if _, rest, ok := strings.Cut(f.MIME, "."); ok {
		t.codec += "." + rest
	}
}

// parseESDS returns what follows "mp4a." in CODECS: the object type, and for
// MPEG-4 audio the audio object type (RFC 6381, section 3.3).
func parseESDS(b []byte) (string, bool) {
	c := &cursor{b: b}
	c.full()
	for depth := 0; depth < maxDepth && len(c.b) > 0; depth++ {
		tag := c.u8()
		n := 0
		for range 4 {
			v := c.u8()
			n = n<<7 | int(v&0x7f)
			if v&0x80 == 0 {
				break
			}
		}
		switch tag {
		case 3: // ES_Descriptor
			c.u16()
			flags := c.u8()
			if flags&0x80 != 0 {
				c.u16()
			}
			if flags&0x40 != 0 {
				c.take(int(c.u8()))
			}
			if flags&0x20 != 0 {
				c.u16()
			}
		case 4: // DecoderConfigDescriptor
			object := c.u8()
			c.take(12)
			if c.short {
				return "", false
			}
			if object != 0x40 {
				return fmt.Sprintf("%02x", object), true
			}
		case 5: // DecoderSpecificInfo
			v := c.u16()
			if c.short {
				return "", false
			}
			object := v >> 11
			if object == 31 {
				object = 32 + v>>5&0x3f
			}
			return fmt.Sprintf("40.%d", object), true
		default:
			c.take(n)
		}
		if c.short {
			return "", false
		}
	}
	return "", false
}

// parseFragments reads the movie fragments of a part or segment: for each
// fragment and track what its samples are.
func parseFragments(i *initText, b []byte) ([]runText, error) {
	top, err := boxes(b)
	if err != nil {
		return nil, err
	}
	var out []runText
	total := 0
	for n, x := range top {
		switch x.kind {
		case "moov":
			return out, fmt.Errorf("%w: moov inside a media segment", errBox)
		case "moof":
		default:
			continue
		}
		list, err := boxes(x.body)
		if err != nil {
			return out, err
		}
		payload := uint64(0)
		for _, y := range top[n+1:] {
			if y.kind == "moof" {
				break
			}
			if y.kind == "mdat" {
				payload += uint64(len(y.body))
			}
		}
		used := uint64(0)
		for _, y := range list {
			if y.kind != "traf" {
				continue
			}
			r, err := parseRun(i, y.body, maxSamples-total)
			if err != nil {
				return out, err
			}
			for k := range r.samples {
				used += uint64(r.samples[k].size)
			}
			total += len(r.samples)
			out = append(out, r)
		}
		if used > payload {
			return out, fmt.Errorf("%w: samples of %d bytes in an mdat of %d", errBox, used, payload)
		}
	}
	return out, nil
}

// nonSync is sample_is_non_sync_sample of the sample flags (section 8.8.3.1).
const nonSync = 1 << 16

func parseRun(i *initText, b []byte, room int) (r runText, err error) {
	list, err := boxes(b)
	if err != nil {
		return r, err
	}
	var t trackText // defaults
	timed, headed := false, false
	for _, x := range list {
		c := &cursor{b: x.body}
		switch x.kind {
		case "tfhd":
			_, flags := c.full()
			r.track = c.u32()
			known := i.find(r.track)
			if known == nil {
				return r, fmt.Errorf("%w: a fragment of track %d, which the initialization segment lacks", errBox, r.track)
			}
			t, headed = *known, true
			if flags&0x1 != 0 {
				c.u64()
			}
			if flags&0x2 != 0 {
				c.u32()
			}
			if flags&0x8 != 0 {
				t.duration = c.u32()
			}
			if flags&0x10 != 0 {
				t.size = c.u32()
			}
			if flags&0x20 != 0 {
				t.flags = c.u32()
			}
		case "tfdt":
			if version, _ := c.full(); version == 1 {
				r.decode = c.u64()
			} else {
				r.decode = uint64(c.u32())
			}
			timed = true
		case "trun":
			if !headed {
				return r, fmt.Errorf("%w: trun in front of tfhd", errBox)
			}
			if err := r.run(c, &t, room-len(r.samples)); err != nil {
				return r, err
			}
		}
		if err := c.end(x.kind); err != nil {
			return r, err
		}
	}
	switch {
	case !headed:
		return r, fmt.Errorf("%w: traf without tfhd", errBox)
	case !timed:
		return r, fmt.Errorf("%w: traf without tfdt", errBox)
	case r.length > math.MaxInt64 || r.decode > math.MaxInt64:
		return r, fmt.Errorf("%w: decode time %d", errBox, r.decode)
	}
	return r, nil
}

// run reads a trun.
func (r *runText) run(c *cursor, t *trackText, room int) error {
	version, flags := c.full()
	n := c.u32()
	if flags&0x1 != 0 {
		c.u32() // data_offset
	}
	first, hasFirst := uint32(0), flags&0x4 != 0
	if hasFirst {
		first = c.u32()
	}
	each := 0
	for _, f := range []uint32{0x100, 0x200, 0x400, 0x800} {
		if flags&f != 0 {
			each += 4
		}
	}
	// A sample of no bytes in the box is bounded by the room alone.
	if uint64(n) > uint64(max(room, 0)) || uint64(n)*uint64(each) > uint64(len(c.b)) {
		return fmt.Errorf("%w: trun of %d samples", errBox, n)
	}
	for k := range n {
		s := sampleText{duration: t.duration, size: t.size}
		f := t.flags
		if flags&0x100 != 0 {
			s.duration = c.u32()
		}
		if flags&0x200 != 0 {
			s.size = c.u32()
		}
		if flags&0x400 != 0 {
			f = c.u32()
		}
		if k == 0 && hasFirst {
			f = first
		}
		if flags&0x800 != 0 {
			if v := c.u32(); version == 0 {
				s.offset = int64(v)
			} else {
				s.offset = int64(int32(v))
			}
		}
		s.sync = f&nonSync == 0
		r.samples = append(r.samples, s)
		r.length += uint64(s.duration)
	}
	return nil
}
