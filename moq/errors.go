package moq

import (
	"errors"
	"fmt"
)

// Errors of the model.
var (
	// ErrTooFarBehind tells a reader that what it was about to read has been
	// evicted. It goes on with a newer Group by reading again.
	ErrTooFarBehind = errors.New("moq: reader is too far behind")
	// ErrEvicted tells a writer that the Group is older than what the Track
	// retains. Writing a newer Group works.
	ErrEvicted = errors.New("moq: group has been evicted")
	// ErrEnded is returned by writes to a Track, Group or Subgroup that has
	// ended.
	ErrEnded = errors.New("moq: already ended")
	// ErrDuplicate is returned for a Subgroup that has a writer or has been
	// written to its end, and for a Track that exists.
	ErrDuplicate = errors.New("moq: already exists")
	// ErrObjectOrder is returned when Object IDs of a Subgroup do not
	// increase, or when a Group already has an end before the Object.
	ErrObjectOrder = errors.New("moq: object out of order")
	// ErrObjectSize is returned when an Object is larger than the Track
	// allows, or when more or less payload is written than was announced.
	ErrObjectSize = errors.New("moq: object size")
	// ErrTooManySubgroups is returned when a Group has MaxSubgroups.
	ErrTooManySubgroups = errors.New("moq: too many subgroups")
)

// ResetError tells that the publisher gave up on a Subgroup: Objects after
// the last one read may exist and will not come on this Subgroup.
type ResetError struct {
	// Code is a stream reset code of the draft (section "Stream Reset Error
	// Codes").
	Code uint64
}

// Error returns the code as text.
func (e *ResetError) Error() string {
	return fmt.Sprintf("moq: subgroup was reset with code %#x", e.Code)
}
