package session

// Joined is closed once the Joining FETCH of a subscription with
// SubscribeOptions.Join has ended, well or not, so that no Object before the
// live edge is still to come. Without Join it is closed from the start. It may
// stay open when the subscription ends first.
func (p *Subscription) Joined() <-chan struct{} {
	if j := p.in.join; j != nil {
		return j.done
	}
	return closed
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()
