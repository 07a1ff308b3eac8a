package hlscheck

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media/cmaf"
)

// clips returns real initialization segments and fragments as seeds.
func clips(f *testing.F) (inits, bodies [][]byte) {
	f.Helper()
	inits = append(inits, mustInit(f, "video"), mustInit(f, "audio"))
	o := &origin{epoch: time.Unix(1_700_000_000, 0), listed: listedOf, keep: 4}
	bodies = append(bodies, o.part("video0", 3, 0), o.part("audio0", 3, 1))
	// What other muxers write, without its samples: long inputs keep the
	// fuzzer busy with making them shorter.
	files, _ := filepath.Glob("../../../testdata/clips/*.mp4")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if moov, ok, err := find(b, "moov"); ok && err == nil && len(moov) < 4<<10 {
			inits = append(inits, append(binary.BigEndian.AppendUint32(nil, uint32(len(moov)+8)), append([]byte("moov"), moov...)...))
		}
	}
	return inits, bodies
}

func mustInit(f *testing.F, kind string) []byte {
	f.Helper()
	format := &h264
	if kind == "audio" {
		format = &aac
	}
	b, err := cmaf.Init(format)
	if err != nil {
		f.Fatal(err)
	}
	return b
}

func FuzzBoxes(f *testing.F) {
	inits, bodies := clips(f)
	for _, b := range append(inits, bodies...) {
		f.Add(b)
	}
	f.Add([]byte{0, 0, 0, 1, 'm', 'd', 'a', 't', 0, 0, 0, 0, 0, 0, 0, 16})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := boxes(b)
		n := 0
		for _, x := range list {
			n += 8 + len(x.body)
		}
		if n > len(b) || err == nil && len(b) > 0 && len(list) == 0 {
			t.Fatalf("%d boxes of %d bytes in %d, %v", len(list), n, len(b), err)
		}
	})
}

func FuzzInit(f *testing.F) {
	inits, _ := clips(f)
	for _, b := range inits {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := parseInit(b)
		if err != nil {
			return
		}
		if i.main() == nil || len(i.tracks) > maxTracks {
			t.Fatalf("%+v", i)
		}
		for k := range i.tracks {
			if tr := &i.tracks[k]; tr.id == 0 || tr.timescale == 0 {
				t.Fatalf("%+v", tr)
			}
		}
	})
}

// FuzzFragments checks that what is read stays in proportion to the input,
// and that everything measured from it can be computed.
func FuzzFragments(f *testing.F) {
	inits, bodies := clips(f)
	for _, b := range bodies {
		for _, i := range inits {
			f.Add(i, b)
		}
	}
	f.Fuzz(func(t *testing.T, head, b []byte) {
		i, err := parseInit(head)
		if err != nil {
			return
		}
		runs, err := parseFragments(i, b)
		n := 0
		for k := range runs {
			n += len(runs[k].samples)
		}
		if n > maxSamples {
			t.Fatalf("%d samples", n)
		}
		if err != nil || len(runs) == 0 {
			return
		}
		_, _ = presentation(i.main(), runs)
		m := &measure{stream: newStream(&run{sink: newCollector()}, "http://127.0.0.1/", roleVariant)}
		s := &segmentText{msn: 1, duration: time.Second, date: time.Unix(1, 0), initialize: source{"i", wholeFile}}
		m.segment(i, s, b, []loadedPart{{partText{duration: time.Second}, 0, b}}, 1)
		s.msn++
		m.segment(i, s, b, nil, 0)
	})
}

func FuzzESDS(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x03\x19\x00\x01\x00\x04\x11\x40\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x02\x11\x90\x06\x01\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parseESDS(b); ok && s == "" {
			t.Fatal("read nothing")
		}
	})
}

