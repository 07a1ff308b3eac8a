package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media/hls/hlscheck"
)

// TestCheckStream checks a short VOD of transport stream segments, first as
// it should be and then with a segment that is too long.
func TestCheckStream(t *testing.T) {
	text := "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		if strings.HasSuffix(r.URL.Path, ".ts") {
			w.Header().Set("Content-Type", "video/mp2t")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(append([]byte{0x47}, make([]byte, 187)...)))
			return
		}
		w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
		_, _ = w.Write([]byte(text))
	}))
	defer srv.Close()
	var out bytes.Buffer
	if err := checkStream(t.Context(), srv.URL+"/a.m3u8", hlscheck.Config{Duration: 20 * time.Second}, false, &out); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	if !strings.Contains(out.String(), "MPEG-TS is not parsed") || !strings.Contains(out.String(), "vod, HTTP/1.1") {
		t.Errorf("printed\n%s", &out)
	}
	text = strings.Replace(text, "#EXTINF:1,", "#EXTINF:2,", 1)
	out.Reset()
	if err := checkStream(t.Context(), srv.URL+"/a.m3u8", hlscheck.Config{Duration: 20 * time.Second}, true, &out); !errors.Is(err, errFindings) {
		t.Errorf("%v\n%s", err, &out)
	}
	var rep hlscheck.Report
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil || len(rep.Findings) != 2 || rep.Findings[0].Rule != "target-duration" || rep.Findings[0].Line != 7 {
		t.Errorf("%v, %+v", err, rep.Findings)
	}
}

func TestCheckStreamUnreachable(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	err := checkStream(context.Background(), srv.URL+"/a.m3u8", hlscheck.Config{}, false, &bytes.Buffer{})
	if !errors.Is(err, hlscheck.ErrUnreachable) {
		t.Error(err)
	}
	for _, args := range [][]string{{}, {"ftp://host/a.m3u8"}, {srv.URL, "--duration", "-1s"}, {srv.URL, "--ignore", "no-such-rule"}, {srv.URL + "/a.m3u8", "--quiet"}} {
		if got := hlsCheck(args); got != 2 {
			t.Errorf("%v: exit status %d", args, got)
		}
	}
}

// TestRulesDocumented holds docs/hlscheck.md against the rules.
func TestRulesDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/hlscheck.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range hlscheck.Rules() {
		row := "| `" + r.ID + "` | " + r.Severity.String() + " | " + r.Source + " | " + r.Summary + " |"
		if !strings.Contains(string(doc), row+"\n") {
			t.Errorf("docs/hlscheck.md lacks the row\n%s", row)
		}
	}
}
