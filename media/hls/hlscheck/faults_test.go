package hlscheck

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media/cmaf"
)

// in changes the text of playlists whose name begins so.
func in(name, old, replacement string) func(*origin) {
	return later(name, 0, old, replacement)
}

// later is in from a time on.
func later(name string, from time.Duration, old, replacement string) func(*origin) {
	re := regexp.MustCompile(old)
	return func(o *origin) {
		o.text = func(n, text string, at time.Duration) string {
			if !strings.HasPrefix(n, name) || at < from {
				return text
			}
			return re.ReplaceAllString(text, replacement)
		}
	}
}

// inMedia changes what is loaded of files whose name matches.
func inMedia(name string, change func([]byte) []byte) func(*origin) {
	re := regexp.MustCompile(name)
	return func(o *origin) {
		o.body = func(n string, b []byte) []byte {
			if re.MatchString(n) {
				return change(bytes.Clone(b))
			}
			return b
		}
	}
}

// handled answers requests whose path and query match.
func handled(pattern string, answer http.HandlerFunc) func(*origin) {
	re := regexp.MustCompile(pattern)
	return func(o *origin) {
		o.handle = func(w http.ResponseWriter, r *http.Request) bool {
			if !re.MatchString(r.URL.RequestURI()) {
				return false
			}
			answer(w, r)
			return true
		}
	}
}

