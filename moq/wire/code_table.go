package wire

import "github.com/freshet-live/freshet/moq"

// codeTable pairs the numbers that a code has on the wire in an older draft
// with those of memory, which are the numbers of draft 18. A nil table stands
// for equal numbers.
type codeTable []struct{ wire, memory uint64 }

// foreign marks a number in memory that the draft of the peer does not define
// and that must not be taken for the code which has that number elsewhere.
// "An unknown error code" is treated as INTERNAL_ERROR by whoever reads it.
const foreign = 1 << 63

// parse returns the code in memory.
func (t codeTable) parse(n uint64) uint64 {
	if t == nil {
		return n
	}
	for _, c := range t {
		if c.wire == n {
			return c.memory
		}
	}
	return n | foreign
}

// number returns the number on the wire; false when the draft has none.
func (t codeTable) number(code uint64) (uint64, bool) {
	if t == nil {
		return code, true
	}
	for _, c := range t {
		if c.memory == code {
			return c.wire, true
		}
	}
	if n := code &^ foreign; n != code && n <= maxQUICVarint && t.parse(n) == code {
		return n, true
	}
	return 0, false
}

// doneCodes16 are the PUBLISH_DONE codes of draft 16, where two numbers are
// the other way round.
var doneCodes16 = codeTable{
	{0x0, uint64(DoneInternalError)},
	{0x1, uint64(DoneUnauthorized)},
	{0x2, uint64(DoneTrackEnded)},
	{0x3, uint64(DoneSubscriptionEnded)},
	{0x4, uint64(DoneGoingAway)},
	{0x5, uint64(DoneExpired)},
	{0x6, uint64(DoneTooFarBehind)},
	{0x8, uint64(DoneUpdateFailed)},
	{0x12, uint64(DoneMalformedTrack)},
}

// resetCodes16 are the stream reset codes of draft 16.
var resetCodes16 = codeTable{
	{0x0, uint64(ResetInternalError)},
	{0x1, uint64(ResetCancelled)},
	{0x2, uint64(ResetDeliveryTimeout)},
	{0x3, uint64(ResetSessionClosed)},
	{0x4, uint64(ResetUnknownObjectStatus)},
	{0x12, uint64(ResetMalformedTrack)},
}

// ResetNumber returns the application error code with which the draft says c
// in RESET_STREAM and STOP_SENDING. What it cannot say becomes
// INTERNAL_ERROR.
func (d Draft) ResetNumber(c ResetCode) uint64 {
	r := d.rules()
	if r == nil {
		return uint64(ResetInternalError)
	}
	n, ok := r.resetCodes.number(uint64(c))
	if !ok || n > maxQUICVarint { // what QUIC can carry
		return uint64(ResetInternalError)
	}
	return n
}

// ResetCode returns what the application error code n of RESET_STREAM or
// STOP_SENDING means in the draft. A number that the draft does not define
// gives a ResetCode that none of the constants equals.
func (d Draft) ResetCode(n uint64) ResetCode {
	r := d.rules()
	if r == nil {
		return ResetCode(n)
	}
	return ResetCode(r.resetCodes.parse(n))
}

// CheckObjectProperties is the function of that name with what the draft says
// about Mandatory Track Properties, which drafts before 18 do not have.
func (d Draft) CheckObjectProperties(l moq.Location, p moq.Properties) error {
	c := objectPropertyCheck{anyType: !d.Dialect().MandatoryProperties}
	return c.check(l, p)
}

// UnknownMandatory is the function of that name; in drafts before 18 no
// Property is mandatory.
func (d Draft) UnknownMandatory(p moq.Properties) (typ uint64, ok bool) {
	if !d.Dialect().MandatoryProperties {
		return 0, false
	}
	return UnknownMandatory(p)
}
