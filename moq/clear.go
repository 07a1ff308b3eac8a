package moq

// Clear evicts all that the Track retains, the newest Group too: what is old
// would otherwise be the first thing that a reader gets after a pause. Readers
// that have not read it get ErrTooFarBehind and wait for the next Group, whose
// ID must be larger than all before.
func (w *TrackWriter) Clear() {
	w.t.mu.Lock()
	w.t.unlockAndEvictWhile(func() bool { return true })
}
