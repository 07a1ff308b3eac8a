package catalog

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// msfOperation is one step of a delta update (section "Delta update").
type msfOperation struct {
	Op     string                       `json:"op"`
	Tracks []map[string]json.RawMessage `json:"tracks"`
}

// Delta applies an Object after the first of a Group and returns the resulting
// catalog. It fails with ErrMalformed, and changes nothing, when an operation
// does not apply, or when no independent catalog came before. A catalog
// object that turns out to be independent is taken as such.
//
// It reads the ordered operations of draft-01 and the three fields of
// draft-00 (addTracks, removeTracks, cloneTracks).
func (r *Reader) Delta(b []byte) (Catalog, error) {
	update, err := object(b)
	if err != nil {
		return Catalog{}, err
	}
	ops, isDelta, err := operations(update)
	if err != nil {
		return Catalog{}, err
	}
	if !isDelta {
		return r.Independent(b)
	}
	if r.root == nil {
		return Catalog{}, fmt.Errorf("%w: delta update without a catalog", ErrMalformed)
	}
	tracks := slices.Clone(r.tracks)
	for _, op := range ops {
		for _, t := range op.Tracks {
			if tracks, err = apply(tracks, op.Op, t); err != nil {
				return Catalog{}, err
			}
			if len(tracks) > MaxTracks {
				return Catalog{}, fmt.Errorf("%w: %d tracks", ErrTooLarge, len(tracks))
			}
		}
	}
	root := maps.Clone(r.root)
	if at, ok := update["generatedAt"]; ok {
		root["generatedAt"] = at
	}
	c, err := build(root, tracks)
	if err != nil {
		return Catalog{}, err
	}
	r.root, r.tracks = root, tracks
	return c, nil
}

// operations returns the steps of an update; false when it is none.
func operations(update map[string]json.RawMessage) ([]msfOperation, bool, error) {
	raw, ok := update["deltaUpdate"]
	if !ok || string(raw) == "false" {
		return nil, false, nil
	}
	var ops []msfOperation
	if string(raw) != "true" {
		if err := json.Unmarshal(raw, &ops); err != nil {
			return nil, false, fmt.Errorf("%w: deltaUpdate: %w", ErrMalformed, err)
		}
		return ops, true, nil
	}
	for _, f := range []struct{ field, op string }{{"addTracks", "add"}, {"removeTracks", "remove"}, {"cloneTracks", "clone"}} {
		raw, ok := update[f.field]
		if !ok {
			continue
		}
		op := msfOperation{Op: f.op}
		if err := json.Unmarshal(raw, &op.Tracks); err != nil {
			return nil, false, fmt.Errorf("%w: %s: %w", ErrMalformed, f.field, err)
		}
		ops = append(ops, op)
	}
	return ops, true, nil
}

// apply makes one change. It never writes into a map that is in use.
func apply(tracks []map[string]json.RawMessage, op string, t map[string]json.RawMessage) ([]map[string]json.RawMessage, error) {
	name, namespace := text(t["name"]), text(t["namespace"])
	switch op {
	case "add":
		return append(tracks, t), nil
	case "remove":
		i := find(tracks, name, namespace)
		if i < 0 {
			return nil, fmt.Errorf("%w: removal of unknown track %.64q", ErrMalformed, name)
		}
		return slices.Delete(slices.Clone(tracks), i, i+1), nil
	case "clone":
		parent, parentNamespace := text(t["parentName"]), text(t["parentNamespace"])
		i := find(tracks, parent, parentNamespace)
		if i < 0 {
			return nil, fmt.Errorf("%w: clone of unknown track %.64q", ErrMalformed, parent)
		}
		return append(tracks, merge(tracks[i], t)), nil
	case "update":
		// The text has the track named by parentName, the draft's example by
		// name.
		if _, ok := t["parentName"]; ok {
			name, namespace = text(t["parentName"]), text(t["parentNamespace"])
		}
		i := find(tracks, name, namespace)
		if i < 0 {
			return nil, fmt.Errorf("%w: update of unknown track %.64q", ErrMalformed, name)
		}
		tracks = slices.Clone(tracks)
		tracks[i] = merge(tracks[i], t)
		return tracks, nil
	}
	return nil, fmt.Errorf("%w: delta operation %.32q", ErrMalformed, op)
}

func merge(base, over map[string]json.RawMessage) map[string]json.RawMessage {
	m := maps.Clone(base)
	maps.Copy(m, over)
	delete(m, "parentName")
	delete(m, "parentNamespace")
	return m
}

// find returns the index of a track; one without namespace inherits the
// catalog's, so an empty namespace finds whatever has the name.
func find(tracks []map[string]json.RawMessage, name, namespace string) int {
	return slices.IndexFunc(tracks, func(t map[string]json.RawMessage) bool {
		return text(t["name"]) == name && (namespace == "" || text(t["namespace"]) == namespace)
	})
}

func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
