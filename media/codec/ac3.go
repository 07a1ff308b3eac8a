package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/ac3"

	"github.com/freshet-live/freshet/media"
)

// AC3Samples is the length of an AC-3 synchronization frame: six blocks
// (ETSI TS 102 366, section 4.2).
const AC3Samples = 6 * ac3Block

const (
	ac3Block = 256 // samples of an audio block
	// maxSubstreams bounds the substreams of an E-AC-3 access unit: eight
	// independent ones with eight dependent ones each (section E.1.3.1.2).
	maxSubstreams = 72
)

// ac3Rates are the sample rates by fscod, ac3Bitrates the bit rates in kbit/s
// by bit_rate_code (ETSI TS 102 366, tables 4.1 and F.4.1).
var (
	ac3Rates    = [...]int{48000, 44100, 32000}
	ac3Bitrates = [...]int{32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640}
	// ac3Channels counts the full-bandwidth channels by acmod (table 4.3).
	ac3Channels = [...]int{2, 1, 2, 3, 3, 4, 4, 5}
)

// AC3Config is the content of a dac3 box (ETSI TS 102 366, section F.4).
type AC3Config struct {
	Fscod, Bsid, Bsmod, Acmod uint8
	LFE                       bool
	BitRateCode               uint8
}

// Marshal returns the box's content.
func (c *AC3Config) Marshal() []byte {
	v := uint32(c.Fscod)<<22 | uint32(c.Bsid)<<17 | uint32(c.Bsmod)<<14 | uint32(c.Acmod)<<11 | uint32(c.BitRateCode)<<5
	if c.LFE {
		v |= 1 << 10
	}
	return []byte{byte(v >> 16), byte(v >> 8), byte(v)}
}

// ParseAC3Config parses the content of a dac3 box.
func ParseAC3Config(b []byte) (AC3Config, error) {
	r := bitReader{b: b}
	c := AC3Config{Fscod: uint8(r.u(2)), Bsid: uint8(r.u(5)), Bsmod: uint8(r.u(3)), Acmod: uint8(r.u(3))}
	c.LFE, c.BitRateCode = r.flag(), uint8(r.u(5))
	r.u(5)
	if !r.ok() || int(c.Fscod) >= len(ac3Rates) || c.Bsid > 10 || int(c.BitRateCode) >= len(ac3Bitrates) {
		return AC3Config{}, fmt.Errorf("%w: dac3", ErrMalformed)
	}
	return c, nil
}

// AC3ConfigOf reads the configuration off a synchronization frame.
func AC3ConfigOf(frame []byte) (AC3Config, error) {
	var s ac3.SyncInfo
	var i ac3.BSI
	if len(frame) < 8 {
		return AC3Config{}, fmt.Errorf("%w: AC-3 frame of %d bytes", ErrMalformed, len(frame))
	}
	if err := s.Unmarshal(frame); err != nil {
		return AC3Config{}, fmt.Errorf("%w: AC-3: %w", ErrMalformed, err)
	}
	if err := i.Unmarshal(frame[5:]); err != nil {
		return AC3Config{}, fmt.Errorf("%w: AC-3: %w", ErrMalformed, err)
	}
	if len(frame) != s.FrameSize() {
		return AC3Config{}, fmt.Errorf("%w: AC-3 frame of %d bytes says %d", ErrMalformed, len(frame), s.FrameSize())
	}
	return AC3Config{
		Fscod: s.Fscod, Bsid: i.Bsid, Bsmod: i.Bsmod, Acmod: i.Acmod, LFE: i.LfeOn, BitRateCode: s.Frmsizecod >> 1,
	}, nil
}

func (c *AC3Config) format() media.Format {
	return media.Format{
		Codec: media.AC3, MIME: "ac-3", Description: c.Marshal(),
		SampleRate: ac3Rates[c.Fscod], Channels: ac3Channels[c.Acmod] + one(c.LFE),
		Bitrate: ac3Bitrates[c.BitRateCode] * 1000,
	}
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// EC3Config is the content of a dec3 box (ETSI TS 102 366, section F.6).
type EC3Config struct {
	DataRate    int // kbit/s
	Independent []EC3Substream
}

// EC3Substream is an independent substream with those that depend on it.
// Bsmod is not among what is read off frames, where it stands behind the
// mixing metadata: 0, the main service, is what broadcasts are.
type EC3Substream struct {
	Fscod, Bsid, Bsmod, Acmod uint8
	LFE                       bool
	Dependent                 int    // how many depend on it
	Locations                 uint16 // chan_loc: which channels those add
}

// Marshal returns the box's content.
func (c *EC3Config) Marshal() []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(min(c.DataRate, 1<<13-1)<<3|(len(c.Independent)-1)&7))
	for i := range c.Independent {
		s := &c.Independent[i]
		v := uint32(s.Fscod)<<14 | uint32(s.Bsid)<<9 | uint32(s.Bsmod)<<4 | uint32(s.Acmod)<<1 | uint32(one(s.LFE))
		b = append(b, byte(v>>8), byte(v))
		deps := byte(s.Dependent&0xf) << 1
		if s.Dependent > 0 {
			b = append(b, deps|byte(s.Locations>>8&1), byte(s.Locations))
		} else {
			b = append(b, deps)
		}
	}
	return b
}

