package codec

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A file with what W3C WebVTT allows around cues, and each line ending.
const webvttFile = "\uFEFFWEBVTT - title\r\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\r\n\r\n" +
	"NOTE a comment\nof two lines\n\nSTYLE\n::cue { color: lime }\n\n\n" +
	"intro\n00:01.000 --> 00:02.500\tline:80%  align:start \nHello\n<b>World</b>\n\n" +
	"00:59:59.999-->100:00:00.000\r- one\r- two\r\r" +
	"2\n01:00:00.000 --> 01:00:01.000\n"

func TestParseWebVTT(t *testing.T) {
	got, err := ParseWebVTT([]byte(webvttFile))
	want := []Cue{
		{ID: "intro", Start: time.Second, End: 2500 * time.Millisecond, Settings: "line:80%  align:start", Text: "Hello\n<b>World</b>"},
		{Start: time.Hour - time.Millisecond, End: 100 * time.Hour, Text: "- one\n- two"},
		{ID: "2", Start: time.Hour, End: time.Hour + time.Second},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, c := range want {
		back, err := ParseCue(c.Append(nil, time.Minute))
		c.Start += time.Minute
		c.End += time.Minute
		if err != nil || back != c {
			t.Errorf("%+v came back as %+v, %v", c, back, err)
		}
	}
	// A line that is no cue's makes no cue.
	for _, in := range []string{"WEBVTT", "WEBVTT\n\n", "WEBVTT\n\nNOTE x\n", "WEBVTT\n\nlonely\n\n"} {
		if got, err := ParseWebVTT([]byte(in)); err != nil || len(got) != 0 {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}

func TestWebVTTErrors(t *testing.T) {
	for _, c := range []struct {
		in, says string
		want     error
	}{
		{"", "first line", ErrMalformed},
		{"WEBVTTX\n", "first line", ErrMalformed},
		{"WEBVTT\n\n0:01.000 --> 00:02.000\nx\n", "line 3", ErrMalformed},
		{"WEBVTT\n\n00:01.00 --> 00:02.000\nx\n", "timestamp", ErrMalformed},
		{"WEBVTT\n\n00:61.000 --> 01:02.000\nx\n", "timestamp", ErrMalformed},
		{"WEBVTT\n\n+1:01:01.000 --> 01:02.000\nx\n", "timestamp", ErrMalformed},
		{"WEBVTT\n\n99999999999:00:01.000 --> 01:02.000\nx\n", "timestamp", ErrMalformed},
		{"WEBVTT\n\n00:02.000 --> 00:02.000\nx\n", "ends at", ErrMalformed},
		{"WEBVTT\n\na\n00:01.000 --> 00:02.000\nx --> y\n", "text", ErrMalformed},
		{"WEBVTT\n\n00:01.000 --> 00:02.000\n" + strings.Repeat("x", MaxCueSize), "line 3", ErrTooLarge},
		{"WEBVTT\n" + strings.Repeat("x", MaxWebVTTSize), "file", ErrTooLarge},
	} {
		_, err := ParseWebVTT([]byte(c.in))
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.60q: %v", c.in, err)
		}
	}
	for _, in := range []string{"", "\n", "x", "00:01.000 --> 00:02.000\na\n\nb", "id\nno timings"} {
		if c, err := ParseCue([]byte(in)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %+v, %v", in, c, err)
		}
	}
	if _, err := ParseCue(make([]byte, MaxCueSize+1)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

// FuzzWebVTT has every cue of any file survive being written as a block.
func FuzzWebVTT(f *testing.F) {
	f.Add([]byte(webvttFile))
	f.Add([]byte("WEBVTT\n\n00:01.000 --> 00:02.000\n\xff\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		cues, err := ParseWebVTT(b)
		if err != nil {
			return
		}
		for _, c := range cues {
			if c.End <= c.Start || c.Start < 0 {
				t.Fatalf("%+v", c)
			}
			block := c.Append(nil, 0)
			if len(block) > MaxCueSize {
				continue // NUL grows
			}
			back, err := ParseCue(block)
			if err != nil || back != c {
				t.Fatalf("%+v came back as %+v, %v", c, back, err)
			}
			again, err := ParseWebVTT(append([]byte("WEBVTT\n\n"), block...))
			if err != nil || len(again) != 1 || again[0] != c {
				t.Fatalf("%+v came back as %+v, %v", c, again, err)
			}
		}
	})
}
