package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet-live/freshet/control"
	"github.com/freshet-live/freshet/control/store"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, path string) *store.SQLite {
	t.Helper()
	s, err := store.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRoomsSurviveReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control plane?.db")
	s := open(t, path)
	key := control.NewStreamKey()
	room := control.Room{Name: "demo", Title: "Démo", Open: true, Created: time.UnixMilli(1_790_000_000_123).UTC()}
	if err := s.CreateRoom(t.Context(), room, control.DigestKey(key)); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateRoom(t.Context(), room, control.DigestKey("other")); !errors.Is(err, control.ErrExists) {
		t.Errorf("same name again: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	defer s.Close()
	if got, err := s.Room(t.Context(), "demo"); err != nil || got != room {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := s.Room(t.Context(), "other"); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("a room that does not exist: %v", err)
	}
	keys, err := s.Keys(t.Context(), "demo")
	if err != nil || len(keys) != 1 || keys[0] != control.DigestKey(key) {
		t.Errorf("keys %x, %v", keys, err)
	}
	newer := control.NewStreamKey()
	if err := s.ReplaceKeys(t.Context(), "demo", control.DigestKey(newer)); err != nil {
		t.Fatal(err)
	}
	access := control.NewAccess(s)
	if err := access.Admit(t.Context(), "demo", "", key); !errors.Is(err, control.ErrUnauthorized) {
		t.Errorf("the replaced key: %v", err)
	}
	if err := access.Admit(t.Context(), "demo", "", newer); err != nil {
		t.Errorf("the new key: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), key) || strings.Contains(string(b), newer) {
			t.Errorf("%s holds a stream key in clear", filepath.Base(f))
		}
	}
}

func TestAccess(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "freshet.db"))
	defer s.Close()
	for _, r := range []control.Room{{Name: "open", Open: true}, {Name: "closed"}} {
		if err := s.CreateRoom(t.Context(), r, control.DigestKey("key of "+r.Name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CreateRoom(t.Context(), control.Room{Name: "Bad Name"}, control.DigestKey("x")); !errors.Is(err, control.ErrInvalid) {
		t.Errorf("bad name: %v", err)
	}
	a := control.NewAccess(s)
	for _, tt := range []struct {
		room, member, key string
		ok                bool
	}{
		{"open", "", "key of open", true},
		{"open", "guest", "key of open", true},
		{"open", "../x", "key of open", false},
		{"open", "", "", false},
		{"open", "", "key of closed", false},
		{"closed", "", "key of closed", true},
		{"none", "", "key of open", false},
		{"OPEN", "", "key of open", false},
	} {
		err := a.Admit(t.Context(), tt.room, tt.member, tt.key)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, control.ErrUnauthorized) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	if p, err := a.Viewer(t.Context(), "open"); err != nil || len(p.Put) != 0 || p.Get[0] != "live/open" {
		t.Errorf("viewer of the open room: %+v, %v", p, err)
	}
	for _, room := range []string{"closed", "none"} {
		if _, err := a.Viewer(t.Context(), room); !errors.Is(err, control.ErrNotFound) {
			t.Errorf("viewer of room %s: %v", room, err)
		}
	}
	p, err := a.Anonymous(t.Context())
	if err != nil || len(p.Put) != 0 || strings.Join(p.Get, " ") != "live/open room/open" {
		t.Errorf("anonymous: %+v, %v", p, err)
	}
}
