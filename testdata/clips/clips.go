// Package clips opens the short media files of this folder for tests.
//
// Its MP4 reader knows just what ffmpeg wrote here. It is written apart from
// the code under test, so that both cannot share a mistake.
package clips

import (
	"embed"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"
)

//go:embed *.mp4 *.ivf
var files embed.FS

// Names of the clips, each three seconds of 320×180 at 30 frames per second
// with a key frame each second.
const (
	H264AAC  = "h264-aac.mp4"  // with B-frames, AAC-LC stereo
	H265Opus = "h265-opus.mp4" // with B-frames, Opus stereo
	AV1Opus  = "av1-opus.mp4"  // Opus stereo
	VP9Opus  = "vp9-opus.mp4"  // Opus mono
	VP8      = "vp8.ivf"       // no sound
)

// Clips of sound only, one second each.
const (
	AC3 = "ac3.mp4" // AC-3, 5.1 channels
	EC3 = "ec3.mp4" // E-AC-3, 5.1 channels
)

// All lists every clip with pictures.
var All = []string{H264AAC, H265Opus, AV1Opus, VP9Opus, VP8}

// Track is one track of a clip.
type Track struct {
	// Entry is the MP4 sample entry type (avc1, hvc1, av01, vp09, mp4a,
	// Opus, ac-3, ec-3), for IVF its FourCC (VP80).
	Entry string
	// Config is the content of the sample entry's configuration box (avcC,
	// hvcC, av1C, vpcC, dOps, esds, dac3, dec3); nil for IVF.
	Config        []byte
	Width, Height int // video
	Samples       []Sample
}

// Video tells pictures from sound.
func (t *Track) Video() bool { return t.Width > 0 }

// Sample is one coded frame, in decode order.
type Sample struct {
	DTS, PTS time.Duration // from the start of the clip
	Sync     bool
	Data     []byte
}

// Open reads a clip. It panics on a file that it cannot read, which only a
// change of this folder can cause.
func Open(name string) []Track {
	b := Bytes(name)
	if strings.HasSuffix(name, ".ivf") {
		return []Track{openIVF(b)}
	}
	moov := child(b, "moov")
	var tracks []Track
	for _, trak := range children(moov, "trak") {
		tracks = append(tracks, openTrack(b, trak))
	}
	return tracks
}

// Video returns the clip's track with pictures.
func Video(name string) Track {
	for _, t := range Open(name) {
		if t.Video() {
			return t
		}
	}
	panic("clips: no video in " + name)
}

// Audio returns the clip's track with sound.
func Audio(name string) Track {
	for _, t := range Open(name) {
		if !t.Video() {
			return t
		}
	}
	panic("clips: no audio in " + name)
}

// Bytes returns the file as it is.
func Bytes(name string) []byte {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return b
}

var be = binary.BigEndian

// children returns the contents of the boxes of the given type in b.
func children(b []byte, typ string) [][]byte {
	var found [][]byte
	for len(b) >= 8 {
		size := be.Uint32(b)
		if size < 8 || uint64(size) > uint64(len(b)) {
			panic(fmt.Sprintf("clips: box %q of %d bytes in %d", b[4:8], size, len(b)))
		}
		if string(b[4:8]) == typ {
			found = append(found, b[8:size])
		}
		b = b[size:]
	}
	return found
}

func child(b []byte, path ...string) []byte {
	for _, typ := range path {
		c := children(b, typ)
		if len(c) == 0 {
			return nil
		}
		b = c[0]
	}
	return b
}

