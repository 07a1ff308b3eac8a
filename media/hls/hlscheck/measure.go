package hlscheck

import (
	"bytes"
	"crypto/sha256"
	"math"
	"slices"
	"time"
)

// measure reads segments in order and holds them against what the playlist
// says. It belongs to the loader's goroutine.
type measure struct {
	*stream

	// What the segment before left, while numbers and decode times go on.
	going    bool
	msn      uint64
	sequence uint64
	init     source
	read     *initText
	ends     map[uint32]uint64 // decode time that comes next, by track

	// Sums since the discontinuity: the playlist's time less the media's.
	listed   time.Duration
	origin   time.Duration // decode time of the first segment
	low      time.Duration
	high     time.Duration
	frame    time.Duration // longest sample
	base     time.Duration // date less media time of the first segment
	based    bool
	baseDate time.Time

	sizes []sized // of the last segments, for the peak bit rate
}

type sized struct {
	msn      uint64
	bits     float64
	duration time.Duration
}

// size takes a segment's bytes into the bit rates (section 4.1).
func (m *measure) size(s *segmentText, n int, target time.Duration) {
	if n := len(m.sizes); n > 0 && m.sizes[n-1].msn+1 != s.msn {
		m.sizes = nil
	}
	m.sizes = append(m.sizes, sized{s.msn, float64(n) * 8, s.duration})
	if len(m.sizes) > 64 {
		m.sizes = slices.Delete(m.sizes, 0, 1)
	}
	// "the largest bit rate of any contiguous set of segments whose total
	// duration is between 0.5 and 1.5 times the target duration"
	peak, bits, total := 0.0, 0.0, time.Duration(0)
	for i := len(m.sizes) - 1; i >= 0; i-- {
		bits += m.sizes[i].bits
		if total += m.sizes[i].duration; total > target*3/2 {
			break
		}
		if total >= target/2 && total > 0 {
			peak = max(peak, bits/total.Seconds())
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.measured.peak = max(m.measured.peak, peak)
	m.measured.bits += float64(n) * 8
	m.measured.seconds += s.duration.Seconds()
	m.seen.PeakBits = int(m.measured.peak)
}

// seconds converts ticks.
func ticks(v uint64, scale uint32) time.Duration {
	// In two steps: an epoch in 90 kHz times a second's nanoseconds overflows.
	s, r := v/uint64(scale), v%uint64(scale)
	if s > math.MaxInt64/2/uint64(time.Second) {
		return math.MaxInt64 / 2
	}
	return time.Duration(s)*time.Second + time.Duration(r*uint64(time.Second)/uint64(scale))
}

// segment measures one segment, and the parts of it that were loaded.
func (m *measure) segment(i *initText, s *segmentText, body []byte, parts []loadedPart, listedParts int) {
	at := m.at("EXTINF", s.line)
	runs, err := parseFragments(i, body)
	if err != nil {
		m.run.sink.add(ruleMalformed, at, "segment %d: %v", s.msn, err)
		m.going = false
		return
	}
	if len(runs) == 0 {
		m.run.sink.add(ruleMalformed, at, "segment %d has no movie fragment", s.msn)
		m.going = false
		return
	}
	track := i.main()
	m.describe(i, s)
	if m.role == roleIFrames {
		if first, _ := runs[0].sync(); !first && len(runs[0].samples) > 0 {
			m.run.sink.add(ruleSegmentStart, at, "I-frame %d is no key frame", s.msn)
		}
		return
	}
	goes := m.going && m.msn+1 == s.msn && m.sequence == s.sequence && !s.discontinuity
	if goes && m.init != s.initialize && !m.alike(i) {
		m.run.sink.add(ruleConfigChange, m.at("EXT-X-MAP", s.line), "segment %d has another configuration, and no EXT-X-DISCONTINUITY", s.msn)
		goes = false
	}
	if !goes {
		m.ends = make(map[uint32]uint64)
		m.frame = 0
	}
	start, length, count := m.decode(i, track, s, runs)
	m.playlistTime(s, runs, track, start, length, goes)
	m.starts(track, s, runs)
	if length >= time.Second && track.video() {
		m.mu.Lock()
		m.measured.frameRate = max(m.measured.frameRate, float64(count)/length.Seconds())
		m.mu.Unlock()
	}
	m.parts(i, track, s, body, parts, listedParts)
	m.going, m.msn, m.sequence, m.init, m.read = true, s.msn, s.sequence, s.initialize, i
}

// alike tells whether a change of the initialization segment changes nothing
// that a decoder would notice.
func (m *measure) alike(i *initText) bool {
	return m.read != nil && slices.EqualFunc(m.read.tracks, i.tracks, func(a, b trackText) bool {
		return a.id == b.id && a.codec == b.codec && a.timescale == b.timescale && a.width == b.width && a.height == b.height
	})
}

// describe notes the formats.
func (m *measure) describe(i *initText, s *segmentText) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sounds := 0
	for k := range i.tracks {
		t := &i.tracks[k]
		if t.handler == "soun" {
			sounds++
		}
		if t.encrypted {
			m.measured.encrypted = true
			continue
		}
		if len(m.measured.codecs) < maxTracks && (t.handler == "vide" || t.handler == "soun") {
			m.measured.codecs[t.codec] = true
		}
		if t.video() && len(m.measured.sizes) < maxTracks {
			m.measured.sizes[[2]int{t.width, t.height}] = true
		}
	}
	if sounds > 1 {
		m.run.sink.add(ruleTracks, m.at("EXT-X-MAP", s.line), "%d audio tracks", sounds)
	}
}

// decode checks that decode times go on, and returns where the main track
// starts, how long it lasts and how many samples it has.
func (m *measure) decode(i *initText, track *trackText, s *segmentText, runs []runText) (start, length time.Duration, count int) {
	begun := false
	var sum uint64
	for k := range runs {
		r := &runs[k]
		t := i.find(r.track)
		// Rounding between clocks may cost a tick or a millisecond.
		leeway := max(2, uint64(t.timescale)/1000)
		if next, ok := m.ends[r.track]; ok {
			if off := max(next, r.decode) - min(next, r.decode); off > leeway {
				m.run.sink.add(ruleDecodeTime, m.at("EXTINF", s.line), "segment %d: tfdt %d of track %d, and %d ticks of 1/%d s are due", s.msn, r.decode, r.track, next, t.timescale)
			}
		}
		m.ends[r.track] = r.decode + r.length
		for q := range r.samples {
			m.frame = max(m.frame, ticks(uint64(r.samples[q].duration), t.timescale))
		}
		if r.track == track.id {
			if !begun {
				start, begun = ticks(r.decode, t.timescale), true
			}
			sum += r.length
			count += len(r.samples)
		}
	}
	return start, ticks(sum, track.timescale), count
}

// presentation returns when the first picture or sound of the main track is
// due.
func presentation(track *trackText, runs []runText) (time.Duration, bool) {
	const reorder = 17 // H.264 and H.265 reorder by 16 pictures at most
	best, n := int64(math.MaxInt64), 0
	for k := range runs {
		r := &runs[k]
		if r.track != track.id {
			continue
		}
		at := int64(r.decode)
		for q := range r.samples {
			if n++; n > reorder {
				break
			}
			best = min(best, at+r.samples[q].offset-track.shift)
			at += int64(r.samples[q].duration)
		}
	}
	if n == 0 {
		return 0, false
	}
	if best < 0 {
		return -ticks(uint64(-best), track.timescale), true
	}
	return ticks(uint64(best), track.timescale), true
}

// playlistTime holds EXTINF and EXT-X-PROGRAM-DATE-TIME against the media.
func (m *measure) playlistTime(s *segmentText, runs []runText, track *trackText, start, length time.Duration, goes bool) {
	if !goes {
		m.listed, m.origin, m.low, m.high, m.based = 0, start, 0, 0, false
	}
	// "the sum of the EXTINF durations of any contiguous group of segments is
	// within one video frame duration of the actual duration": both ends of
	// every segment count.
	for _, off := range []time.Duration{m.listed - (start - m.origin), m.listed + s.duration - (start + length - m.origin)} {
		m.low, m.high = min(m.low, off), max(m.high, off)
	}
	m.listed += s.duration
	if m.high-m.low > m.frame+slack {
		m.run.sink.add(ruleSegmentDuration, m.at("EXTINF", s.line), "segment %d: EXTINF is %v, the media lasts %v, and the sums differ by up to %v with frames of %v",
			s.msn, s.duration, length, m.high-m.low, m.frame)
		m.listed, m.origin, m.low, m.high = s.duration, start, 0, 0 // report anew, not for ever
	}
	at, ok := presentation(track, runs)
	if !ok || s.date.IsZero() {
		return
	}
	if !m.based {
		m.based, m.base, m.baseDate = true, at, s.date
		m.mu.Lock()
		if len(m.measured.offsets) < maxSequences {
			m.measured.offsets[s.sequence] = s.date.Sub(time.Unix(0, 0)) - at
		}
		m.mu.Unlock()
		return
	}
	if off := s.date.Sub(m.baseDate) - (at - m.base); off.Abs() > dateLeeway+m.frame {
		m.run.sink.add(ruleDateMedia, m.at("EXT-X-PROGRAM-DATE-TIME", s.line), "segment %d: the date moved %v further than the media", s.msn, off)
		m.base, m.baseDate = at, s.date
	}
}

// starts checks that the segment can be joined at its start.
func (m *measure) starts(track *trackText, s *segmentText, runs []runText) {
	if !track.video() {
		return
	}
	for k := range runs {
		if r := &runs[k]; r.track == track.id && len(r.samples) > 0 {
			if first, _ := r.sync(); !first {
				m.run.sink.add(ruleSegmentStart, m.at("EXTINF", s.line), "segment %d does not start with a key frame", s.msn)
			}
			return
		}
	}
}

// parts holds the parts of a segment against the segment and the playlist.
func (m *measure) parts(i *initText, track *trackText, s *segmentText, body []byte, parts []loadedPart, listed int) {
	var joined []byte
	var list, owed time.Duration
	complete := len(parts) == listed && listed > 0
	for k, p := range parts {
		at := m.at("EXT-X-PART", p.text.line)
		runs, err := parseFragments(i, p.body)
		if err != nil {
			m.run.sink.add(ruleMalformed, at, "part %d.%d: %v", s.msn, p.index, err)
			return
		}
		complete = complete && p.index == k
		joined = append(joined, p.body...)
		var sum uint64
		key, any := false, false
		for q := range runs {
			if r := &runs[q]; r.track == track.id {
				sum += r.length
				_, sync := r.sync()
				key, any = key || sync, any || len(r.samples) > 0
			}
		}
		list += p.text.duration
		owed += ticks(sum, track.timescale)
		if complete && (list-owed).Abs() > m.frame+slack {
			m.run.sink.add(rulePartDuration, at, "part %d.%d: the playlist lists %v of its segment so far, the media has %v", s.msn, p.index, list, owed)
			complete = false // once a segment
		}
		switch {
		case p.text.independent && !key:
			m.run.sink.add(rulePartIndependent, at, "part %d.%d has no key frame", s.msn, p.index)
		case !p.text.independent && key && any:
			m.run.sink.add(rulePartIndependentMissing, at, "part %d.%d has a key frame", s.msn, p.index)
		}
	}
	if len(parts) != listed || listed == 0 || bytes.Equal(joined, body) {
		return
	}
	// Other bytes are fine when the samples are the same.
	a, err1 := digest(i, joined)
	b, err2 := digest(i, body)
	if err1 != nil || err2 != nil || a != b {
		m.run.sink.add(rulePartsDiffer, m.at("EXTINF", s.line), "segment %d of %d bytes is not its %d parts of %d bytes", s.msn, len(body), listed, len(joined))
	}
}

// digest sums up samples: their times, flags and bytes, whatever fragments
// they lie in.
func digest(i *initText, b []byte) ([sha256.Size]byte, error) {
	runs, err := parseFragments(i, b)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	top, err := boxes(b)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	h := sha256.New()
	var w [32]byte
	for k := range runs {
		at := runs[k].decode
		for _, s := range runs[k].samples {
			for n, v := range []uint64{uint64(runs[k].track), at, uint64(s.size), uint64(s.offset)} {
				for q := range 8 {
					w[n*8+q] = byte(v >> (8 * q))
				}
			}
			_, _ = h.Write(w[:])
			at += uint64(s.duration)
		}
	}
	for _, x := range top {
		if x.kind == "mdat" {
			_, _ = h.Write(x.body)
		}
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
