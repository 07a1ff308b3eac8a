package moq

import "context"

// notifier wakes all that wait for the next change. The channel exists only
// while somebody waits, so a change without waiters costs nothing. It is
// guarded by the mutex of the state that it belongs to.
type notifier struct{ ch chan struct{} }

// waitLocked returns a channel that is closed at the next change.
func (n *notifier) waitLocked() <-chan struct{} {
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *notifier) notifyLocked() {
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}

// await waits for changed or the end of ctx, whose cause it returns.
func await(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