// FuzzMedia checks that every text can be read, checked, held against itself
// and applied to itself.
func FuzzMedia(f *testing.F) {
	o := &origin{epoch: time.Unix(1_700_000_000, 0), listed: listedOf, keep: 4}
	now := o.epoch.Add(time.Hour)
	f.Add([]byte(o.media("video0", now, "")), []byte(o.media("video0", now.Add(time.Second), "YES")))
	f.Add([]byte("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n#EXT-X-BYTERANGE:10@5\na.ts\n#EXT-X-ENDLIST\n"), []byte("#EXTM3U\n#EXT-X-KEY:METHOD=NONE\n"))
	f.Add([]byte("#EXTM3U\n#EXT-X-DATERANGE:ID=\"a\",START-DATE=\"2026-01-01T00:00:00Z\",DURATION=1,END-ON-NEXT=YES\n"), []byte("#EXTM3U\n"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		sink := newCollector()
		a, b := parseMedia(sink, "http://127.0.0.1/a", first), parseMedia(sink, "http://127.0.0.1/a", second)
		if a == nil || b == nil {
			return
		}
		for _, m := range []*mediaText{a, b} {
			(&single{sink: sink, m: m}).check()
			_, _ = m.ahead()
			m.has(m.ahead())
			_, _ = m.end()
		}
		checkUpdate(sink, a, b)
		if b.skipped <= len(a.segments) {
			if full := a.apply(b); full != nil {
				(&single{sink: sink, m: full}).check()
			}
		}
		if len(sink.order) > maxFindings {
			t.Fatalf("%d findings are kept", len(sink.order))
		}
	})
}

func FuzzMultivariant(f *testing.F) {
	f.Add([]byte(multivariant))
	f.Fuzz(func(t *testing.T, b []byte) {
		sink := newCollector()
		if m := parseMultivariant(sink, "http://127.0.0.1/index.m3u8", b); m != nil {
			m.check(sink)
			m.advise(sink)
			for _, v := range m.variants {
				for _, c := range v.codecs {
					covers(c, "avc1.64001f")
					covers("hvc1.1.6.L93.B0", c)
				}
			}
		}
	})
}

// TestTruncated: every initialization segment and every fragment that is cut
// short is refused.
func TestTruncated(t *testing.T) {
	o := &origin{epoch: time.Unix(1_700_000_000, 0), listed: listedOf, keep: 4}
	head, err := cmaf.Init(&h264)
	if err != nil {
		t.Fatal(err)
	}
	i, err := parseInit(head)
	if err != nil {
		t.Fatal(err)
	}
	if tr := i.main(); tr.codec != "avc1.64001f" || tr.width != 1280 || tr.timescale != 90000 || !tr.video() {
		t.Errorf("%+v", tr)
	}
	for n := range head {
		if _, err := parseInit(head[:n]); err == nil {
			t.Errorf("%d of %d bytes of an initialization segment are accepted", n, len(head))
		}
	}
	body := o.part("video0", 3, 1)
	if runs, err := parseFragments(i, body); err != nil || len(runs) != 1 || len(runs[0].samples) != 4 || runs[0].length != 18000 {
		t.Errorf("%+v, %v", runs, err)
	}
	moof := binary.BigEndian.Uint32(body)
	for n := range body {
		if n == 0 || n == int(moof) && bytes.Equal(body[4:8], []byte("styp")) {
			continue // a whole box
		}
		if _, err := parseFragments(i, body[:n]); err == nil {
			t.Errorf("%d of %d bytes of a part are accepted", n, len(body))
		}
	}
	// A trun that promises samples without bytes for them.
	huge := bytes.Clone(body)
	at := bytes.Index(huge, []byte("trun"))
	binary.BigEndian.PutUint32(huge[at+8:], 1<<31)
	if _, err := parseFragments(i, huge); err == nil {
		t.Error("two thousand million samples are accepted")
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		declared, actual string
		want             bool
	}{
		{"avc1.64001f", "avc1.64001F", true}, {"avc1.640028", "avc1.64001f", true}, {"avc1.64001e", "avc1.64001f", false},
		{"avc1.4d401f", "avc1.64001f", false}, {"mp4a.40.2", "mp4a.40.2", true}, {"mp4a.40.5", "mp4a.40.2", true},
		{"mp4a.40.2", "mp4a.6b", false}, {"hvc1.1.6.L93.B0", "hvc1.1.6.L90.90", true}, {"hvc1.2.4.L93.B0", "hvc1.1.6.L93.B0", false},
		{"av01.0.04M.08", "av01.0.01M.08", true}, {"av01.0.00M.08", "av01.0.04M.08", false}, {"Opus", "opus", true}, {"opus", "mp4a.40.2", false},
	} {
		if got := covers(c.declared, c.actual); got != c.want {
			t.Errorf("covers(%q, %q) = %t", c.declared, c.actual, got)
		}
	}
}
