// Package ingesttest has what the tests of ingest's packages share: a
// BroadcastWriter that holds publishers to the promises of media.Frame.
package ingesttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/ingest"
)

// Recorder is a BroadcastWriter that keeps all frames and checks each: tracks
// begin with a key frame, key frames carry a format, data has the canonical
// form, and decode times can be derived and rise.
type Recorder struct {
	mu      sync.Mutex
	changed chan struct{} // closed and renewed whenever something happens
	tracks  []*Track
	closed  bool
	cause   error
	faults  []error
}

// NewRecorder returns an empty recorder.
func NewRecorder() *Recorder { return &Recorder{changed: make(chan struct{})} }

// Registry returns a registry with the default rule whose broadcasts are
// recorders, which it also sends to made.
func Registry(made chan<- *Recorder) *ingest.Registry {
	return ingest.NewRegistry(func(context.Context, string, string) (media.BroadcastWriter, error) {
		r := NewRecorder()
		made <- r
		return r, nil
	}, 0)
}

// Key admits those who present it.
func Key(key string) ingest.Admission {
	return ingest.AdmissionFunc(func(_ context.Context, req ingest.AdmissionRequest) (ingest.AdmissionDecision, error) {
		if req.Key != key {
			return ingest.AdmissionDecision{}, ingest.ErrUnauthorized
		}
		return ingest.AdmissionDecision{KeyID: "test"}, nil
	})
}

// Track is one recorded track.
type Track struct {
	recorder *Recorder
	format   media.Format
	frames   []media.Frame
	requests chan struct{}

	dts     func(unit [][]byte, pts int64) (int64, error)
	lastDTS int64
	current *media.Format
}

// AddTrack implements media.BroadcastWriter.
func (r *Recorder) AddTrack(f media.Format) (media.TrackWriter, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		r.fault("track added after the end")
		return nil, ingest.ErrClosed
	}
	if f.MIME == "" || f.Kind() == 0 {
		r.fault("format without codec: %+v", f)
	}
	if f.Kind() == media.Video && (f.Width == 0 || f.Height == 0) {
		r.fault("video without size: %+v", f)
	}
	if f.Kind() == media.Audio && (f.SampleRate == 0 || f.Channels == 0) {
		r.fault("audio without rate or channels: %+v", f)
	}
	t := &Track{recorder: r, format: f}
	switch f.Codec {
	case media.H264:
		d := &h264.DTSExtractor{}
		d.Initialize()
		t.dts = d.Extract
	case media.H265:
		d := &h265.DTSExtractor{}
		d.Initialize()
		t.dts = d.Extract
	}
	if f.Kind() == media.Video {
		t.requests = make(chan struct{}, 1)
	}
	r.tracks = append(r.tracks, t)
	r.notify()
	return t, nil
}

// Close implements media.BroadcastWriter.
func (r *Recorder) Close(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		r.fault("closed twice")
		return
	}
	r.closed, r.cause = true, err
	r.notify()
}

// KeyFrameRequests implements media.TrackWriter.
func (t *Track) KeyFrameRequests() <-chan struct{} { return t.requests }

// RequestKeyFrame asks the publisher for a key frame as a viewer would.
func (t *Track) RequestKeyFrame() {
	select {
	case t.requests <- struct{}{}:
	default:
	}
}

// WriteFrame implements media.TrackWriter.
func (t *Track) WriteFrame(f media.Frame) error {
	r := t.recorder
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		r.fault("frame after the end")
		return ingest.ErrClosed
	}
	if f.Format != nil {
		t.current = f.Format
	}
	switch {
	case len(f.Data) == 0:
		r.fault("%v frame without data", t.format.Codec)
	case len(t.frames) == 0 && !f.Key:
		r.fault("%v track begins without key frame", t.format.Codec)
	case f.Key && f.Format == nil:
		r.fault("%v key frame without format", t.format.Codec)
	case t.format.Kind() == media.Audio && len(t.frames) > 0 && f.PTS <= t.frames[len(t.frames)-1].PTS:
		r.fault("%v timestamps fall from %d to %d", t.format.Codec, t.frames[len(t.frames)-1].PTS, f.PTS)
	default:
		if err := t.check(f); err != nil {
			r.fault("%v frame %d: %w", t.format.Codec, len(t.frames), err)
		}
	}
	t.frames = append(t.frames, f)
	r.notify()
	return nil
}

