package moq

import "slices"

// Code points of the Properties that the model itself reads
// (draft-ietf-moq-transport-18, section "MOQT Properties").
const (
	PropertyObjectDeliveryTimeout    uint64 = 0x02 // milliseconds
	PropertyMaxCacheDuration         uint64 = 0x04 // milliseconds
	PropertySubgroupDeliveryTimeout  uint64 = 0x06 // milliseconds
	PropertyImmutable                uint64 = 0x0B
	PropertyDefaultPublisherPriority uint64 = 0x0E
	PropertyDefaultGroupOrder        uint64 = 0x22
	PropertyDynamicGroups            uint64 = 0x30
	PropertyPriorGroupIDGap          uint64 = 0x3C
	PropertyPriorObjectIDGap         uint64 = 0x3E
)

// Property is one Track or Object Property. An even Type carries Value, an
// odd one carries Bytes.
type Property struct {
	Type  uint64
	Value uint64
	Bytes []byte
}

// Properties are kept in the order in which they were written; a Type may
// appear more than once where its specification allows that. They are
// immutable once they belong to a Track or an Object.
type Properties []Property

// Get returns the first Property of the given type.
func (p Properties) Get(typ uint64) (Property, bool) {
	for i := range p {
		if p[i].Type == typ {
			return p[i], true
		}
	}
	return Property{}, false
}

// Sorted returns p in ascending order of types, which is how delta-coded
// types travel; p itself when it already is.
func (p Properties) Sorted() Properties {
	byType := func(a, b Property) int {
		switch {
		case a.Type < b.Type:
			return -1
		case a.Type > b.Type:
			return 1
		}
		return 0
	}
	if slices.IsSortedFunc(p, byType) {
		return p
	}
	s := slices.Clone(p)
	slices.SortStableFunc(s, byType)
	return s
}

// size is an upper bound of the encoded length in any draft, in bytes.
func (p Properties) size() int {
	n := 0
	for i := range p {
		n += 18 + len(p[i].Bytes)
	}
	return n
}
