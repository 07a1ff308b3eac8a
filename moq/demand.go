package moq

// Demand is what the readers of a Track want, as its writer sees it.
type Demand struct {
	// Readers is how many TrackReaders are open.
	Readers int
	// Joined counts all TrackReaders that were ever opened, so that a writer
	// notices a late joiner even when another reader left meanwhile.
	Joined uint64
	// NewGroup is the largest Group ID asked for by RequestNewGroup, 0 when
	// none was.
	NewGroup uint64
}

// Demand returns what the readers want now.
func (w *TrackWriter) Demand() Demand {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	return w.t.demand
}

// DemandChanged returns a channel that is closed at the next change of
// Demand and at the end of the Track. Take it before reading Demand.
func (w *TrackWriter) DemandChanged() <-chan struct{} {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	return w.t.demandChanged.waitLocked()
}

// RequestNewGroup asks the original publisher to begin a new Group soon. id is
// the largest Group that the reader knows, plus 1, or 0 when it knows none
// (draft-ietf-moq-transport-18, section "NEW GROUP REQUEST Parameter"). One
// that is larger than the Group after the largest here counts as that: "there
// are no requirements that it be equal to the NEW_GROUP_REQUEST parameter
// value", and it would outbid all later requests.
func (t *Track) RequestNewGroup(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := uint64(1)
	if t.begun {
		next = groupAfter(t.largest.Group)
	}
	if id == 0 || id > next {
		id = next
	}
	if id > t.demand.NewGroup {
		t.demand.NewGroup = id
		t.demandChanged.notifyLocked()
	}
}