// check looks into the frame's bitstream.
func (t *Track) check(f media.Frame) error {
	switch t.format.Codec {
	case media.H264, media.H265:
		unit, err := codec.SplitLengthPrefixed(f.Data)
		if err != nil {
			return err
		}
		for _, n := range unit {
			if t.format.Codec == media.H264 {
				if typ := n[0] & 31; typ == 7 || typ == 8 || typ == 9 {
					return fmt.Errorf("NAL unit of type %d in the frame", typ)
				}
			} else if typ := n[0] >> 1 & 63; typ >= 32 && typ <= 35 {
				return fmt.Errorf("NAL unit of type %d in the frame", typ)
			}
		}
		if f.Key != codec.IsKey(t.format.Codec, unit) {
			return fmt.Errorf("key %v, bitstream says otherwise", f.Key)
		}
		if f.Key {
			sets, err := codec.ParameterSets(f.Format)
			if err != nil {
				return err
			}
			unit = append(append([][]byte{}, sets...), unit...)
		}
		dts, err := t.dts(unit, int64(f.PTS))
		if err != nil {
			return fmt.Errorf("decode time: %w", err)
		}
		if len(t.frames) > 0 && dts <= t.lastDTS {
			return fmt.Errorf("decode time falls from %d to %d", t.lastDTS, dts)
		}
		t.lastDTS = dts
	case media.AV1:
		obus, err := codec.SplitOBUs(f.Data)
		if err != nil {
			return err
		}
		for _, o := range obus {
			if o[0]>>3&15 == 2 || o[0]&2 == 0 {
				return fmt.Errorf("OBU header %#x", o[0])
			}
		}
		if f.Key != codec.IsKey(media.AV1, obus) {
			return fmt.Errorf("key %v, bitstream says otherwise", f.Key)
		}
	case media.VP8, media.VP9:
		if f.Key != codec.IsKey(t.format.Codec, [][]byte{f.Data}) {
			return fmt.Errorf("key %v, bitstream says otherwise", f.Key)
		}
	}
	return nil
}

func (r *Recorder) fault(format string, args ...any) {
	if len(r.faults) < 20 {
		r.faults = append(r.faults, fmt.Errorf(format, args...))
	}
}

func (r *Recorder) notify() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// wait returns when done says so, or fails the test when ctx ends first.
func (r *Recorder) wait(t testing.TB, ctx context.Context, what string, done func() bool) {
	t.Helper()
	for {
		r.mu.Lock()
		ok, changed, faults, closed := done(), r.changed, errors.Join(r.faults...), r.closed
		r.mu.Unlock()
		switch {
		case faults != nil:
			t.Fatalf("broken promises: %v", faults)
		case ok:
			return
		case closed:
			t.Fatalf("broadcast closed (%v) while waiting for %s; have %s", r.cause, what, r.describe())
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("no %s: %v; have %s", what, ctx.Err(), r.describe())
		}
	}
}

func (r *Recorder) describe() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer
	for _, t := range r.tracks {
		fmt.Fprintf(&b, "[%s %d frames]", t.format.MIME, len(t.frames))
	}
	return b.String()
}

// Track waits until a track of the codec has at least n frames and returns it.
func (r *Recorder) Track(t testing.TB, ctx context.Context, c media.Codec, n int) *Track {
	t.Helper()
	var found *Track
	r.wait(t, ctx, fmt.Sprintf("%d frames of %v", n, c), func() bool {
		for _, track := range r.tracks {
			if track.format.Codec == c && len(track.frames) >= n {
				found = track
				return true
			}
		}
		return false
	})
	return found
}

// Tracks waits until there are n tracks with a frame each and returns all.
func (r *Recorder) Tracks(t testing.TB, ctx context.Context, n int) []*Track {
	t.Helper()
	var found []*Track
	r.wait(t, ctx, fmt.Sprintf("%d tracks", n), func() bool {
		found = nil
		for _, track := range r.tracks {
			if len(track.frames) > 0 {
				found = append(found, track)
			}
		}
		return len(found) >= n
	})
	return found
}

// Closed waits for the end of the broadcast and returns what Close was given.
func (r *Recorder) Closed(t testing.TB, ctx context.Context) error {
	t.Helper()
	r.wait(t, ctx, "end", func() bool { return r.closed })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cause
}

// Faults are the promises broken so far.
func (r *Recorder) Faults() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.faults...)
}

// Format is the format with which the track was added.
func (t *Track) Format() media.Format { return t.format }

// Frames are the frames so far.
func (t *Track) Frames() []media.Frame {
	t.recorder.mu.Lock()
	defer t.recorder.mu.Unlock()
	return t.frames[:len(t.frames):len(t.frames)]
}

// Keys counts the key frames so far.
func (t *Track) Keys() int {
	n := 0
	for _, f := range t.Frames() {
		if f.Key {
			n++
		}
	}
	return n
}

// Keyed waits until the track has more than n key frames.
func (t *Track) Keyed(tb testing.TB, ctx context.Context, n int) {
	tb.Helper()
	t.recorder.wait(tb, ctx, fmt.Sprintf("more than %d key frames", n), func() bool {
		have := 0
		for _, f := range t.frames {
			if f.Key {
				have++
			}
		}
		return have > n
	})
}