// ParseEC3Config parses the content of a dec3 box. What follows the
// substreams is ignored: later editions put the complexity of object audio
// there.
func ParseEC3Config(b []byte) (EC3Config, error) {
	r := bitReader{b: b}
	c := EC3Config{DataRate: int(r.u(13))}
	for range int(r.u(3)) + 1 {
		var s EC3Substream
		s.Fscod, s.Bsid = uint8(r.u(2)), uint8(r.u(5))
		r.u(2) // reserved, asvc
		s.Bsmod, s.Acmod, s.LFE = uint8(r.u(3)), uint8(r.u(3)), r.flag()
		r.u(3)
		if s.Dependent = int(r.u(4)); s.Dependent > 0 {
			s.Locations = uint16(r.u(9))
		} else {
			r.u(1)
		}
		if !r.ok() || int(s.Fscod) >= len(ac3Rates) {
			return EC3Config{}, fmt.Errorf("%w: dec3", ErrMalformed)
		}
		c.Independent = append(c.Independent, s)
	}
	return c, nil
}

// channels is how many the first programme has.
func (c *EC3Config) channels() int {
	s := &c.Independent[0]
	// Lc/Rc, Lrs/Rrs, Lsd/Rsd, Lw/Rw and Lvh/Rvh are pairs (table F.6.1).
	const pairs = 1<<0 | 1<<1 | 1<<4 | 1<<5 | 1<<6
	return ac3Channels[s.Acmod] + one(s.LFE) + bits.OnesCount16(s.Locations) + bits.OnesCount16(s.Locations&pairs)
}

func (c *EC3Config) format() media.Format {
	return media.Format{
		Codec: media.EC3, MIME: "ec-3", Description: c.Marshal(),
		SampleRate: ac3Rates[c.Independent[0].Fscod], Channels: c.channels(), Bitrate: c.DataRate * 1000,
	}
}

// ec3Frame is the head of a synchronization frame (ETSI TS 102 366, section
// E.1.2).
type ec3Frame struct {
	dependent bool
	id        uint8
	size      int // bytes
	rate      int // Hz
	blocks    int
	EC3Substream
}

// parseEC3Frame reads the head of the first frame in b.
func parseEC3Frame(b []byte) (f ec3Frame, err error) {
	bad := func(what string) (ec3Frame, error) {
		return ec3Frame{}, fmt.Errorf("%w: E-AC-3 frame: %s", ErrMalformed, what)
	}
	r := bitReader{b: b}
	if r.u(16) != 0x0b77 {
		return bad("no syncword")
	}
	kind := r.u(2)
	f.id = uint8(r.u(3))
	f.size = int(r.u(11)+1) * 2
	f.Fscod = uint8(r.u(2))
	half := false
	if f.Fscod == 3 {
		// Half the sample rates, always six blocks. dec3 has no place for
		// them: its fscod of 3 is reserved.
		f.Fscod, half, f.blocks = uint8(r.u(2)), true, 6
	} else {
		f.blocks = [...]int{1, 2, 3, 6}[r.u(2)]
	}
	f.Acmod, f.LFE, f.Bsid = uint8(r.u(3)), r.flag(), uint8(r.u(5))
	switch {
	case !r.ok() || f.size > len(b):
		return bad("cut off")
	case f.Bsid < 11 || f.Bsid > 16:
		return bad(fmt.Sprintf("bsid %d", f.Bsid))
	case kind == 3:
		return bad("reserved stream type")
	case half:
		return ec3Frame{}, fmt.Errorf("%w: E-AC-3 at half sample rate", ErrUnsupported)
	}
	f.rate = ac3Rates[f.Fscod]
	f.dependent = kind == 1
	for range 1 + one(f.Acmod == 0) { // two programmes in dual mono
		r.u(5) // dialnorm
		if r.flag() {
			r.u(8) // compr
		}
	}
	if f.dependent && r.flag() {
		f.Locations = chanLoc(uint16(r.u(16)))
	}
	if !r.ok() {
		return bad("cut off")
	}
	return f, nil
}

