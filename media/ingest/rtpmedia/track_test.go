package rtpmedia

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/testdata/clips"
)

// Parameter sets, sequence headers and the start of key frames of
//
//	ffmpeg -f lavfi -i testsrc2=size=160x90:rate=30 -frames:v 1 -c:v …
//
// with libx264 -profile:v baseline -preset ultrafast, libx265 -preset
// ultrafast, libaom-av1 -usage realtime, libvpx and libvpx-vp9 (ffmpeg 5.1.9).
var (
	h264SPS = unhex("6742c00bda0a37e4c04400000300040000030 0f03c50aa80")
	h264PPS = unhex("68ce0fc8")
	h264IDR = unhex("6588843a0c6001408 0dd98a384aa922194a011c00ad360cc63")
	h264P   = unhex("419a0244afba1234 5678")

	h265VPS = unhex("40010c01ffff016000000300900000030000 03001e959409")
	h265SPS = unhex("42010101600000030090000003000003001ea0142061f26595952930bc05a02000000300200000 0303c1")
	h265PPS = unhex("4401c073c189")
	h265IDR = unhex("2801ac216 2bc487ea2ae1720c317f71b5d296192")
	h265P   = unhex("0201d0097ec91234567 8")

	av1Sequence = unhex("0a0a00000003b4fd936be401")
	av1Key      = unhex("320e1000840000 0208208800 00dd4ac9")
	av1Inter    = unhex("320830 14012345 6789ab")

	vp8Key   = unhex("70430 09d012aa0005a00000708858588858488020203")
	vp8Inter = unhex("71430 0aabbccddee")
	vp9Key   = unhex("824983420009f005960238241c184a0006207fd59e2f")
	vp9Inter = unhex("86004092880 0aabbcc")
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// take is a BroadcastWriter of one track that keeps its frames.
type take struct {
	format   media.Format
	frames   []media.Frame
	requests chan struct{}
	refuse   error
}

func (k *take) AddTrack(f media.Format) (media.TrackWriter, error) {
	k.format = f
	return k, k.refuse
}
func (k *take) Close(error)                       {}
func (k *take) KeyFrameRequests() <-chan struct{} { return k.requests }
func (k *take) WriteFrame(f media.Frame) error {
	k.frames = append(k.frames, f)
	return nil
}

// rig is a track under test with a packetizer in front.
type rig struct {
	*testing.T
	take  take
	drops ingest.Drops
	track *Track
	cut   *Packetizer
	now   time.Duration
}

func newRig(t *testing.T, f media.Format) *rig {
	t.Helper()
	r := &rig{T: t}
	r.take.requests = make(chan struct{}, 1)
	var err error
	r.track, err = NewTrack(TrackConfig{Format: f, Clock: NewClock(), Broadcast: &r.take, Drops: &r.drops})
	if err != nil {
		t.Fatal(err)
	}
	if f.SampleRate == 0 && f.Codec == media.AAC {
		f, err = codec.ParseDescription(f.Codec, f.Description)
		if err != nil {
			t.Fatal(err)
		}
	}
	if r.cut, err = NewPacketizer(&f, 96); err != nil {
		t.Fatal(err)
	}
	return r
}

// packets cuts a frame; a key frame brings its format.
func (r *rig) packets(f media.Frame) []*rtp.Packet {
	r.Helper()
	f.PTS = at(r.now)
	pkts, err := r.cut.Packets(f)
	if err != nil {
		r.Fatal(err)
	}
	return pkts
}

func (r *rig) push(pkts ...*rtp.Packet) {
	r.Helper()
	for _, p := range pkts {
		if err := r.track.Packet(p, after(r.now)); err != nil {
			r.Fatal(err)
		}
	}
	r.now += time.Second / 30
}

func (r *rig) counted(want map[ingest.Reason]uint64) {
	r.Helper()
	for _, reason := range ingest.Reasons() {
		if n := r.drops.Count(reason); n != want[reason] {
			r.Errorf("%v: %d, want %d", reason, n, want[reason])
		}
	}
}

// key and delta are frames as a source makes them: in canonical form.
func h264Key(size int) media.Frame {
	f, err := codec.H264Format([][]byte{h264SPS}, [][]byte{h264PPS})
	if err != nil {
		panic(err)
	}
	idr := append(bytes.Clone(h264IDR), bytes.Repeat([]byte{0x55}, size)...)
	return media.Frame{Key: true, Format: &f, Data: codec.AppendLengthPrefixed(nil, idr)}
}

func h264Delta(size int) media.Frame {
	p := append(bytes.Clone(h264P), bytes.Repeat([]byte{0xaa}, size)...)
	return media.Frame{Data: codec.AppendLengthPrefixed(nil, p)}
}

// Every codec survives the way through packets.
func TestRoundTrip(t *testing.T) {
	h265, err := codec.H265Format([][]byte{h265VPS}, [][]byte{h265SPS}, [][]byte{h265PPS})
	if err != nil {
		t.Fatal(err)
	}
	av1, err := codec.AV1Format(av1Sequence)
	if err != nil {
		t.Fatal(err)
	}
	pad := bytes.Repeat([]byte{0x5a}, 4000)
	long := func(b []byte) []byte { return append(bytes.Clone(b), pad...) }
	obu := func(b []byte) []byte { // a frame OBU of the payload of b, long
		body := long(b[2:])
		return append([]byte{0x32, byte(len(body)&127 | 128), byte(len(body) >> 7)}, body...)
	}
	for _, c := range []struct {
		format     media.Format
		key, delta []byte
	}{
		{*h264Key(0).Format, h264Key(4000).Data, h264Delta(10).Data},
		{h265, codec.AppendLengthPrefixed(nil, long(h265IDR)), codec.AppendLengthPrefixed(nil, h265P)},
		{av1, append(bytes.Clone(av1Sequence), obu(av1Key)...), av1Inter},
		{media.Format{Codec: media.VP8}, long(vp8Key), vp8Inter},
		{media.Format{Codec: media.VP9}, long(vp9Key), vp9Inter},
		{media.Format{Codec: media.Opus, Channels: 2}, []byte{0xfc, 1, 2, 3}, []byte{0xfc, 4, 5}},
		{media.Format{Codec: media.AAC, Description: []byte{0x11, 0x90}}, pad, []byte{1, 2, 3}},
		{media.Format{Codec: media.AC3, SampleRate: 48000}, clips.Audio(clips.AC3).Samples[0].Data, clips.Audio(clips.AC3).Samples[1].Data},
	} {
		t.Run(c.format.Codec.String(), func(t *testing.T) {
			r := newRig(t, media.Format{Codec: c.format.Codec, SampleRate: c.format.SampleRate, Channels: c.format.Channels, Description: descriptionIfAudio(c.format)})
			key := media.Frame{Key: true, Data: c.key}
			if c.format.Kind() == media.Video && c.format.Description != nil {
				key.Format = &c.format
			}
			sent := []media.Frame{key, {Data: c.delta}, key}
			for i := range sent {
				sent[i].PTS = at(r.now)
				r.push(r.packets(sent[i])...)
			}
			r.counted(nil)
			if len(r.take.frames) != len(sent) {
				t.Fatalf("%d frames of %d", len(r.take.frames), len(sent))
			}
			for i, got := range r.take.frames {
				if !bytes.Equal(got.Data, sent[i].Data) {
					t.Errorf("frame %d: %d bytes %.20x, want %d bytes %.20x", i, len(got.Data), got.Data, len(sent[i].Data), sent[i].Data)
				}
				if want := sent[i].Key || c.format.Kind() == media.Audio; got.Key != want || got.Key && got.Format == nil {
					t.Errorf("frame %d: key %v, format %v", i, got.Key, got.Format)
				}
				near(t, "frame", got.PTS, sent[i].PTS, 25*time.Microsecond) // a tick, rounded
			}
			if f := r.take.format; f.Codec != c.format.Codec || f.Kind() == media.Video && (f.Width != 160 || f.Height != 90) {
				t.Errorf("format %+v", f)
			}
		})
	}
}

func descriptionIfAudio(f media.Format) []byte {
	if f.Kind() == media.Audio {
		return f.Description
	}
	return nil
}

func (r *rig) keyWanted() bool {
	select {
	case <-r.track.keyWant:
		return true
	default:
		return false
	}
}

// newH264Rig is a rig through which a key frame has gone.
func newH264Rig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, media.Format{Codec: media.H264})
	if !r.track.LacksKey() {
		t.Error("a new track needs no key frame")
	}
	r.cut.format = h264Key(0).Format
	r.push(r.packets(h264Key(100))...)
	if r.track.LacksKey() || len(r.take.frames) != 1 {
		t.Fatal("the key frame did not get through")
	}
	return r
}

