package hlscheck

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"

	"github.com/freshet-live/freshet/media/hls/playlist"
)

// multivariantText is one version of a multivariant playlist.
type multivariantText struct {
	url         string
	version     int
	independent bool
	variables   bool
	variants    []variantText
	renditions  []renditionText
}

// variantText is EXT-X-STREAM-INF or EXT-X-I-FRAME-STREAM-INF.
type variantText struct {
	line               int
	uri                string
	iFrames            bool
	bandwidth, average int
	codecs             []string
	width, height      int
	frameRate          float64
	groups             map[string]string // TYPE to GROUP-ID
	videoRange         string
}

// tag is the name of the tag that the variant is.
func (v *variantText) tag() string {
	if v.iFrames {
		return "EXT-X-I-FRAME-STREAM-INF"
	}
	return "EXT-X-STREAM-INF"
}

// pictures tells whether the variant has video by what it declares.
func (v *variantText) pictures() bool {
	if v.width > 0 || v.iFrames || v.groups["VIDEO"] != "" {
		return true
	}
	for _, c := range v.codecs {
		if isVideoCodec(c) {
			return true
		}
	}
	return false
}

func isVideoCodec(codec string) bool {
	family, _, _ := strings.Cut(strings.ToLower(codec), ".")
	switch family {
	case "avc1", "avc3", "hvc1", "hev1", "av01", "vp08", "vp8", "vp09", "vp9", "dvh1", "dvhe", "dav1", "mjpg", "jpeg":
		return true
	}
	return false
}

// renditionText is EXT-X-MEDIA.
type renditionText struct {
	line                       int
	kind, group, name, lang    string
	uri                        string // "" for none
	channels                   string
	isDefault, autoselect, has bool
}

// isMultivariant tells a multivariant playlist by its tags.
func isMultivariant(b []byte) bool {
	for l := range playlist.Scan(bytes.TrimPrefix(b, byteOrderMark)) {
		switch l.Tag {
		case "#EXT-X-STREAM-INF", "#EXT-X-MEDIA", "#EXT-X-I-FRAME-STREAM-INF":
			return true
		case "#EXTINF", "#EXT-X-TARGETDURATION":
			return false
		}
	}
	return false
}

func parseMultivariant(sink *collector, rawURL string, body []byte) *multivariantText {
	r := &textReader{sink: sink, url: rawURL}
	var err error
	if r.base, err = url.Parse(rawURL); err != nil {
		r.syntax("%v", err)
		return nil
	}
	if !r.legal(body) {
		return nil
	}
	m := &multivariantText{url: rawURL, version: 1}
	var next *variantText
	for l := range playlist.Scan(bytes.TrimPrefix(body, byteOrderMark)) {
		r.line, r.tag = l.Number, l.Tag
		if l.Tag == "" {
			if next == nil {
				r.syntax("URI %q without EXT-X-STREAM-INF", clip(l.Value))
				continue
			}
			next.uri = r.resolve(l.Value)
			m.variants = append(m.variants, *next)
			next = nil
			continue
		}
		if next != nil {
			sink.add(ruleNoVariant, site{rawURL, "EXT-X-STREAM-INF", next.line}, "no URI follows it")
			next = nil
		}
		switch l.Tag {
		case "#EXT-X-VERSION":
			m.version = int(min(r.integer("EXT-X-VERSION", l.Value), 1000))
		case "#EXT-X-INDEPENDENT-SEGMENTS":
			m.independent = true
		case "#EXT-X-DEFINE":
			m.variables = true
		case "#EXT-X-STREAM-INF":
			v := r.variant(l.Value)
			next = &v
		case "#EXT-X-I-FRAME-STREAM-INF":
			v := r.variant(l.Value)
			v.iFrames = true
			m.variants = append(m.variants, v)
		case "#EXT-X-MEDIA":
			m.renditions = append(m.renditions, r.rendition(l.Value))
		case "#EXTINF", "#EXT-X-TARGETDURATION", "#EXT-X-PART", "#EXT-X-MEDIA-SEQUENCE", "#EXT-X-ENDLIST":
			sink.add(ruleKind, r.at(), "it belongs into a media playlist")
		}
	}
	if next != nil {
		sink.add(ruleNoVariant, site{rawURL, "EXT-X-STREAM-INF", next.line}, "no URI follows it")
	}
	return m
}

