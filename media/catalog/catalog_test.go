package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media"
)

func vector(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const alice = "conference.example.com/conference123/alice"

var generated = time.UnixMilli(1746104606044)

func singleQuality() Catalog {
	return Catalog{GeneratedAt: generated, Tracks: []Track{
		{
			Name: "1080p-video", Namespace: alice, Packaging: LOC, Live: true, Role: "video",
			TargetLatency: 2 * time.Second, RenderGroup: new(1),
			Format: media.Format{Codec: media.AV1, MIME: "av01.0.08M.10.0.110.09", Width: 1920, Height: 1080, FrameRate: 30, Bitrate: 1500000},
		},
		{
			Name: "audio", Namespace: alice, Packaging: LOC, Live: true, Role: "audio",
			TargetLatency: 2 * time.Second, RenderGroup: new(1),
			Format: media.Format{Codec: media.Opus, MIME: "opus", SampleRate: 48000, Channels: 2, Bitrate: 32000},
		},
	}}
}

// TestMSFVectors reads the drafts' examples.
func TestMSFVectors(t *testing.T) {
	simulcast := func(name string, w, h, bps int) Track {
		return Track{
			Name: name, Packaging: LOC, Live: true, Role: "video", TargetLatency: 1500 * time.Millisecond,
			RenderGroup: new(1), AltGroup: new(1),
			Format: media.Format{Codec: media.AV1, MIME: "av01", Width: w, Height: h, FrameRate: 30, Bitrate: bps},
		}
	}
	encrypted := singleQuality()
	encrypted.Tracks = encrypted.Tracks[:1]
	encrypted.Tracks[0].Encryption = "moq-secure-objects"
	for name, want := range map[string]Catalog{
		"msf01-single.json": singleQuality(),
		"msf00-single.json": singleQuality(),
		"msf01-simulcast.json": {GeneratedAt: generated, Tracks: []Track{
			simulcast("hd", 1920, 1080, 5000000), simulcast("md", 720, 640, 3000000), simulcast("sd", 192, 144, 500000),
			{
				Name: "audio", Packaging: LOC, Live: true, Role: "audio", TargetLatency: 1500 * time.Millisecond, RenderGroup: new(1),
				Format: media.Format{Codec: media.Opus, MIME: "opus", SampleRate: 48000, Channels: 2, Bitrate: 32000},
			},
		}},
		"msf01-terminated.json": {GeneratedAt: generated, Complete: true},
		"msf01-encrypted.json":  encrypted,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseMSF(vector(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got\n%s\nwant\n%s", show(got), show(want))
			}
		})
	}
}

