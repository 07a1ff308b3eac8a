// Package store keeps the control plane's state in SQL. It is the only
// package that knows SQL, and the owner of the drivers.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/freshet-live/freshet/control"
)

//go:embed migrations/*.sql
var migrations embed.FS

// SQLite is a control.Store in one file.
type SQLite struct{ db *sql.DB }

// OpenSQLite opens or creates the database file and brings its schema up to
// date. Writes are durable when a method returns.
func OpenSQLite(ctx context.Context, path string) (*SQLite, error) {
	pragmas := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "busy_timeout(5000)"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+pragmas.Encode())
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, dir)
	if err == nil {
		_, err = p.Up(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("migrating %s: %w", path, err), db.Close())
	}
	return &SQLite{db: db}, nil
}

// Close closes the file.
func (s *SQLite) Close() error { return s.db.Close() }

const roomColumns = `name, title, open, created_ms`

func scanRoom(scan func(...any) error) (control.Room, error) {
	var r control.Room
	var created int64
	if err := scan(&r.Name, &r.Title, &r.Open, &created); err != nil {
		return control.Room{}, err
	}
	r.Created = time.UnixMilli(created).UTC()
	return r, nil
}

// Room returns one room.
func (s *SQLite) Room(ctx context.Context, name string) (control.Room, error) {
	r, err := scanRoom(s.db.QueryRowContext(ctx, `SELECT `+roomColumns+` FROM rooms WHERE name = ?`, name).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = control.ErrNotFound
	}
	if err != nil {
		return control.Room{}, fmt.Errorf("room %s: %w", name, err)
	}
	return r, nil
}

// Rooms returns all rooms by name.
func (s *SQLite) Rooms(ctx context.Context) ([]control.Room, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+roomColumns+` FROM rooms ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("listing rooms: %w", err)
	}
	defer rows.Close()
	var rooms []control.Room
	for rows.Next() {
		r, err := scanRoom(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("listing rooms: %w", err)
		}
		rooms = append(rooms, r)
	}
	return rooms, rows.Err()
}

// CreateRoom adds a room with its first stream key.
func (s *SQLite) CreateRoom(ctx context.Context, room control.Room, key control.KeyDigest) error {
	if err := room.Validate(); err != nil {
		return err
	}
	return s.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO rooms (`+roomColumns+`) VALUES (?, ?, ?, ?)`,
			room.Name, room.Title, room.Open, room.Created.UnixMilli())
		if isUnique(err) {
			return fmt.Errorf("room %s: %w", room.Name, control.ErrExists)
		}
		if err != nil {
			return fmt.Errorf("creating room %s: %w", room.Name, err)
		}
		return addKey(ctx, tx, room.Name, key)
	})
}

// ReplaceKeys makes key the only stream key of the room.
func (s *SQLite) ReplaceKeys(ctx context.Context, room string, key control.KeyDigest) error {
	if _, err := s.Room(ctx, room); err != nil {
		return err
	}
	return s.transact(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM stream_keys WHERE room = ?`, room); err != nil {
			return fmt.Errorf("replacing the keys of room %s: %w", room, err)
		}
		return addKey(ctx, tx, room, key)
	})
}

func addKey(ctx context.Context, tx *sql.Tx, room string, key control.KeyDigest) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO stream_keys (digest, room) VALUES (?, ?)`, key[:], room); err != nil {
		return fmt.Errorf("adding a key to room %s: %w", room, err)
	}
	return nil
}

// Keys returns the digests of the room's stream keys.
func (s *SQLite) Keys(ctx context.Context, room string) ([]control.KeyDigest, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT digest FROM stream_keys WHERE room = ?`, room)
	if err != nil {
		return nil, fmt.Errorf("keys of room %s: %w", room, err)
	}
	defer rows.Close()
	var keys []control.KeyDigest
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			return nil, fmt.Errorf("keys of room %s: %w", room, err)
		}
		if len(b) != len(control.KeyDigest{}) {
			return nil, fmt.Errorf("keys of room %s: a digest of %d bytes", room, len(b))
		}
		keys = append(keys, control.KeyDigest(b))
	}
	return keys, rows.Err()
}

func (s *SQLite) transact(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	if err := f(tx); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

func isUnique(err error) bool {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE
	}
	return false
}