func TestLossHoldsFramesUntilTheNextKey(t *testing.T) {
	r := newH264Rig(t)
	damaged := r.packets(h264Delta(5000))
	r.push(append(damaged[:2:2], damaged[3:]...)...)
	if !r.keyWanted() || !r.track.LacksKey() {
		t.Error("no key frame is asked for")
	}
	r.push(r.packets(h264Delta(10))...)
	r.push(r.packets(h264Delta(10))...)
	if n := len(r.take.frames); n != 1 {
		t.Fatalf("%d frames came through without their reference", n-1)
	}
	r.push(r.packets(h264Key(10))...)
	r.push(r.packets(h264Delta(10))...)
	if n := len(r.take.frames); n != 3 || !r.take.frames[1].Key {
		t.Fatalf("%d frames after the key frame", n-1)
	}
	if r.keyWanted() {
		t.Error("a key frame is still asked for")
	}
	r.counted(map[ingest.Reason]uint64{ingest.PacketLost: 1, ingest.FrameDamaged: 1, ingest.FrameUndecodable: 2})
}

// The last packet of a frame is lost, and the first that comes is the start of
// a key frame: it must not be thrown away with the loss.
func TestLossBeforeAKeyFrame(t *testing.T) {
	r := newH264Rig(t)
	cut := r.packets(h264Delta(5000))
	r.push(cut[:len(cut)-1]...)
	r.push(r.packets(h264Key(5000))...)
	if n := len(r.take.frames); n != 2 {
		t.Errorf("%d frames, want both key frames", n)
	}
}