// chanLoc converts a channel map (table E.1.5: bit 0 is the most significant)
// to chan_loc (table F.6.1), which has the channels beyond 5.1 only.
func chanLoc(chanmap uint16) (loc uint16) {
	for i, bit := range [...]int{5, 6, 7, 8, 9, 10, 11, 12, 14} {
		loc |= chanmap >> (15 - bit) & 1 << i
	}
	return loc
}

// EC3ConfigOf reads the configuration off an access unit, and how many
// samples it lasts.
func EC3ConfigOf(unit []byte) (c EC3Config, samples int, err error) {
	rate := 0
	for n, b := 0, unit; len(b) > 0; n++ {
		f, err := parseEC3Frame(b)
		if err != nil {
			return EC3Config{}, 0, err
		}
		b = b[f.size:]
		last := len(c.Independent) - 1
		switch {
		case n == maxSubstreams:
			return EC3Config{}, 0, fmt.Errorf("%w: E-AC-3 access unit of more than %d frames", ErrTooLarge, n)
		case f.dependent && last < 0:
			return EC3Config{}, 0, fmt.Errorf("%w: E-AC-3 dependent substream first", ErrMalformed)
		case f.dependent:
			if samples <= f.blocks*ac3Block { // not again in the next blocks
				s := &c.Independent[last]
				s.Dependent = min(s.Dependent+1, 15)
				s.Locations |= f.Locations
			}
		case f.id == 0:
			samples += f.blocks * ac3Block
			if rate = f.rate; last < 0 {
				c.Independent = append(c.Independent, f.EC3Substream)
			}
		case int(f.id) == last+1 && last >= 0:
			c.Independent = append(c.Independent, f.EC3Substream)
		case int(f.id) > last:
			return EC3Config{}, 0, fmt.Errorf("%w: E-AC-3 substream %d after %d", ErrMalformed, f.id, last)
		}
	}
	if samples == 0 {
		return EC3Config{}, 0, fmt.Errorf("%w: empty E-AC-3 access unit", ErrMalformed)
	}
	c.DataRate = int(int64(len(unit)) * 8 * int64(rate) / int64(samples) / 1000)
	return c, samples, nil
}

// dolbyAssembler is the Assembler of AC-3 and E-AC-3, whose frames describe
// themselves.
type dolbyAssembler struct {
	codec  media.Codec
	format *media.Format
}

func newDolbyAssembler(s media.Format) (Assembler, error) {
	a := &dolbyAssembler{codec: s.Codec}
	if len(s.Description) > 0 {
		f, err := ParseDescription(s.Codec, s.Description)
		if err != nil {
			return nil, err
		}
		a.format = &f
	}
	return a, nil
}

// Format implements Assembler.
func (a *dolbyAssembler) Format() *media.Format { return a.format }

// Assemble implements Assembler.
func (a *dolbyAssembler) Assemble(pts media.Time, unit [][]byte) (media.Frame, error) {
	b, err := single(unit)
	if err != nil {
		return media.Frame{}, err
	}
	f, err := dolbyFormat(a.codec, b)
	if err != nil {
		return media.Frame{}, err
	}
	if a.format == nil || !a.same(&f) {
		a.format = &f
	}
	return media.Frame{PTS: pts, Key: true, Data: bytes.Clone(b), Format: a.format}, nil
}

func dolbyFormat(c media.Codec, frame []byte) (media.Format, error) {
	if c == media.AC3 {
		config, err := AC3ConfigOf(frame)
		if err != nil {
			return media.Format{}, err
		}
		return config.format(), nil
	}
	config, _, err := EC3ConfigOf(frame)
	if err != nil {
		return media.Format{}, err
	}
	return config.format(), nil
}

// same tells whether f is the format in force. The data rate of E-AC-3, in
// the first 13 bits, may differ from frame to frame.
func (a *dolbyAssembler) same(f *media.Format) bool {
	old, now := a.format.Description, f.Description
	if a.codec == media.EC3 && len(old) > 2 && len(now) > 2 {
		return old[1]&7 == now[1]&7 && bytes.Equal(old[2:], now[2:])
	}
	return bytes.Equal(old, now)
}

// dolbyDuration returns how long a frame sounds, 0 if it cannot be parsed.
func dolbyDuration(c media.Codec, frame []byte) time.Duration {
	samples, rate := AC3Samples, 0
	if c == media.AC3 {
		config, err := AC3ConfigOf(frame)
		if err != nil {
			return 0
		}
		rate = ac3Rates[config.Fscod]
	} else {
		config, n, err := EC3ConfigOf(frame)
		if err != nil {
			return 0
		}
		samples, rate = n, ac3Rates[config.Independent[0].Fscod]
	}
	return time.Duration(samples) * time.Second / time.Duration(rate)
}