func show(v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// TestMSFDelta applies the drafts' delta updates to a catalog that has the
// tracks which they speak of.
func TestMSFDelta(t *testing.T) {
	base := func(t *testing.T, namespace string) *Reader {
		r := new(Reader)
		root := fmt.Sprintf(`{"version":"draft-01","tracks":[
			{"name":"video-1080"%s,"packaging":"loc","isLive":true,"role":"video","codec":"avc1.640028","width":1920,"height":1080,"bitrate":6000000,"initRef":"a"},
			{"name":"video","packaging":"loc","isLive":true,"codec":"vp8"}],
			"initDataList":[{"id":"a","type":"inline","data":"AWQAKA=="}]}`, namespace)
		if _, err := r.Independent([]byte(root)); err != nil {
			t.Fatal(err)
		}
		return r
	}
	for name, namespace := range map[string]string{
		"msf01-delta-add.json": `,"namespace":"example.com/custom"`,
		"msf00-delta-add.json": "",
	} {
		t.Run(name, func(t *testing.T) {
			r := base(t, namespace)
			c, err := r.Delta(vector(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if !c.GeneratedAt.Equal(generated) {
				t.Errorf("generated at %v", c.GeneratedAt)
			}
			if n := len(c.Tracks); n != 4 {
				t.Fatalf("%d tracks, want 4", n)
			}
			clone, ok := c.Track("video-720")
			if !ok {
				t.Fatal("no clone")
			}
			// "The cloned track inherits all attributes from the parent except the Track Name which MUST be new."
			want := media.Format{
				Codec: media.H264, MIME: "avc1.640028", Width: 1280, Height: 720, Bitrate: 600000,
				Description: []byte{1, 0x64, 0, 0x28},
			}
			if !reflect.DeepEqual(clone.Format, want) {
				t.Errorf("clone %+v, want %+v", clone.Format, want)
			}
			parent, _ := c.Track("video-1080")
			if name == "msf01-delta-add.json" && parent.Format.Bitrate != 4000000 {
				t.Errorf("updated bitrate %d", parent.Format.Bitrate)
			}
			if parent.Format.Width != 1920 {
				t.Error("the clone changed its parent")
			}
			slides, ok := c.Track("slides")
			if !ok || slides.Format.Width != 1920 || slides.Format.FrameRate != 15 {
				t.Errorf("slides %+v", slides)
			}

			// The next update is about what this one made.
			c, err = r.Delta(vector(t, "msf01-delta-remove.json"))
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := c.Track("slides"); ok || len(c.Tracks) != 2 {
				t.Errorf("after removal: %s", show(c))
			}
		})
	}

	for name, update := range map[string]string{
		"unknown operation": `{"deltaUpdate":[{"op":"rename","tracks":[{"name":"video"}]}]}`,
		"remove unknown":    `{"deltaUpdate":[{"op":"remove","tracks":[{"name":"x"}]}]}`,
		"clone unknown":     `{"deltaUpdate":[{"op":"clone","tracks":[{"parentName":"x","name":"y"}]}]}`,
		"update unknown":    `{"deltaUpdate":[{"op":"update","tracks":[{"name":"x"}]}]}`,
		"add twice":         `{"deltaUpdate":[{"op":"add","tracks":[{"name":"video"}]}]}`,
		"clone same name":   `{"deltaUpdate":[{"op":"clone","tracks":[{"parentName":"video","name":"video"}]}]}`,
		"no array":          `{"deltaUpdate":7}`,
		"no object":         `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			r := base(t, "")
			if c, err := r.Delta([]byte(update)); !errors.Is(err, ErrMalformed) {
				t.Fatalf("Delta = %s, %v", show(c), err)
			}
			// Nothing has changed.
			c, err := r.Delta([]byte(`{"deltaUpdate":[]}`))
			if err != nil || len(c.Tracks) != 2 {
				t.Errorf("afterwards: %s, %v", show(c), err)
			}
		})
	}
	if _, err := new(Reader).Delta([]byte(`{"deltaUpdate":[]}`)); !errors.Is(err, ErrMalformed) {
		t.Errorf("Delta without catalog: %v", err)
	}
	// "As soon as an independent update is produced, it MUST be placed at the start of a new Group";
	// one elsewhere is not refused.
	if c, err := new(Reader).Delta(vector(t, "msf01-single.json")); err != nil || len(c.Tracks) != 2 {
		t.Errorf("independent catalog as update: %s, %v", show(c), err)
	}
}

// published is a catalog as freshet writes it.
func published() Catalog {
	return Catalog{GeneratedAt: generated, Tracks: []Track{
		{
			Name: "video0", Packaging: LOC, Live: true, Role: "video", RenderGroup: new(1), AltGroup: new(1),
			Format: media.Format{
				Codec: media.H264, MIME: "avc1.64001f", Description: []byte{1, 0x64, 0, 0x1f, 0xff},
				Width: 1280, Height: 720, FrameRate: 29.97, Bitrate: 3000000,
			},
		},
		{
			Name: "audio0", Packaging: LOC, Live: true, Role: "audio", RenderGroup: new(1),
			Format: media.Format{Codec: media.AAC, MIME: "mp4a.40.2", Description: []byte{0x11, 0x90}, SampleRate: 48000, Channels: 2, Bitrate: 128000},
		},
	}}
}

func TestMarshalMSF(t *testing.T) {
	c := published()
	got, err := c.MarshalMSF()
	if err != nil {
		t.Fatal(err)
	}
	// "The Initialization Data List, if present, MUST be located after the tracks array"
	want := `{"version":"draft-01","generatedAt":1746104606044,"tracks":[` +
		`{"name":"video0","packaging":"loc","isLive":true,"role":"video","renderGroup":1,"altGroup":1,"initRef":"init0",` +
		`"codec":"avc1.64001f","framerate":29.97,"bitrate":3000000,"width":1280,"height":720},` +
		`{"name":"audio0","packaging":"loc","isLive":true,"role":"audio","renderGroup":1,"initRef":"init1",` +
		`"codec":"mp4a.40.2","bitrate":128000,"samplerate":48000,"channelConfig":"2"}],` +
		`"initDataList":[{"id":"init0","type":"inline","data":"AWQAH/8="},{"id":"init1","type":"inline","data":"EZA="}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	back, err := ParseMSF(got)
	if err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("parsed back: %s, %v", show(back), err)
	}

	end := Catalog{GeneratedAt: generated, Complete: true}
	got, err = end.MarshalMSF()
	if err != nil {
		t.Fatal(err)
	}
	if equal, err := sameJSON(got, vector(t, "msf01-terminated.json")); err != nil || !equal {
		t.Errorf("end of broadcast: %s, %v", got, err)
	}
	if _, err := (&Catalog{Tracks: []Track{{Name: "a"}, {Name: "a"}}}).MarshalMSF(); !errors.Is(err, ErrMalformed) {
		t.Errorf("names that are not unique: %v", err)
	}
}

func sameJSON(a, b []byte) (bool, error) {
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		return false, err
	}
	return reflect.DeepEqual(x, y), nil
}

func TestHang(t *testing.T) {
	c := published()
	got, err := c.MarshalHang()
	if err != nil {
		t.Fatal(err)
	}
	// "A publisher SHOULD emit lowercase hexadecimal characters and MUST NOT emit a `0x` prefix"
	want := `{"video":{"renditions":{"video0":{"codec":"avc1.64001f","container":{"kind":"loc"},"description":"0164001fff",` +
		`"codedWidth":1280,"codedHeight":720,"framerate":29.97,"bitrate":3000000}},"display":{"width":1280,"height":720}},` +
		`"audio":{"renditions":{"audio0":{"codec":"mp4a.40.2","container":{"kind":"loc"},"description":"1190",` +
		`"sampleRate":48000,"numberOfChannels":2,"bitrate":128000}}}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	back, err := ParseHang(got)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Tracks {
		if !reflect.DeepEqual(back.Tracks[i].Format, c.Tracks[i].Format) || back.Tracks[i].Packaging != LOC {
			t.Errorf("parsed back: %+v", back.Tracks[i])
		}
	}

	video, err := ParseHang(vector(t, "hang-video.json"))
	if err != nil {
		t.Fatal(err)
	}
	wantVideo := Catalog{Tracks: []Track{
		{
			Name: "480p", Packaging: Legacy, Role: "video", Live: true, AltGroup: new(1),
			Format: media.Format{Codec: media.H264, MIME: "avc1.64001e", Width: 848, Height: 480, FrameRate: 30, Bitrate: 2000000},
		},
		{
			Name: "720p", Packaging: Legacy, Role: "video", Live: true, AltGroup: new(1),
			Format: media.Format{Codec: media.H264, MIME: "avc1.64001f", Width: 1280, Height: 720, FrameRate: 30, Bitrate: 6000000},
		},
	}}
	if !reflect.DeepEqual(video, wantVideo) {
		t.Errorf("got %s\nwant %s", show(video), show(wantVideo))
	}
	audio, err := ParseHang(vector(t, "hang-audio.json"))
	if err != nil {
		t.Fatal(err)
	}
	mono, ok := audio.Track("mono")
	if !ok || len(audio.Tracks) != 2 || !reflect.DeepEqual(mono.Format,
		media.Format{Codec: media.Opus, MIME: "opus", SampleRate: 48000, Channels: 1, Bitrate: 64000}) {
		t.Errorf("got %s", show(audio))
	}

	// "a consumer MUST ignore a rendition whose `kind` it does not recognize"; "If absent, it defaults to
	// `{ "kind": "legacy" }`"; renditions of other broadcasts are not in this Namespace.
	odd, err := ParseHang([]byte(`{"video":{"renditions":{
		"future":{"codec":"vp8","container":{"kind":"warp"}},
		"other":{"codec":"vp8","broadcast":"./source"},
		"plain":{"codec":"vp8","description":"ABcd"}}},"chat":{"track":"x"}}`))
	if err != nil || len(odd.Tracks) != 1 || odd.Tracks[0].Name != "plain" || odd.Tracks[0].Packaging != Legacy ||
		string(odd.Tracks[0].Format.Description) != "\xab\xcd" {
		t.Errorf("got %s, %v", show(odd), err)
	}
}

func TestRefusals(t *testing.T) {
	many := strings.Repeat(`{"name":"x","packaging":"loc"},`, MaxTracks+1)
	for name, c := range map[string]struct {
		in   string
		want error
	}{
		"empty":           {``, ErrMalformed},
		"null":            {`null`, ErrMalformed},
		"array":           {`[]`, ErrMalformed},
		"no version":      {`{"tracks":[]}`, ErrVersion},
		"newer version":   {`{"version":"draft-02","tracks":[]}`, ErrVersion},
		"number 2":        {`{"version":2,"tracks":[]}`, ErrVersion},
		"trailing bytes":  {`{"version":1,"tracks":[]}{}`, ErrMalformed},
		"truncated":       {`{"version":1,"tracks":[`, ErrMalformed},
		"no name":         {`{"version":1,"tracks":[{"packaging":"loc"}]}`, ErrMalformed},
		"same name":       {`{"version":1,"tracks":[{"name":"a"},{"name":"a"}]}`, ErrMalformed},
		"broken base64":   {`{"version":1,"tracks":[{"name":"a","initData":"!"}]}`, ErrMalformed},
		"string as width": {`{"version":1,"tracks":[{"name":"a","width":"wide"}]}`, ErrMalformed},
		"many tracks":     {`{"version":1,"tracks":[` + strings.TrimSuffix(many, ",") + `]}`, ErrTooLarge},
		"large":           {`{"version":1,"tracks":[],"x":"` + strings.Repeat("x", MaxSize) + `"}`, ErrTooLarge},
	} {
		if got, err := ParseMSF([]byte(c.in)); !errors.Is(err, c.want) {
			t.Errorf("%s: %s, %v; want %v", name, show(got), err, c.want)
		}
	}
	for name, c := range map[string]struct {
		in   string
		want error
	}{
		"empty":     {``, ErrMalformed},
		"null":      {`null`, ErrMalformed},
		"hex":       {`{"video":{"renditions":{"a":{"codec":"vp8","description":"0x00"}}}}`, ErrMalformed},
		"both":      {`{"video":{"renditions":{"a":{}}},"audio":{"renditions":{"a":{}}}}`, ErrMalformed},
		"truncated": {`{"video":{`, ErrMalformed},
		"large":     {`{"x":"` + strings.Repeat("x", MaxSize) + `"}`, ErrTooLarge},
	} {
		if got, err := ParseHang([]byte(c.in)); !errors.Is(err, c.want) {
			t.Errorf("hang, %s: %s, %v; want %v", name, show(got), err, c.want)
		}
	}
	// Odd numbers read as unknown rather than costing the broadcast.
	c, err := ParseMSF([]byte(`{"version":1,"generatedAt":-5,"tracks":[{"name":"a","width":1e99,"height":-1,"framerate":1e9,
		"bitrate":-3,"altGroup":1.5,"renderGroup":1e300,"targetLatency":1e300,"codec":"vp8"}]}`))
	if err != nil || !reflect.DeepEqual(c.Tracks[0], Track{Name: "a", Format: media.Format{Codec: media.VP8, MIME: "vp8"}}) {
		t.Errorf("%s, %v", show(c), err)
	}
}

func TestCodecOf(t *testing.T) {
	for mime, want := range map[string]media.Codec{
		"avc1.64001f": media.H264, "avc3.42E01E": media.H264, "hvc1.1.6.L93.B0": media.H265, "hev1.1.6.L93.B0": media.H265,
		"av01.0.04M.08": media.AV1, "av01": media.AV1, "vp09.00.10.08": media.VP9, "vp8": media.VP8, "opus": media.Opus,
		"mp4a.40.2": media.AAC, "mp4a.40.5": media.AAC, "mp4a.6B": 0, "ac-3": media.AC3, "ec-3": media.EC3,
		"wvtt": media.WebVTT, "flac": 0, "": 0,
	} {
		if got := CodecOf(mime); got != want {
			t.Errorf("CodecOf(%q) = %v, want %v", mime, got, want)
		}
	}
}

// seeds are the vectors of a kind.
func seeds(f *testing.F, prefix string) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && strings.HasSuffix(e.Name(), ".json") {
			f.Add(vector(f, e.Name()))
		}
	}
}

func FuzzMSF(f *testing.F) {
	seeds(f, "msf")
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseMSF(b)
		if err != nil {
			return
		}
		checkAgain(t, c, (*Catalog).MarshalMSF, ParseMSF)
	})
}

func FuzzMSFDelta(f *testing.F) {
	seeds(f, "msf01-delta")
	seeds(f, "msf00-delta")
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Reader
		if _, err := r.Independent(vector(t, "msf01-simulcast.json")); err != nil {
			t.Fatal(err)
		}
		if c, err := r.Delta(b); err == nil && len(c.Tracks) > MaxTracks {
			t.Fatalf("%d tracks", len(c.Tracks))
		}
	})
}

func FuzzHang(f *testing.F) {
	seeds(f, "hang")
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseHang(b)
		if err != nil {
			return
		}
		out, err := c.MarshalHang()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseHang(out); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	})
}

// checkAgain marshals what was parsed and expects to parse the same.
func checkAgain(t *testing.T, c Catalog, marshal func(*Catalog) ([]byte, error), parse func([]byte) (Catalog, error)) {
	t.Helper()
	b, err := marshal(&c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := parse(b)
	if err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	b2, err := marshal(&again)
	if err != nil || string(b) != string(b2) {
		t.Fatalf("%s\n%s\n%v", b, b2, err)
	}
}