// The first packet of a key frame is lost: none of the rest may come through.
func TestLossInsideAKeyFrame(t *testing.T) {
	r := newH264Rig(t)
	cut := r.packets(h264Key(5000))
	r.push(cut[1:]...)
	if n := len(r.take.frames); n != 1 {
		t.Errorf("%d frames", n)
	}
	r.push(r.packets(h264Key(10))...)
	if n := len(r.take.frames); n != 2 {
		t.Errorf("%d frames after the next key frame", n)
	}
}

func TestPublisherCountsAnew(t *testing.T) {
	r := newH264Rig(t)
	pkts := r.packets(h264Key(10))
	for i := range pkts {
		pkts[i].SequenceNumber -= 20000
	}
	r.push(pkts...)
	if n := len(r.take.frames); n != 2 {
		t.Errorf("%d frames, the restart began with a key frame", n)
	}
	r.counted(map[ingest.Reason]uint64{ingest.FrameDamaged: 1})
}

func TestPaddingIsNoLoss(t *testing.T) {
	r := newH264Rig(t)
	p := r.packets(h264Delta(1))[0]
	p.Payload = nil
	r.push(p)
	r.push(r.packets(h264Delta(10))...)
	if n := len(r.take.frames); n != 2 {
		t.Errorf("%d frames", n)
	}
	r.counted(nil)
}