func (r *textReader) variant(value string) variantText {
	a := r.attributes(value)
	v := variantText{line: r.line, groups: make(map[string]string), videoRange: a["VIDEO-RANGE"]}
	if s, ok := a["URI"]; ok {
		v.uri = r.resolve(s)
	}
	if s, ok := a["BANDWIDTH"]; ok {
		v.bandwidth = int(r.integer("BANDWIDTH", s))
	}
	if s, ok := a["AVERAGE-BANDWIDTH"]; ok {
		v.average = int(r.integer("AVERAGE-BANDWIDTH", s))
	}
	for c := range strings.SplitSeq(a["CODECS"], ",") {
		if c = strings.TrimSpace(c); c != "" {
			v.codecs = append(v.codecs, c)
		}
	}
	if s, ok := a["RESOLUTION"]; ok {
		w, h, _ := strings.Cut(s, "x")
		v.width, v.height = int(min(r.integer("RESOLUTION", w), 1<<20)), int(min(r.integer("RESOLUTION", h), 1<<20))
	}
	if s, ok := a["FRAME-RATE"]; ok {
		if f, err := strconv.ParseFloat(s, 64); err != nil || !(f > 0 && f < 100000) {
			r.syntax("FRAME-RATE: %q is not a rate", clip(s))
		} else {
			v.frameRate = f
		}
	}
	for _, kind := range []string{"AUDIO", "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS"} {
		if g := a[kind]; g != "" && !(kind == "CLOSED-CAPTIONS" && g == "NONE") {
			v.groups[kind] = g
		}
	}
	return v
}

func (r *textReader) rendition(value string) renditionText {
	a := r.attributes(value)
	m := renditionText{
		line: r.line, kind: a["TYPE"], group: a["GROUP-ID"], name: a["NAME"], lang: a["LANGUAGE"], channels: a["CHANNELS"],
		isDefault: r.yes(a, "DEFAULT"), autoselect: r.yes(a, "AUTOSELECT"),
	}
	if s, ok := a["URI"]; ok {
		m.uri, m.has = r.resolve(s), true
	}
	return m
}

// check holds the multivariant playlist against the rules that need no media.
func (m *multivariantText) check(sink *collector) {
	m.checkRenditions(sink)
	regular := 0
	for i := range m.variants {
		v := &m.variants[i]
		if !v.iFrames {
			regular++
		}
		m.checkVariant(sink, v)
	}
	if regular == 0 {
		sink.add(ruleNoVariant, site{m.url, "EXT-X-STREAM-INF", 0}, "there is none")
	}
}

func (m *multivariantText) checkRenditions(sink *collector) {
	type name struct{ kind, group, name string }
	type group struct{ kind, group string }
	names, defaults := make(map[name]bool), make(map[group]bool)
	for _, r := range m.renditions {
		at := site{m.url, "EXT-X-MEDIA", r.line}
		if r.kind == "" || r.group == "" || r.name == "" {
			sink.add(ruleRendition, at, "TYPE, GROUP-ID or NAME is missing")
		}
		if names[name{r.kind, r.group, r.name}] {
			sink.add(ruleRendition, at, "a second %q in group %q", clip(r.name), clip(r.group))
		}
		names[name{r.kind, r.group, r.name}] = true
		if r.isDefault {
			if defaults[group{r.kind, r.group}] {
				sink.add(ruleRendition, at, "a second DEFAULT=YES in group %q", clip(r.group))
			}
			defaults[group{r.kind, r.group}] = true
		}
		switch {
		case r.kind == "SUBTITLES" && r.uri == "":
			sink.add(ruleRendition, at, "subtitles without URI")
		case r.kind == "CLOSED-CAPTIONS" && r.has:
			sink.add(ruleRendition, at, "closed captions with URI")
		case r.kind == "AUDIO" && r.channels == "":
			sink.add(ruleChannels, at, "rendition %q has none", clip(r.name))
		}
		if r.kind != "VIDEO" && r.lang == "" {
			sink.add(ruleAdvice, at, "8.10: LANGUAGE is missing in rendition %q", clip(r.name))
		}
	}
}