func openTrack(file, trak []byte) Track {
	var t Track
	mdia := child(trak, "mdia")
	timescale := be.Uint32(child(mdia, "mdhd")[12:])
	stbl := child(mdia, "minf", "stbl")
	entry := child(stbl, "stsd")[8:]
	t.Entry = string(entry[4:8])
	switch string(child(mdia, "hdlr")[8:12]) {
	case "vide":
		t.Width, t.Height = int(be.Uint16(entry[8+24:])), int(be.Uint16(entry[8+26:]))
		t.Config = config(entry[8+78:], "avcC", "hvcC", "av1C", "vpcC")
	case "soun":
		t.Config = config(entry[8+28:], "esds", "dOps", "dac3", "dec3")
	}

	table := func(typ string) []byte {
		if b := child(stbl, typ); b != nil {
			return b[4:] // version and flags
		}
		return nil
	}
	stsz := table("stsz")
	count := int(be.Uint32(stsz[4:]))
	t.Samples = make([]Sample, count)
	sizes := make([]int, count)
	for i := range sizes {
		if fixed := be.Uint32(stsz); fixed != 0 {
			sizes[i] = int(fixed)
		} else {
			sizes[i] = int(be.Uint32(stsz[8+4*i:]))
		}
	}
	// stsc: runs of chunks with the same number of samples.
	stsc, stco := table("stsc"), table("stco")
	next, run := 0, 0
	for chunk := range int(be.Uint32(stco)) {
		if run+1 < int(be.Uint32(stsc)) && be.Uint32(stsc[4+12*(run+1):]) == uint32(chunk+1) {
			run++
		}
		at := int(be.Uint32(stco[4+4*chunk:]))
		for range be.Uint32(stsc[4+12*run+4:]) {
			t.Samples[next].Data = file[at : at+sizes[next] : at+sizes[next]]
			at += sizes[next]
			next++
		}
	}
	start := mediaTime(trak)
	var dts int64
	eachRun(table("stts"), func(i int, delta uint32) {
		t.Samples[i].DTS = ticks(dts-start, timescale)
		t.Samples[i].PTS = t.Samples[i].DTS
		dts += int64(delta)
	})
	eachRun(table("ctts"), func(i int, offset uint32) {
		t.Samples[i].PTS += ticks(int64(int32(offset)), timescale)
	})
	if stss := table("stss"); stss != nil {
		for i := range int(be.Uint32(stss)) {
			t.Samples[be.Uint32(stss[4+4*i:])-1].Sync = true
		}
	} else {
		for i := range t.Samples {
			t.Samples[i].Sync = true
		}
	}
	return t
}

// mediaTime is where the edit list lets the presentation begin: the delay of
// reordering, or of an audio encoder.
func mediaTime(trak []byte) int64 {
	elst := child(trak, "edts", "elst")
	if elst == nil {
		return 0
	}
	return max(0, int64(int32(be.Uint32(elst[8+4:]))))
}

// eachRun expands a table of (count, value) entries.
func eachRun(b []byte, f func(i int, v uint32)) {
	if b == nil {
		return
	}
	i := 0
	for e := range int(be.Uint32(b)) {
		for range be.Uint32(b[4+8*e:]) {
			f(i, be.Uint32(b[8+8*e:]))
			i++
		}
	}
}

func ticks(n int64, timescale uint32) time.Duration {
	return time.Duration(math.Round(float64(n) * float64(time.Second) / float64(timescale)))
}

func config(boxes []byte, types ...string) []byte {
	for _, typ := range types {
		if b := child(boxes, typ); b != nil {
			return b
		}
	}
	panic(fmt.Sprintf("clips: none of %v", types))
}

// openIVF reads the IVF container: a header of 32 bytes, then frames of
// 12 + size bytes, all little-endian.
func openIVF(b []byte) Track {
	le := binary.LittleEndian
	t := Track{
		Entry:  string(b[8:12]),
		Width:  int(le.Uint16(b[12:])),
		Height: int(le.Uint16(b[14:])),
	}
	rate, scale := le.Uint32(b[16:]), le.Uint32(b[20:])
	for b = b[le.Uint16(b[6:]):]; len(b) > 0; {
		size := le.Uint32(b)
		pts := ticks(int64(le.Uint64(b[4:]))*int64(scale), rate)
		data := b[12 : 12+size : 12+size]
		t.Samples = append(t.Samples, Sample{DTS: pts, PTS: pts, Sync: data[0]&1 == 0, Data: data})
		b = b[12+size:]
	}
	return t
}
