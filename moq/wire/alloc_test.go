package wire_test

import (
	"testing"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/wire"
)

// TestObjectHeaderAllocs guards the forward path of a relay: an Object header
// costs nothing to write, and to read only its Properties, once.
func TestObjectHeaderAllocs(t *testing.T) {
	const d = wire.Draft18
	timestamp := moq.Properties{{Type: 0x10, Value: 1795502400000000}}
	for _, tt := range []struct {
		name  string
		h     wire.SubgroupHeader
		o     wire.ObjectHeader
		parse float64
	}{
		{"no properties", wire.SubgroupHeader{}, wire.ObjectHeader{ID: 300, Size: 16 << 10}, 0},
		{"empty properties", wire.SubgroupHeader{Properties: true}, wire.ObjectHeader{ID: 300, Size: 16 << 10}, 0},
		{"timestamp", wire.SubgroupHeader{Properties: true}, wire.ObjectHeader{ID: 300, Size: 16 << 10, Properties: timestamp}, 1},
		{"timestamp and configuration", wire.SubgroupHeader{Properties: true}, wire.ObjectHeader{ID: 300, Size: 16 << 10,
			Properties: append(moq.Properties{{Type: 0x0D, Bytes: make([]byte, 40)}}, timestamp...)}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			buf := make([]byte, 0, 128)
			var b []byte
			var err error
			if n := testing.AllocsPerRun(100, func() {
				b, err = d.AppendObjectHeader(buf, &tt.h, 298, false, tt.o)
			}); n != 0 || err != nil {
				t.Errorf("AppendObjectHeader: %v allocations, %v", n, err)
			}
			if n := testing.AllocsPerRun(100, func() {
				_, _, err = d.ParseObjectHeader(b, &tt.h, 298, false)
			}); n != tt.parse || err != nil {
				t.Errorf("ParseObjectHeader: %v allocations, want %v; %v", n, tt.parse, err)
			}
			if n := testing.AllocsPerRun(100, func() {
				_, _, err = d.ParseObjectHeader(b[:len(b)-1], &tt.h, 298, false)
			}); n != 0 || err != wire.ErrShort {
				t.Errorf("ParseObjectHeader of a part: %v allocations, %v", n, err)
			}
		})
	}

	it := wire.FetchItem{Location: moq.Location{Group: 1, Object: 1}, Size: 5}
	buf := make([]byte, 0, 128)
	if n := testing.AllocsPerRun(100, func() {
		var w, r wire.FetchCursor
		b, _ := d.AppendFetchItem(buf, &w, it)
		if got, _, err := d.ParseFetchItem(b, &r); err != nil || got.Size != 5 {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("fetch item: %v allocations", n)
	}
	g := wire.Datagram{Alias: 1, Payload: buf[:100]}
	big := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() {
		b, _ := d.AppendDatagram(big, g)
		if _, _, err := d.ParseDatagram(b); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("datagram: %v allocations", n)
	}
	header := wire.SubgroupHeader{Alias: 1, Group: 1795502400000}
	if n := testing.AllocsPerRun(100, func() {
		b, _ := d.AppendSubgroupHeader(buf, header)
		if _, _, err := d.ParseSubgroupHeader(b); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("subgroup header: %v allocations", n)
	}
}

func BenchmarkParseObjectHeader(b *testing.B) {
	h := wire.SubgroupHeader{Properties: true}
	o := wire.ObjectHeader{ID: 300, Size: 16 << 10, Properties: moq.Properties{{Type: 0x10, Value: 1795502400000000}}}
	buf, err := wire.Draft18.AppendObjectHeader(nil, &h, 298, false, o)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := wire.Draft18.ParseObjectHeader(buf, &h, 298, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendObjectHeader(b *testing.B) {
	h := wire.SubgroupHeader{Properties: true}
	o := wire.ObjectHeader{ID: 300, Size: 16 << 10, Properties: moq.Properties{{Type: 0x10, Value: 1795502400000000}}}
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.Draft18.AppendObjectHeader(buf, &h, 298, false, o); err != nil {
			b.Fatal(err)
		}
	}
}
