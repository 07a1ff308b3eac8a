package moq_test

import (
	"io"
	"testing"

	"github.com/freshet-live/freshet/moq"
)

func TestBroadcast(t *testing.T) {
	b := moq.NewBroadcast(testName.Namespace)
	if _, err := b.CreateTrack("video0", moq.TrackConfig{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.CreateTrack("video0", moq.TrackConfig{}); err != moq.ErrDuplicate {
		t.Errorf("same name again: %v", err)
	}
	track, ok := b.Track("video0")
	if !ok || !track.Name().Namespace.Equal(testName.Namespace) {
		t.Fatalf("track %v %v", track, ok)
	}
	if _, ok := b.Track("audio0"); ok {
		t.Error("a track that does not exist was found")
	}
	b.Close(nil)
	<-b.Done()
	if track.Err() != io.EOF {
		t.Errorf("track after the end of its broadcast: %v", track.Err())
	}
	if _, err := b.CreateTrack("audio0", moq.TrackConfig{}); err != moq.ErrEnded {
		t.Errorf("create after the end: %v", err)
	}
}