// Cameras that never set the marker bit end a frame by beginning the next.
func TestFramesWithoutMarker(t *testing.T) {
	r := newRig(t, media.Format{Codec: media.H264})
	r.cut.format = h264Key(0).Format
	for range 3 {
		pkts := r.packets(h264Key(3000))
		pkts[len(pkts)-1].Marker = false
		r.push(pkts...)
	}
	if n := len(r.take.frames); n != 2 {
		t.Fatalf("%d frames of 3 of which the last is open", n)
	}
	if d := r.take.frames[1].PTS.Sub(r.take.frames[0].PTS); (d - time.Second/30).Abs() > 25*time.Microsecond {
		t.Errorf("frames are %v apart", d)
	}
}

func TestMalformedPayloadIsCounted(t *testing.T) {
	r := newH264Rig(t)
	next := r.packets(h264Delta(1))[0]
	next.Payload = []byte{28} // FU-A without its header
	next.Marker = true
	r.push(next)
	r.counted(map[ingest.Reason]uint64{ingest.PacketMalformed: 1, ingest.FrameDamaged: 1})
	if !r.track.LacksKey() {
		t.Error("a damaged frame went unnoticed")
	}
}

// A unit that never ends, of fragments without bytes, must not grow for ever.
func TestEndlessUnit(t *testing.T) {
	r := newH264Rig(t)
	seq := r.packets(h264Delta(1))[0].SequenceNumber
	for i := range 2 * maxUnitPackets {
		body := []byte{0x7c, 0x05}
		if i == 0 {
			body = []byte{0x7c, 0x85, 1}
		}
		r.push(&rtp.Packet{Header: rtp.Header{SequenceNumber: seq + uint16(i), Timestamp: 7}, Payload: body})
	}
	if n := r.drops.Count(ingest.PacketMalformed); n == 0 {
		t.Error("taken")
	}
}