func withHeader(path, name, value string) func(*origin) {
	return func(o *origin) {
		o.header = func(h http.Header, p string) {
			if strings.Contains(p, path) {
				h.Set(name, value)
			}
		}
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// lastPart matches the newest part of a playlist.
const lastPart = `#EXT-X-PART:DURATION=0.2,(URI="part\d+\.\d+\.m4s"[^\n]*)\n#EXT-X-PRELOAD-HINT`

// shift changes a number in what re matches.
func shift(name string, from time.Duration, pattern string, by int) func(*origin) {
	re := regexp.MustCompile(pattern)
	return func(o *origin) {
		o.text = func(n, text string, at time.Duration) string {
			if !strings.HasPrefix(n, name) || at < from {
				return text
			}
			return re.ReplaceAllStringFunc(text, func(s string) string {
				m := re.FindStringSubmatch(s)
				v, _ := strconv.Atoi(m[2])
				return m[1] + strconv.Itoa(v+by)
			})
		}
	}
}

// faults breaks the clean origin in one way each. want is the rule that must
// be found; others may follow from it and are named in with.
var faults = []struct {
	want     string
	what     string
	with     []string
	duration time.Duration
	plant    func(*origin)
}{
	{want: "syntax", what: "attribute without value", with: []string{"first-part", "part-independent-missing"}, plant: in("video0", `INDEPENDENT=YES`, `INDEPENDENT=`)},
	{want: "syntax", what: "byte order mark", plant: in("audio0", `^#EXTM3U`, "\ufeff#EXTM3U")},
	{want: "syntax", what: "a tag twice", plant: in("video0", `(#EXT-X-PART-INF[^\n]*\n)`, "$1$1")},
	{want: "version", what: "a delta update of version 8", with: []string{"version-control", "version-changed"}, plant: func(o *origin) {
		o.text = func(n, text string, _ time.Duration) string {
			if n == "video0" && strings.Contains(text, "EXT-X-SKIP") {
				return strings.Replace(text, "VERSION:9", "VERSION:8", 1)
			}
			return text
		}
	}},
	{want: "version-control", what: "version 6", with: []string{"version"}, plant: in("", `VERSION:9`, `VERSION:6`)},
	{want: "kind", what: "a variant's tag in a media playlist", plant: in("video0", `#EXT-X-PART-INF`, "#EXT-X-SESSION-DATA:DATA-ID=\"a\",VALUE=\"b\"\n#EXT-X-PART-INF")},
	{want: "tag-order", what: "a date behind a part", plant: in("video0", `(#EXT-X-PROGRAM-DATE-TIME:[^\n]*\n)(#EXT-X-PART:[^\n]*\n)`, "$2$1")},
	{want: "target-duration", what: "a segment of three seconds", with: []string{"segment-too-long", "parts-old", "part-sum", "segment-duration", "date-time-drift", "rendition-behind"}, plant: in("video0", `#EXTINF:2,`, `#EXTINF:3,`)},
	{want: "segment-too-long", what: "half a second too long", with: []string{"target-duration", "parts-old", "part-sum", "segment-duration", "date-time-drift", "rendition-behind"}, plant: in("video0", `#EXTINF:2,`, `#EXTINF:2.6,`)},
	{want: "independent-segments", what: "in neither playlist", with: []string{"version-changed"}, plant: in("", `#EXT-X-INDEPENDENT-SEGMENTS\n`, ``)},
	{want: "map", what: "no EXT-X-MAP", plant: in("video0", `#EXT-X-MAP[^\n]*\n`, ``)},
	{want: "date-time", what: "no dates", with: []string{"date-time-differs", "discontinuity-differs"}, plant: in("video0", `#EXT-X-PROGRAM-DATE-TIME[^\n]*\n`, ``)},
	{want: "date-time-drift", what: "dates to the half minute", with: []string{"date-time-media", "segment-changed", "rendition-behind", "date-time-differs"}, plant: in("video0", `(T\d\d:\d\d:)[0-2]\d\.\d+Z`, `${1}00.000Z`)},
	{want: "discontinuity-sequence", what: "missing", with: []string{"discontinuity-count", "discontinuity-differs", "segment-changed"}, duration: 50 * time.Second, plant: in("", `#EXT-X-DISCONTINUITY-SEQUENCE[^\n]*\n`, ``)},
	{want: "segment-count", what: "five", plant: func(o *origin) { o.listed = 5 }},
	{want: "window", what: "two", with: []string{"segment-count", "parts-missing"}, plant: func(o *origin) { o.listed = 2 }},
	{want: "playlist-type", what: "an EVENT that forgets", with: []string{"playlist-type-differs"}, plant: in("video0", `#EXT-X-PART-INF`, "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-PART-INF")},
	{want: "skip-date-ranges", what: "date ranges cannot be skipped", plant: in("video0", `#EXT-X-PART-INF`, "#EXT-X-DATERANGE:ID=\"a\",START-DATE=\"2000-01-01T00:00:00Z\"\n#EXT-X-PART-INF")},
	{want: "hint-stale", what: "names what is listed", with: []string{"hint-broken"}, plant: in("video0", `(part\d+\.\d+\.m4s)("[^\n]*\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=")[^"]*`, "$1$2$1")},
	{want: "parts-old", what: "parts of all segments", plant: func(o *origin) { o.keep = listedOf }},
	{want: "part-removed", what: "the first part of a segment", with: []string{"part-sum", "part-changed", "first-part", "delta-differs", "parts-differ"}, plant: later("video0", 8*time.Second,
		`(#EXT-X-PROGRAM-DATE-TIME[^\n]*\n)#EXT-X-PART:[^\n]*\n((?:#EXT-X-PART[^\n]*\n){9}#EXTINF)`, "$1$2")},
	{want: "part-added", what: "one more behind the last", with: []string{"part-sum", "part-removed", "part-too-short", "delta-differs", "block-part-beyond", "mp4-malformed", "media-unavailable", "parts-old", "first-part", "part-changed", "parts-differ"}, plant: later("video0", 8*time.Second,
		`(#EXTINF:2,\nseg(\d+)\.m4s)`, "#EXT-X-PART:DURATION=0.2,URI=\"part$2.3.m4s?again\"\n$1")},
	{want: "delta-offered", what: "not, of two minutes", plant: func(o *origin) {
		in("", `,CAN-SKIP-UNTIL=12`, "")(o)
		o.listed = 70
	}},
	{want: "control-differs", what: "audio is held back longer", plant: in("audio0", `HOLD-BACK=6,`, "HOLD-BACK=7,")},
	{want: "block-slow", what: "full playlists take their time", with: []string{"part-late", "report-untrue"}, plant: func(o *origin) {
		o.handle = func(_ http.ResponseWriter, r *http.Request) bool {
			if q := r.URL.Query(); r.URL.Path == "/video0/index.m3u8" && q.Has("_HLS_msn") && q.Has("_HLS_part") && !q.Has("_HLS_skip") {
				sleep(r.Context(), 3*time.Second)
			}
			return false
		}
	}},
	{want: "block-msn-alone", what: "does not wait", with: []string{"block-too-far"}, plant: func(o *origin) {
		handled(`^/video0/index.m3u8\?_HLS_msn=\d+$`, func(w http.ResponseWriter, r *http.Request) {
			o.playlist(w, r, o.media("video0", time.Now(), ""), "max-age=1")
		})(o)
	}},
	{want: "block-part-beyond", what: "is refused", plant: handled(`_HLS_part=10`, status(http.StatusBadRequest))},
	{want: "block-ended", what: "waits at the end", plant: func(o *origin) {
		o.end = o.epoch.Add(1805 * segmentLength)
		o.handle = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.RawQuery, "_HLS_msn=1904") || time.Now().Before(o.end) {
				return false
			}
			w.WriteHeader(http.StatusNotFound)
			return true
		}
	}},
	{want: "delta-unasked", what: "where the full one is due", plant: func(o *origin) {
		handled(`^/video0/index.m3u8$`, func(w http.ResponseWriter, r *http.Request) {
			o.playlist(w, r, o.media("video0", time.Now(), "YES"), "max-age=1")
		})(o)
	}},
	{want: "config-change", what: "another size", with: []string{"discontinuity-count", "discontinuity-differs", "resolution-untrue", "delta-differs", "segment-changed"}, plant: func(o *origin) {
		in("video0", `#EXT-X-DISCONTINUITY\n`, "")(o)
		inMedia(`^video0/init90`, func(b []byte) []byte { return bytes.ReplaceAll(b, []byte{5, 0, 2, 0xd0}, []byte{4, 0, 2, 0xd0}) })(o)
	}},
	{want: "part-inf", what: "missing", with: []string{"hint-missing", "part-late", "delta-missing"}, plant: in("video0", `#EXT-X-PART-INF[^\n]*\n`, ``)},
	{want: "server-control", what: "no PART-HOLD-BACK", with: []string{"control-differs"}, plant: in("video0", `PART-HOLD-BACK=0.6,`, ``)},
	{want: "block-reload", what: "not offered", with: []string{"control-differs", "playlist-unchanged", "part-late"}, plant: in("video0", `CAN-BLOCK-RELOAD=YES,`, ``)},
	{want: "part-hold-back", what: "2.5 parts", plant: in("", `PART-HOLD-BACK=0.6`, `PART-HOLD-BACK=0.5`)},
	{want: "hold-back", what: "2.5 target durations", plant: in("", `HOLD-BACK=6,`, `HOLD-BACK=5,`)},
	{want: "skip-boundary", what: "5 target durations", plant: in("", `CAN-SKIP-UNTIL=12`, `CAN-SKIP-UNTIL=10`)},
	{want: "part-too-long", what: "one and a half times the target", with: []string{"part-sum", "part-duration", "part-changed"}, plant: in("video0", lastPart, "#EXT-X-PART:DURATION=0.3,$1\n#EXT-X-PRELOAD-HINT")},
	{want: "part-too-short", what: "half the target", with: []string{"part-sum", "part-duration", "part-changed"}, plant: in("video0", `#EXT-X-PART:DURATION=0.2,(URI="part\d+\.3\.m4s")`, "#EXT-X-PART:DURATION=0.1,$1")},
	{want: "part-sum", what: "one part left out", with: []string{"hint-broken", "parts-differ", "part-duration", "part-changed", "block-early", "part-removed", "decode-time"}, plant: in("video0", `#EXT-X-PART:DURATION=0.2,URI="part\d+\.7\.m4s"[^\n]*\n(#EXT-X-PART)`, "$1")},
	{want: "parts-missing", what: "one segment without its parts", with: []string{"part-removed"}, plant: in("video0", `(?:#EXT-X-PART:DURATION=0.2,URI="part\d+\.\d+\.m4s"[^\n]*\n){10}`, "")},
	{want: "first-part", what: "not INDEPENDENT", with: []string{"part-independent-missing"}, plant: in("video0", `(part\d+\.0\.m4s"),INDEPENDENT=YES`, "$1")},
	{want: "gap-independent", what: "a part that is both", plant: in("video0", `(part\d+\.5\.m4s"),INDEPENDENT=YES`, "$1,INDEPENDENT=YES,GAP=YES")},
	{want: "hint-missing", what: "no hint", plant: in("video0", `#EXT-X-PRELOAD-HINT[^\n]*\n`, "")},
	{want: "hint-twice", what: "two hints", plant: in("video0", `(#EXT-X-PRELOAD-HINT[^\n]*\n)`, "$1$1")},
	{want: "hint-broken", what: "another part comes", with: []string{"hint-unavailable"}, plant: in("video0", `(#EXT-X-PRELOAD-HINT:TYPE=PART,URI=")part(\d+)\.(\d)`, "${1}part$2.1$3")},
	{want: "report-missing", what: "of the audio", plant: in("video0", `#EXT-X-RENDITION-REPORT:URI="../audio0[^\n]*\n`, "")},
	{want: "report-untrue", what: "behind", plant: shift("video0", 0, `(#EXT-X-RENDITION-REPORT:[^\n]*LAST-MSN=)(\d+)`, -2)},
	{want: "report-untrue", what: "ahead", plant: shift("video0", 0, `(#EXT-X-RENDITION-REPORT:[^\n]*LAST-MSN=)(\d+)`, 4)},
	{want: "report-uri", what: "unknown rendition", with: []string{"report-missing"}, plant: in("video0", `URI="../audio0/`, `URI="../sound/`)},
	{want: "target-changed", what: "2 becomes 3", with: []string{"target-differs", "hold-back", "skip-boundary", "window", "parts-missing", "delta-missing"}, plant: later("video0", 8*time.Second, `TARGETDURATION:2`, `TARGETDURATION:3`)},
	{want: "part-target-changed", what: "0.2 becomes 0.205", with: []string{"part-hold-back"}, plant: later("video0", 8*time.Second, `PART-TARGET=0.2\n`, "PART-TARGET=0.205\n")},
	{want: "control-changed", what: "PART-HOLD-BACK grows", with: []string{"control-differs"}, plant: later("video0", 8*time.Second, `PART-HOLD-BACK=0.6`, `PART-HOLD-BACK=0.7`)},
	{want: "version-changed", what: "9 becomes 10", plant: later("video0", 8*time.Second, `VERSION:9`, `VERSION:10`)},
	{want: "sequence-back", what: "numbers start again", with: []string{"sequence-skip", "delta-differs", "block-early", "report-untrue", "segment-removed", "playlist-unchanged", "part-late", "decode-time", "segment-changed", "discontinuity-count", "hint-broken", "discontinuity-differs", "media-unavailable"}, plant: shift("video0", 8*time.Second, `(#EXT-X-MEDIA-SEQUENCE:)(\d+)`, -1000)},
	{want: "sequence-skip", what: "counts one too many", with: []string{"delta-differs", "segment-changed", "report-untrue", "window", "discontinuity-count", "discontinuity-differs", "decode-time", "date-time-drift", "uri-twice", "part-changed", "hint-broken", "segment-duration", "parts-differ", "part-late", "playlist-unchanged", "part-removed"}, plant: shift("video0", 8*time.Second, `(#EXT-X-MEDIA-SEQUENCE:)(\d+)`, 1)},
	{want: "discontinuity-count", what: "grows by itself", with: []string{"delta-differs", "discontinuity-differs"}, plant: shift("video0", 8*time.Second, `(#EXT-X-DISCONTINUITY-SEQUENCE:)(\d+)`, 1)},
	{want: "segment-changed", what: "EXTINF", with: []string{"part-sum", "delta-differs", "target-duration", "date-time-drift", "segment-duration"}, plant: later("video0", 8*time.Second, `#EXTINF:2,`, `#EXTINF:1.99,`)},
	{want: "segment-changed", what: "URI", with: []string{"media-unavailable", "delta-differs"}, plant: later("video0", 8*time.Second, `(seg\d+\.m4s)`, `$1?x`)},
	{want: "segment-removed", what: "from the middle", with: []string{"segment-changed", "delta-differs", "block-early", "sequence-skip", "report-untrue", "part-removed", "rendition-behind", "part-changed", "date-time-drift", "decode-time", "discontinuity-count", "delta-too-much", "discontinuity-differs", "part-added", "playlist-unchanged", "hint-broken", "segment-duration", "part-late"}, plant: func(o *origin) {
		re := regexp.MustCompile(`(?s)(#EXT-X-PROGRAM-DATE-TIME[^#]*\n){1}(?:#EXT-X-PART:[^\n]*\n)+#EXTINF:2,\nseg\d+\.m4s\n(#EXT-X-PROGRAM-DATE-TIME[^#]*\n(?:#EXT-X-PART:[^\n]*\n)*#EXT-X-PRELOAD)`)
		o.text = func(n, text string, at time.Duration) string {
			if n != "video0" || at < 8*time.Second {
				return text
			}
			return re.ReplaceAllString(text, "$2")
		}
	}},
	{want: "part-changed", what: "a flag comes later", with: []string{"part-independent", "delta-differs"}, plant: func(o *origin) {
		re := regexp.MustCompile(`(part\d+\.3\.m4s")\n(#EXT-X-PART:DURATION=0.2,URI="part\d+\.4)`)
		o.text = func(n, text string, _ time.Duration) string {
			if n == "video0" {
				return re.ReplaceAllString(text, "$1,INDEPENDENT=YES\n$2")
			}
			return text
		}
	}},
	{want: "part-late", what: "a part takes two seconds", duration: 30 * time.Second, with: []string{"block-stuck", "report-untrue", "report-missing", "block-early"}, plant: func(o *origin) {
		o.hold = func(msn uint64, part int) time.Duration {
			if msn%4 == 0 && part == 4 {
				return 1900 * time.Millisecond
			}
			return 0
		}
	}},
	{want: "playlist-unchanged", what: "the stream stands still", duration: 30 * time.Second, with: []string{"block-stuck", "rendition-behind", "report-untrue", "block-part-beyond", "block-msn-alone", "part-late"}, plant: func(o *origin) {
		stop := o.began.Add(8 * time.Second)
		o.hold = func(msn uint64, part int) time.Duration {
			if o.due(msn*partsOf + uint64(part)).After(stop) {
				return time.Hour
			}
			return 0
		}
	}},
	{want: "end-undone", what: "the stream goes on", plant: later("video0", 8*time.Second, `(?s)#EXT-X-PRELOAD-HINT.*$`, "#EXT-X-ENDLIST\n"), with: []string{"hint-missing", "rendition-behind", "report-missing", "report-untrue", "playlist-type-differs", "block-ended"}},
	{want: "block-early", what: "blocking requests do not block", with: []string{"block-msn-alone", "block-part-beyond"}, plant: func(o *origin) { o.noBlock = true }},
	{want: "block-stuck", what: "no answer at all", duration: 40 * time.Second, with: []string{"playlist-unchanged", "block-msn-alone", "block-part-beyond", "block-too-far", "rendition-behind", "report-untrue", "part-late"},
		plant: handled(`^/video0/index.m3u8\?_HLS_msn`, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })},
	{want: "block-too-far", what: "waits for what is far", with: nil, plant: func(o *origin) { o.allows = true }},
	{want: "block-part-alone", what: "is answered", plant: func(o *origin) { o.alone = true }},
	{want: "delta-missing", what: "_HLS_skip is ignored", with: nil, plant: func(o *origin) { o.noSkip = true }},
	{want: "delta-too-much", what: "a segment too many", plant: func(o *origin) { o.oneFewer = true }},
	{want: "delta-differs", what: "full playlists have other dates", with: []string{"segment-changed", "date-time-differs", "date-time-media", "date-time-drift"}, plant: func(o *origin) {
		o.text = func(n, text string, _ time.Duration) string {
			if n == "video0" && !strings.Contains(text, "EXT-X-SKIP") {
				return regexp.MustCompile(`(DATE-TIME:[^\n]*\.)\d+Z`).ReplaceAllString(text, "${1}001Z")
			}
			return text
		}
	}},
	{want: "no-variant", what: "only the group", with: []string{"report-uri"}, plant: in("multivariant", `#EXT-X-STREAM-INF[^\n]*\n[^\n]*\n`, "")},
	{want: "average-bandwidth", what: "missing", plant: in("multivariant", `AVERAGE-BANDWIDTH=\d+,`, "")},
	{want: "codecs", what: "missing", plant: in("multivariant", `CODECS="[^"]*",`, "")},
	{want: "resolution", what: "missing", plant: in("multivariant", `RESOLUTION=\d+x\d+,`, "")},
	{want: "frame-rate", what: "missing", plant: in("multivariant", `FRAME-RATE=20.000,`, "")},
	{want: "rendition-group", what: "no such group", plant: in("multivariant", `AUDIO="audio"`, `AUDIO="sound"`)},
	{want: "rendition", what: "no NAME", plant: in("multivariant", `NAME="main",`, "")},
	{want: "channels", what: "missing", plant: in("multivariant", `CHANNELS="2",`, "")},
	{want: "target-differs", what: "audio has another", with: []string{"hold-back", "skip-boundary", "window", "parts-missing", "delta-missing", "segment-count"}, plant: in("audio0", `TARGETDURATION:2`, `TARGETDURATION:3`)},
	{want: "discontinuity-differs", what: "audio counts otherwise", plant: shift("audio0", 0, `(#EXT-X-DISCONTINUITY-SEQUENCE:)(\d+)`, 1)},
	{want: "date-time-differs", what: "audio is half a second late", plant: func(o *origin) {
		re := regexp.MustCompile(`DATE-TIME:([^\n]*)`)
		o.text = func(n, text string, _ time.Duration) string {
			if n != "audio0" {
				return text
			}
			return re.ReplaceAllStringFunc(text, func(s string) string {
				at, _ := time.Parse(time.RFC3339Nano, strings.TrimPrefix(s, "DATE-TIME:"))
				return "DATE-TIME:" + at.Add(500*time.Millisecond).Format("2006-01-02T15:04:05.000Z")
			})
		}
	}},
	{want: "codecs-untrue", what: "another profile", plant: in("multivariant", `avc1.64001f`, "avc1.42001f")},
	{want: "codecs-untrue", what: "audio is not named", plant: in("multivariant", `,mp4a.40.2`, "")},
	{want: "resolution-untrue", what: "another size", plant: in("multivariant", `1280x720`, "640x360")},
	{want: "frame-rate-untrue", what: "half of it", plant: in("multivariant", `FRAME-RATE=20.000`, "FRAME-RATE=10.000")},
	{want: "bandwidth-untrue", what: "half of it", plant: in("multivariant", `BANDWIDTH=26000`, "BANDWIDTH=10000"), with: []string{"average-bandwidth"}},
	{want: "average-bandwidth-untrue", what: "half of it", duration: 70 * time.Second, plant: in("multivariant", `AVERAGE-BANDWIDTH=250000`, "AVERAGE-BANDWIDTH=100000")},
	{want: "playlist-unavailable", what: "audio is missing", with: []string{"report-untrue"}, plant: handled(`^/audio0/index`, status(404))},
	{want: "media-unavailable", what: "segments are missing", with: []string{"segment-gone"}, plant: handled(`^/video0/seg`, status(404))},
	{want: "hint-unavailable", what: "hinted parts are refused", plant: func(o *origin) {
		o.handle = func(w http.ResponseWriter, r *http.Request) bool {
			var msn, part uint64
			if !scan(strings.TrimPrefix(r.URL.Path, "/video0/"), "part%d.%d.m4s", &msn, &part) || !time.Now().Before(o.due(msn*partsOf+part)) {
				return false
			}
			w.WriteHeader(http.StatusNotFound)
			return true
		}
	}},
	{want: "hint-trickled", what: "bytes come as they are made", plant: func(o *origin) {
		o.handle = func(w http.ResponseWriter, r *http.Request) bool {
			var msn, part uint64
			if !scan(strings.TrimPrefix(r.URL.Path, "/video0/"), "part%d.%d.m4s", &msn, &part) || !time.Now().Before(o.due(msn*partsOf+part)) {
				return false
			}
			body := o.part("video0", msn, int(part))
			w.Header().Set("Content-Type", "video/mp4")
			w.Header().Set("Access-Control-Allow-Origin", "*")
			_, _ = w.Write(body[:100])
			_ = http.NewResponseController(w).Flush()
			sleep(r.Context(), time.Until(o.due(msn*partsOf+part)))
			_, _ = w.Write(body[100:])
			return true
		}
	}},
	{want: "part-gone", what: "parts go with their tags", duration: 30 * time.Second, plant: func(o *origin) {
		o.handle = func(w http.ResponseWriter, r *http.Request) bool {
			var msn, part uint64
			if !scan(strings.TrimPrefix(r.URL.Path, "/video0/"), "part%d.%d.m4s", &msn, &part) || time.Since(o.due(msn*partsOf+part)) < 12*time.Second {
				return false
			}
			w.WriteHeader(http.StatusNotFound)
			return true
		}
	}},
	{want: "segment-gone", what: "segments go with their tags", plant: func(o *origin) {
		o.handle = func(w http.ResponseWriter, r *http.Request) bool {
			var msn uint64
			if !scan(strings.TrimPrefix(r.URL.Path, "/video0/"), "seg%d.m4s", &msn) || o.complete(time.Now())/partsOf-msn <= listedOf {
				return false
			}
			w.WriteHeader(http.StatusNotFound)
			return true
		}
	}},
	{want: "gzip", what: "never", plant: func(o *origin) { o.noGzip = true }},
	{want: "playlist-content-type", what: "text/plain", plant: withHeader(".m3u8", "Content-Type", "text/plain")},
	{want: "media-content-type", what: "octets", plant: withHeader("seg", "Content-Type", "application/octet-stream")},
	{want: "redirect", what: "of segments", plant: func(o *origin) {
		o.handle = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "seg") || r.URL.RawQuery != "" {
				return false
			}
			http.Redirect(w, r, r.URL.Path+"?here", http.StatusFound)
			return true
		}
	}},
	{want: "cors", what: "for another page only", plant: withHeader("video0", "Access-Control-Allow-Origin", "https://elsewhere.example")},
	{want: "playlist-cache", what: "for an hour", plant: withHeader("index.m3u8", "Cache-Control", "max-age=3600")},
	{want: "media-cache", what: "never", plant: withHeader("seg", "Cache-Control", "no-store")},
	{want: "etag", what: "another every time", plant: func(o *origin) {
		var n atomic.Uint32
		o.header = func(h http.Header, path string) {
			if strings.Contains(path, "audio0/init") {
				h.Set("ETag", fmt.Sprintf(`"%d"`, n.Add(1)))
			}
		}
	}},
	{want: "media-changed", what: "other bytes every time", with: []string{"mp4-malformed", "parts-differ", "range"}, plant: func(o *origin) {
		var n atomic.Uint32
		o.body = func(name string, b []byte) []byte {
			if !strings.HasPrefix(name, "audio0/seg") {
				return b
			}
			b = bytes.Clone(b)
			b[len(b)-1] = byte(n.Add(1))
			return b
		}
	}},
	{want: "range", what: "other bytes than asked for", plant: func(o *origin) {
		o.handle = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") == "" {
				return false
			}
			w.Header().Set("Content-Type", "video/mp4")
			w.Header().Set("Content-Range", "bytes 0-9/100")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(make([]byte, 10))
			return true
		}
	}},
	{want: "mp4-malformed", what: "a segment cut short", with: []string{"parts-differ"}, plant: inMedia(`^video0/seg`, func(b []byte) []byte { return b[:len(b)-10] })},
	{want: "init-segment", what: "no moov", plant: inMedia(`^video0/init`, func(b []byte) []byte { return bytes.Replace(b, []byte("moov"), []byte("free"), 1) })},
	{want: "segment-start", what: "no key frame", with: []string{"part-independent"}, plant: func(o *origin) {
		o.chunk = func(name string, _ uint64, part int, c *cmaf.Chunk) {
			if name == "video0" && part == 0 {
				c.Samples[0].Sync = false
			}
		}
	}},
	{want: "segment-duration", what: "a frame longer every segment", with: []string{"decode-time", "part-duration", "date-time-media", "frame-rate-untrue", "date-time-differs"}, plant: func(o *origin) {
		o.chunk = func(name string, msn uint64, part int, c *cmaf.Chunk) {
			if name == "video0" {
				// The media's clock is 10 % slow.
				c.DecodeTime -= uint64(float64(msn%10000*partsOf+uint64(part)) * 1800)
				for i := range c.Samples {
					c.Samples[i].Duration = 4050
				}
			}
		}
	}},
	{want: "part-duration", what: "parts are uneven", plant: func(o *origin) {
		o.chunk = func(name string, _ uint64, part int, c *cmaf.Chunk) {
			if name != "video0" {
				return
			}
			for i := range c.Samples {
				if c.Samples[i].Duration = 6000; part >= 5 {
					c.Samples[i].Duration = 3000
				}
			}
			if part < 5 {
				c.DecodeTime += uint64(part) * 6000
			} else {
				c.DecodeTime += uint64(10-part) * 6000
			}
		}
	}},
	{want: "part-independent", what: "flags without key frames", plant: in("video0", `(part\d+\.3\.m4s")`, "$1,INDEPENDENT=YES")},
	{want: "part-independent-missing", what: "key frames without flags", plant: in("video0", `(part\d+\.5\.m4s"),INDEPENDENT=YES`, "$1")},
	{want: "parts-differ", what: "other bytes", plant: inMedia(`^video0/part\d+\.4`, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })},
	{want: "decode-time", what: "a step back", plant: func(o *origin) {
		o.chunk = func(name string, msn uint64, _ int, c *cmaf.Chunk) {
			if name == "audio0" && msn%2 == 0 {
				c.DecodeTime -= 960 * 2
			}
		}
	}, with: []string{"segment-duration"}},
	{want: "date-time-media", what: "the media runs away", with: []string{"decode-time", "segment-duration", "date-time-differs"}, plant: func(o *origin) {
		o.chunk = func(name string, msn uint64, _ int, c *cmaf.Chunk) {
			if name == "audio0" {
				c.DecodeTime += msn % 1000 * 9600
			}
		}
	}},
}

// TestFaults plants one fault each in a stream that is clean without it, and
// wants its rule found, and nothing that does not follow from it.
func TestFaults(t *testing.T) {
	planted := make(map[string]bool)
	for _, c := range faults {
		planted[c.want] = true
		t.Run(c.want+"/"+c.what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := newOrigin()
				c.plant(o)
				if c.duration == 0 {
					c.duration = 14 * time.Second
				}
				rep := watchOrigin(t, o, Config{Duration: c.duration})
				found := false
				for _, f := range rep.Findings {
					found = found || f.Rule == c.want
					if f.Rule != c.want && !slices.Contains(c.with, f.Rule) {
						t.Errorf("also found: %v", f)
					}
				}
				if !found {
					t.Errorf("not found; findings: %v", rep.Findings)
				}
			})
		})
	}
	if len(planted) < 85 {
		t.Errorf("%d rules have a planted fault", len(planted))
	}
}
