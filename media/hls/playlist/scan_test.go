package playlist

import (
	"reflect"
	"strings"
	"testing"
)

func TestScan(t *testing.T) {
	var got []Line
	for l := range Scan([]byte("#EXTM3U\r\n\n# a note\n#EXT-X-VERSION:9\n#EXTINF:4,a: b\nu?x:y")) {
		got = append(got, l)
	}
	want := []Line{{1, "#EXTM3U", ""}, {4, "#EXT-X-VERSION", "9"}, {5, "#EXTINF", "4,a: b"}, {6, "", "u?x:y"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for range Scan([]byte("a\nb")) {
		break
	}
}

func TestParseAttributes(t *testing.T) {
	got, err := ParseAttributes(`A=1,B-2="x,y=z",C=`)
	if err == nil || !reflect.DeepEqual(got, map[string]string{"A": "1", "B-2": "x,y=z"}) {
		t.Errorf("got %v, %v", got, err)
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte(live))
	f.Add([]byte("#EXTM3U\n#EXT-X-X:A=\"b\",C=d\nu"))
	f.Fuzz(func(t *testing.T, b []byte) {
		last := 0
		for l := range Scan(b) {
			if l.Number <= last || strings.ContainsRune(l.Value, '\n') {
				t.Fatalf("%+v after line %d", l, last)
			}
			last = l.Number
			_, _ = ParseAttributes(l.Value)
		}
	})
}
