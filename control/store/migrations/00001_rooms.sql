-- +goose Up
CREATE TABLE rooms (
    name       TEXT    PRIMARY KEY,
    title      TEXT    NOT NULL,
    open       INTEGER NOT NULL, -- anybody may watch
    created_ms INTEGER NOT NULL  -- Unix milliseconds
) STRICT;
CREATE TABLE stream_keys (
    digest BLOB PRIMARY KEY, -- SHA-256 of the key
    room   TEXT NOT NULL REFERENCES rooms (name) ON DELETE CASCADE
) STRICT;
CREATE INDEX stream_keys_room ON stream_keys (room);

-- +goose Down
DROP TABLE stream_keys;
DROP TABLE rooms;
