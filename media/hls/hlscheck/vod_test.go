package hlscheck

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media/cmaf"
)

// vod is a presentation of files: one fragmented MP4 for each rendition, with
// byte ranges; subtitles; and an I-frame playlist.
type vod map[string]string

func newVOD() vod {
	const segments = 6
	o := &origin{epoch: time.Unix(1_700_000_000, 0)}
	v := make(vod)
	for _, name := range []string{"video0", "audio0"} {
		f := h264
		if name == "audio0" {
			f = aac
		}
		init, err := cmaf.Init(&f)
		if err != nil {
			panic(err)
		}
		file := string(init)
		text := fmt.Sprintf("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MAP:URI=\"%s.mp4\",BYTERANGE=\"%d@0\"\n", name, len(init))
		frames := fmt.Sprintf("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-I-FRAMES-ONLY\n#EXT-X-MAP:URI=\"%s.mp4\",BYTERANGE=\"%d@0\"\n", name, len(init))
		if name == "video0" {
			text += "#EXT-X-DATERANGE:ID=\"ad\",CLASS=\"x\",START-DATE=\"2023-11-14T22:13:22Z\",END-DATE=\"2023-11-14T22:13:24Z\",DURATION=2\n"
		}
		for n := range uint64(segments) {
			start := len(file)
			for k := range partsOf {
				part := o.part(name, n, k)
				if k == 0 {
					frames += fmt.Sprintf("#EXTINF:2,\n#EXT-X-BYTERANGE:%d@%d\nvideo0.mp4\n", len(part), start)
				}
				file += string(part)
			}
			if n == 0 {
				text += "#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.000Z\n"
			}
			text += fmt.Sprintf("#EXTINF:2,\n#EXT-X-BYTERANGE:%d@%d\n%s.mp4\n", len(file)-start, start, name)
		}
		v[name+".mp4"], v[name+".m3u8"] = file, text+"#EXT-X-ENDLIST\n"
		if name == "video0" {
			v["frames.m3u8"] = frames + "#EXT-X-ENDLIST\n"
		}
	}
	v["text.m3u8"] = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.000Z\n" + strings.Repeat("#EXTINF:2,\ntext.vtt\n", segments) + "#EXT-X-ENDLIST\n"
	v["text.vtt"] = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n"
	v["index.m3u8"] = `#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="main",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="audio0.m3u8"
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="text",NAME="English",LANGUAGE="en",URI="text.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=214000,AVERAGE-BANDWIDTH=214000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=20,AUDIO="audio",SUBTITLES="text",VIDEO-RANGE=SDR
video0.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=20000,CODECS="avc1.64001f",RESOLUTION=1280x720,URI="frames.m3u8"
`
	return v
}

func (v vod) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	body, ok := v[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cache-Control", "max-age=3600")
	switch {
	case strings.HasSuffix(name, ".m3u8"):
		(&origin{}).playlist(w, r, body, "max-age=3600")
		return
	case strings.HasSuffix(name, ".vtt"):
		h.Set("Content-Type", "text/vtt")
	default:
		h.Set("Content-Type", "video/mp4")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader([]byte(body)))
}