func TestParameterSetsFromSignalling(t *testing.T) {
	var drops ingest.Drops
	var k take
	track, err := NewTrack(TrackConfig{
		Format:        media.Format{Codec: media.H264},
		ParameterSets: [][]byte{h264SPS, h264PPS},
		Clock:         NewClock(), Broadcast: &k, Drops: &drops,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range [][]byte{h264P, h264IDR} { // joined in the middle
		pkt := &rtp.Packet{Header: rtp.Header{Marker: true, SequenceNumber: uint16(i)}, Payload: p}
		if err := track.Packet(pkt, epoch); err != nil {
			t.Fatal(err)
		}
	}
	if len(k.frames) != 1 || !k.frames[0].Key || k.format.Width != 160 {
		t.Errorf("%d frames, format %+v", len(k.frames), k.format)
	}
	if n := drops.Count(ingest.FrameUndecodable); n != 1 {
		t.Errorf("frame_undecodable %d", n)
	}
}

func TestKeyFrameWithoutParameterSets(t *testing.T) {
	r := newRig(t, media.Format{Codec: media.H264})
	r.push(&rtp.Packet{Header: rtp.Header{Marker: true}, Payload: h264IDR})
	r.counted(map[ingest.Reason]uint64{ingest.FrameNoConfig: 1})
}

func TestBroadcastRefuses(t *testing.T) {
	r := newRig(t, media.Format{Codec: media.VP8})
	r.take.refuse = ingest.ErrTakenOver
	err := r.track.Packet(r.packets(media.Frame{Key: true, Data: vp8Key})[0], epoch)
	if !errors.Is(err, ingest.ErrTakenOver) {
		t.Errorf("%v", err)
	}
}

func TestUnusableConfigurations(t *testing.T) {
	for name, c := range map[string]TrackConfig{
		"no codec":         {},
		"AAC unconfigured": {Format: media.Format{Codec: media.AAC}},
		"AAC header":       {Format: media.Format{Codec: media.AAC, Description: []byte{0x11, 0x90}}, AAC: AACPacking{SizeLength: 100}},
		"AAC no size":      {Format: media.Format{Codec: media.AAC, Description: []byte{0x11, 0x90}}, AAC: AACPacking{IndexLength: 3}},
	} {
		c.Clock, c.Broadcast = NewClock(), new(take)
		if _, err := NewTrack(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestKeyFrameLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, media.Format{Codec: media.H264})
		r.cut.format = h264Key(0).Format
		var asked atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.track.KeyFrameLoop(ctx, time.Second, func() error { asked.Add(1); return nil }) }()
		expect := func(when string, want int32) {
			t.Helper()
			synctest.Wait()
			if n := asked.Swap(0); n != want {
				t.Errorf("%s: asked %d times, want %d", when, n, want)
			}
		}
		expect("at the start", 1)
		time.Sleep(3500 * time.Millisecond)
		expect("3.5 s without an answer", 3)
		r.push(r.packets(h264Key(10))...)
		time.Sleep(10 * time.Second)
		expect("answered", 0)

		r.take.requests <- struct{}{}
		expect("a viewer needs one", 1)
		for range 29 { // viewers come all the time
			time.Sleep(100 * time.Millisecond)
			select {
			case r.take.requests <- struct{}{}:
			default:
			}
		}
		expect("2.9 s of demands", 2)
		time.Sleep(5 * time.Second)
		expect("the last demand", 1)
		time.Sleep(5 * time.Second)
		expect("no more demands", 0)

		lossy := r.packets(h264Delta(5000))
		r.push(lossy[1:]...)
		expect("a loss", 1)
		r.push(r.packets(h264Key(10))...)
		time.Sleep(5 * time.Second)
		expect("repaired", 0)

		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// pack builds an AAC payload in mode AAC-hbr.
func pack(units ...[]byte) []byte {
	p := []byte{byte(len(units) * 16 >> 8), byte(len(units) * 16)}
	for _, u := range units {
		p = append(p, byte(len(u)>>5), byte(len(u)<<3))
	}
	for _, u := range units {
		p = append(p, u...)
	}
	return p
}

func TestAACPackets(t *testing.T) {
	r := newRig(t, media.Format{Codec: media.AAC, Description: []byte{0x11, 0x90}}) // 48 kHz stereo
	var units [][]byte
	for i := range 12 {
		units = append(units, bytes.Repeat([]byte{byte(i)}, i+1))
	}
	r.push(&rtp.Packet{Header: rtp.Header{Marker: true}, Payload: pack(units...)})
	if len(r.take.frames) != 12 {
		t.Fatalf("%d frames of 12 in one packet", len(r.take.frames))
	}
	for i, f := range r.take.frames {
		if !bytes.Equal(f.Data, units[i]) {
			t.Errorf("access unit %d is %x", i, f.Data)
		}
		near(t, "access unit", f.PTS, at(time.Duration(i)*1024*time.Second/48000), time.Microsecond)
	}

	// "The AU size indicates the size of the entire AU and not the size of
	// the fragment" (RFC 3640, section 3.2.1.1): as ffmpeg sends it.
	whole := bytes.Repeat([]byte{7}, 2500)
	head := pack(whole)[:4]
	fragment := func(seq uint16, last bool, b []byte) *rtp.Packet {
		return &rtp.Packet{
			Header:  rtp.Header{SequenceNumber: seq, Timestamp: 20000, Marker: last},
			Payload: append(bytes.Clone(head), b...),
		}
	}
	r.push(fragment(1, false, whole[:1000]), fragment(2, false, whole[1000:2000]), fragment(3, true, whole[2000:]))
	if n := len(r.take.frames); n != 13 || !bytes.Equal(r.take.frames[12].Data, whole) {
		t.Fatalf("%d frames; the fragments did not come together", n)
	}
	// One fragment lost: the access unit is gone, the next is whole.
	r.push(fragment(4, false, whole[:1000]), fragment(6, true, whole[2000:]))
	r.push(&rtp.Packet{Header: rtp.Header{SequenceNumber: 7, Marker: true, Timestamp: 22048}, Payload: pack([]byte{1, 2})})
	if last := r.take.frames[len(r.take.frames)-1].Data; !bytes.Equal(last, []byte{1, 2}) {
		t.Errorf("after a lost fragment: %x", last)
	}
}

func TestAACMalformed(t *testing.T) {
	for name, p := range map[string][]byte{
		"one byte":        {0},
		"no headers":      {0, 0, 1, 2},
		"headers cut off": {0, 32, 0, 8},
		"odd header":      {0, 20, 0, 8, 0, 1},
		"unit cut off":    {0, 16, 1, 0, 5},
		"empty unit":      {0, 16, 0, 0, 5},
		"interleaved":     {0, 16, 0, 9, 5},
		"huge headers":    append([]byte{0xff, 0xff}, make([]byte, 100)...),
	} {
		d := aacDecoder{AACPacking: HBR}
		if units, err := d.Decode(&rtp.Packet{Header: rtp.Header{Marker: true}, Payload: p}); err == nil {
			t.Errorf("%s: %x", name, units)
		}
	}
	d := aacDecoder{AACPacking: HBR}
	var err error
	for range 200 {
		if _, err = d.Decode(&rtp.Packet{Payload: append([]byte{0, 16, 0xff, 0xf8}, make([]byte, 1000)...)}); !errors.Is(err, errMore) {
			break
		}
	}
	if errors.Is(err, errMore) || len(d.fragment) > maxAACSize {
		t.Errorf("an endless access unit of %d bytes: %v", len(d.fragment), err)
	}
}

// FuzzTrack feeds a track packets cut from data: the first byte picks the
// codec, then each packet is a length, flags, and payload.
func FuzzTrack(f *testing.F) {
	seed := func(c byte, pkts ...[]byte) {
		data := []byte{c}
		for _, p := range pkts {
			data = append(data, byte(len(p)), 0x80)
			data = append(data, p...)
		}
		f.Add(data)
	}
	seed(1, h264SPS, h264PPS, h264IDR, h264P)
	seed(1, append([]byte{24, 0, byte(len(h264SPS))}, h264SPS...), []byte{0x7c, 0x85, 1, 2}, []byte{0x7c, 0x45, 1, 2})
	seed(2, h265VPS, h265SPS, h265PPS, h265IDR, h265P, []byte{0x62, 1, 0x93, 1, 2}, []byte{0x60, 1, 0, 2, 1, 2})
	seed(3, append([]byte{0x28, byte(len(av1Sequence))}, append(bytes.Clone(av1Sequence), av1Key...)...), []byte{0x50, 1, 2}, []byte{0x90, 1})
	seed(4, append([]byte{0x8f, 0x80, 1}, vp9Key...), append([]byte{0x0c}, vp9Inter...))
	seed(5, append([]byte{0x10}, vp8Key...), append([]byte{0}, vp8Inter...))
	seed(6, []byte{0xfc, 1, 2})
	seed(7, pack([]byte{1, 2}, []byte{3}), []byte{0, 16, 1, 0, 5})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		format := media.Format{Codec: media.Codec(data[0]%8 + 1)}
		if format.Codec == media.AAC {
			format.Description = []byte{0x11, 0x90}
		}
		var k take
		var drops ingest.Drops
		track, err := NewTrack(TrackConfig{Format: format, Clock: NewClock(), Broadcast: &k, Drops: &drops})
		if err != nil {
			return
		}
		var order Reorderer
		var seq uint16
		var ts uint32
		for data = data[1:]; len(data) >= 2; {
			n, flags := int(data[0]), data[1]
			data = data[2:]
			n = min(n, len(data))
			seq += uint16(int8(flags<<4)>>4) + 1
			if flags&0x40 == 0 {
				ts += 3000
			}
			pkt := &rtp.Packet{
				Header:  rtp.Header{SequenceNumber: seq, Timestamp: ts, Marker: flags&0x80 != 0},
				Payload: data[:n],
			}
			data = data[n:]
			order.Push(pkt, epoch, func(p *rtp.Packet) {
				if err := track.Packet(p, epoch); err != nil {
					t.Fatal(err)
				}
			})
		}
		for i, frame := range k.frames {
			if len(frame.Data) == 0 || frame.Key && frame.Format == nil || i == 0 && !frame.Key {
				t.Fatalf("frame %d: %d bytes, key %v, format %v", i, len(frame.Data), frame.Key, frame.Format)
			}
		}
	})
}