func (m *multivariantText) checkVariant(sink *collector, v *variantText) {
	at := site{m.url, v.tag(), v.line}
	if v.iFrames && v.uri == "" {
		sink.add(ruleNoVariant, at, "URI is missing")
	}
	if v.bandwidth <= 0 {
		sink.add(ruleBandwidth, at, "it is missing or 0")
	}
	switch {
	case v.average == 0 && !v.iFrames:
		sink.add(ruleAverageBandwidth, at, "it is missing")
	case v.average > v.bandwidth:
		sink.add(ruleAverageBandwidth, at, "%d, and BANDWIDTH is %d", v.average, v.bandwidth)
	}
	if len(v.codecs) == 0 {
		sink.add(ruleCodecs, at, "it is missing")
	}
	if v.pictures() && v.width == 0 {
		sink.add(ruleResolution, at, "it is missing")
	}
	if v.pictures() && v.frameRate == 0 && !v.iFrames {
		sink.add(ruleFrameRate, at, "it is missing")
	}
	switch v.videoRange {
	case "", "SDR", "HLG", "PQ":
	default:
		sink.add(ruleVideoRange, at, "it is %q", clip(v.videoRange))
	}
	for kind, g := range v.groups {
		found := false
		for _, r := range m.renditions {
			found = found || r.kind == kind && r.group == g
		}
		if !found {
			sink.add(ruleGroup, at, "there is no group %q of TYPE=%s", clip(g), kind)
		}
	}
}

// advise adds what Apple asks of the content as such.
func (m *multivariantText) advise(sink *collector) {
	at := site{m.url, "", 0}
	pictures, iFrames := 0, false
	sizes := make(map[string]bool)
	for i := range m.variants {
		v := &m.variants[i]
		iFrames = iFrames || v.iFrames
		if !v.iFrames && v.pictures() {
			pictures++
			sizes[v.uri] = true
		}
		for _, c := range v.codecs {
			family, _, _ := strings.Cut(strings.ToLower(c), ".")
			switch family {
			case "vp8", "vp08", "vp9", "vp09", "opus":
				sink.add(ruleAdvice, site{m.url + "#" + family, v.tag(), v.line}, "1.1, 2.2: Apple names no %s", family)
			}
		}
	}
	if pictures > 0 && !iFrames {
		sink.add(ruleAdvice, site{m.url + "#i-frames", "EXT-X-I-FRAME-STREAM-INF", 0}, "6.1: there is no I-frame playlist")
	}
	if pictures > 0 && len(sizes) == 1 {
		sink.add(ruleAdvice, site{at.url + "#variants", "EXT-X-STREAM-INF", 0}, "9.9: there is one variant")
	}
}

// covers tells whether the declared codec stands for the one in the media:
// of one family, and where both name a profile of the same one, with a level
// that is not exceeded.
func covers(declared, actual string) bool {
	d, a := strings.Split(strings.ToLower(declared), "."), strings.Split(strings.ToLower(actual), ".")
	switch {
	case d[0] != a[0]:
		return false
	case len(d) == 1 || len(a) == 1:
		return true
	}
	switch d[0] {
	case "avc1", "avc3":
		if len(d[1]) != 6 || len(a[1]) != 6 {
			return false
		}
		return d[1][:2] == a[1][:2] && d[1][4:] >= a[1][4:]
	case "mp4a":
		if d[1] != a[1] {
			return false
		}
		// An AudioSpecificConfig of AAC-LC may carry SBR and PS unnamed.
		lc := func(t []string) bool { return len(t) > 2 && (t[2] == "2" || t[2] == "5" || t[2] == "29") }
		return len(d) < 3 || len(a) < 3 || d[2] == a[2] || lc(d) && lc(a)
	case "hvc1", "hev1":
		if len(d) < 4 || len(a) < 4 || d[1] != a[1] {
			return false
		}
		level := func(s string) int { n, _ := strconv.Atoi(strings.Trim(s, "lh")); return n }
		return level(d[3]) >= level(a[3])
	case "av01", "vp09":
		if len(d) < 3 || len(a) < 3 || d[1] != a[1] {
			return false
		}
		level := func(s string) int { n, _ := strconv.Atoi(strings.Trim(s, "mh")); return n }
		return level(d[2]) >= level(a[2])
	}
	return true
}