// TestVOD: a presentation that has ended is clean, and each fault in it is
// found.
func TestVOD(t *testing.T) {
	for _, c := range []struct {
		want           string
		file, old, new string
		with           []string
	}{
		{want: "", file: "index.m3u8", old: "VERSION:6", new: "VERSION:6"},
		{want: "version", file: "video0.m3u8", old: "VERSION:6", new: "VERSION:4"},
		{want: "vod-type", file: "video0.m3u8", old: "#EXT-X-PLAYLIST-TYPE:VOD\n", with: []string{"playlist-type-differs"}},
		{want: "playlist-type-differs", file: "audio0.m3u8", old: "TYPE:VOD", new: "TYPE:EVENT"},
		{want: "key", file: "audio0.m3u8", old: "#EXT-X-MAP", new: "#EXT-X-KEY:METHOD=SAMPLE-AES\n#EXT-X-MAP"},
		{want: "date-range", file: "video0.m3u8", old: `START-DATE="2023-11-14T22:13:22Z",`},
		{want: "date-range", file: "video0.m3u8", old: `DURATION=2`, new: "DURATION=3"},
		{want: "date-range", file: "video0.m3u8", old: `DURATION=2`, new: "DURATION=2,END-ON-NEXT=YES"},
		{want: "date-range-changed", file: "video0.m3u8", old: "#EXTINF", new: "#EXT-X-DATERANGE:ID=\"ad\",CLASS=\"y\"\n#EXTINF"},
		{want: "bandwidth", file: "index.m3u8", old: "BANDWIDTH=20000,"},
		{want: "video-range", file: "index.m3u8", old: "VIDEO-RANGE=SDR", new: "VIDEO-RANGE=HDR"},
		{want: "bandwidth-untrue", file: "index.m3u8", old: "BANDWIDTH=214000,", new: "BANDWIDTH=400000,"},
		{want: "average-bandwidth-untrue", file: "index.m3u8", old: "AVERAGE-BANDWIDTH=214000", new: "AVERAGE-BANDWIDTH=100000"},
		{want: "i-frames", file: "frames.m3u8", old: "#EXT-X-I-FRAMES-ONLY\n", with: []string{"segment-duration"}},
		{want: "i-frames", file: "video0.m3u8", old: "#EXT-X-MAP", new: "#EXT-X-I-FRAMES-ONLY\n#EXT-X-MAP"},
		{want: "webvtt", file: "text.vtt", old: "WEBVTT", new: "1\n00:00 --> 00:02"},
		{want: "webvtt", file: "text.vtt", old: "X-TIMESTAMP-MAP=", new: "NOTE "},
		{want: "rendition-behind", file: "audio0.m3u8", old: "#EXTINF:2,", new: "#EXTINF:6,", with: []string{"target-duration", "segment-too-long", "segment-duration", "bandwidth-untrue", "average-bandwidth-untrue"}},
		{want: "rendition", file: "index.m3u8", old: `,URI="text.m3u8"`},
		{want: "rendition", file: "index.m3u8", old: `TYPE=SUBTITLES,GROUP-ID="text",NAME="English",LANGUAGE="en"`, new: `TYPE=AUDIO,GROUP-ID="audio",NAME="main",CHANNELS="2"`,
			with: []string{"rendition-group", "syntax", "independent-segments", "not-looked-into"}},
		{want: "no-variant", file: "index.m3u8", old: "video0.m3u8\n"},
		{want: "kind", file: "index.m3u8", old: "#EXT-X-I-FRAME", new: "#EXT-X-ENDLIST\n#EXT-X-I-FRAME"},
		{want: "range", file: "audio0.m3u8", old: "#EXT-X-BYTERANGE:", new: "#EXT-X-BYTERANGE:9", with: []string{"segment-duration", "decode-time", "bandwidth-untrue", "average-bandwidth-untrue", "mp4-malformed"}},
		{want: "hint-after-end", file: "audio0.m3u8", old: "#EXT-X-ENDLIST", new: "#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"x\"\n#EXT-X-ENDLIST"},
		{want: "control-differs", file: "audio0.m3u8", old: "#EXT-X-MAP", new: "#EXT-X-SERVER-CONTROL:HOLD-BACK=6\n#EXT-X-MAP", with: []string{"version-control"}},
		{want: "tag-order", file: "audio0.m3u8", old: "#EXTINF:2,", new: "#EXT-X-PART:DURATION=2,URI=\"a\"\n#EXT-X-KEY:METHOD=NONE\n#EXTINF:2,", with: []string{"part-inf", "media-unavailable"}},
	} {
		t.Run(c.want+"/"+c.file+" "+c.old, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				v := newVOD()
				if text := strings.Replace(v[c.file], c.old, c.new, 1); text != v[c.file] {
					v[c.file] = text
				} else if c.want != "" {
					t.Fatal("the fault was not planted")
				}
				rep := watchOrigin(t, v, Config{Duration: time.Minute})
				found := c.want == ""
				for _, f := range rep.Findings {
					found = found || f.Rule == c.want
					if f.Rule != c.want && !slices.Contains(c.with, f.Rule) {
						t.Errorf("also found: %v", f)
					}
				}
				if !found {
					t.Errorf("not found; findings: %v", rep.Findings)
				}
				if rep.Kind != "vod" || rep.Seconds > 20 || c.want == "" && (len(rep.Streams) != 4 || rep.Streams[0].Segments != 6 || rep.Streams[1].Segments != 6) {
					t.Errorf("%s", rep.JSON())
				}
			})
		})
	}
}
