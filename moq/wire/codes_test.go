package wire_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/freshet-live/freshet/moq/wire"
)

// TestCodeNames checks names and numbers against the tables of
// draft-ietf-moq-transport-18 and -19, section "Error Codes", -16 for what that
// has alone, and -22 for what is new there.
func TestCodeNames(t *testing.T) {
	for kind, tt := range map[string]struct {
		name  func(uint64) string
		table string
	}{
		"SessionCode": {func(c uint64) string { return wire.SessionCode(c).String() }, `
			NO_ERROR 0x0, INTERNAL_ERROR 0x1, UNAUTHORIZED 0x2, PROTOCOL_VIOLATION 0x3, INVALID_REQUEST_ID 0x4,
			DUPLICATE_TRACK_ALIAS 0x5, KEY_VALUE_FORMATTING_ERROR 0x6, TOO_MANY_REQUESTS 0x7, INVALID_PATH 0x8, MALFORMED_PATH 0x9,
			GOAWAY_TIMEOUT 0x10, CONTROL_MESSAGE_TIMEOUT 0x11, DATA_STREAM_TIMEOUT 0x12, AUTH_TOKEN_CACHE_OVERFLOW 0x13,
			DUPLICATE_AUTH_TOKEN_ALIAS 0x14, VERSION_NEGOTIATION_FAILED 0x15, MALFORMED_AUTH_TOKEN 0x16,
			UNKNOWN_AUTH_TOKEN_ALIAS 0x17, EXPIRED_AUTH_TOKEN 0x18, INVALID_AUTHORITY 0x19, MALFORMED_AUTHORITY 0x1A,
			TOO_MANY_REQUEST_UPDATES 0x1B`},
		"RequestCode": {func(c uint64) string { return wire.RequestCode(c).String() }, `
			INTERNAL_ERROR 0x0, UNAUTHORIZED 0x1, TIMEOUT 0x2, NOT_SUPPORTED 0x3, MALFORMED_AUTH_TOKEN 0x4,
			EXPIRED_AUTH_TOKEN 0x5, GOING_AWAY 0x6, EXCESSIVE_LOAD 0x9, DOES_NOT_EXIST 0x10, INVALID_RANGE 0x11,
			MALFORMED_TRACK 0x12, DUPLICATE_SUBSCRIPTION 0x19, UNINTERESTED 0x20, PREFIX_OVERLAP 0x30,
			NAMESPACE_TOO_LARGE 0x31, INVALID_JOINING_REQUEST_ID 0x32, UNSUPPORTED_EXTENSION 0x33, REDIRECT 0x34,
			CONFLICTING_FILTERS 0x35, INVALID_FILTER 0x36`},
		"PublishDoneCode": {func(c uint64) string { return wire.PublishDoneCode(c).String() }, `
			INTERNAL_ERROR 0x0, UNAUTHORIZED 0x1, TRACK_ENDED 0x2, SUBSCRIPTION_ENDED 0x3, GOING_AWAY 0x4,
			TOO_FAR_BEHIND 0x5, EXPIRED 0x6, UPDATE_FAILED 0x8, EXCESSIVE_LOAD 0x9, MALFORMED_TRACK 0x12`},
		"ResetCode": {func(c uint64) string { return wire.ResetCode(c).String() }, `
			INTERNAL_ERROR 0x0, CANCELLED 0x1, DELIVERY_TIMEOUT 0x2, SESSION_CLOSED 0x3, GOING_AWAY 0x4,
			TOO_FAR_BEHIND 0x5, UNKNOWN_OBJECT_STATUS 0x6, EXPIRED_AUTH_TOKEN 0x7, EXCESSIVE_LOAD 0x9, MALFORMED_TRACK 0x12`},
		"ParamType": {func(c uint64) string { return wire.ParamType(c).String() }, `
			OBJECT_DELIVERY_TIMEOUT 0x02, AUTHORIZATION_TOKEN 0x03, RENDEZVOUS_TIMEOUT 0x04, SUBGROUP_DELIVERY_TIMEOUT 0x06,
			EXPIRES 0x08, LARGEST_OBJECT 0x09, FILL_TIMEOUT 0x0A, FORWARD 0x10, SUBSCRIBER_PRIORITY 0x20,
			LOCATION_FILTER 0x21, GROUP_ORDER 0x22, FILL_PARAMETERS 0x23, INCLUDE_PROPERTIES 0x35, SUBGROUP_FILTER 0x25, OBJECTID_FILTER 0x26, PRIORITY_FILTER 0x27,
			OBJECT_PROPERTY_FILTER 0x28, TRACK_PROPERTY_FILTER 0x29, NEW_GROUP_REQUEST 0x32, TRACK_NAMESPACE_PREFIX 0x34`},
		"AliasType": {func(c uint64) string { return wire.AliasType(c).String() }, `
			DELETE 0x0, REGISTER 0x1, USE_ALIAS 0x2, USE_VALUE 0x3`},
		"MessageType": {func(c uint64) string { return wire.MessageType(c).String() }, `
			REQUEST_UPDATE 0x2, SUBSCRIBE 0x3, SUBSCRIBE_OK 0x4, REQUEST_ERROR 0x5, PUBLISH_NAMESPACE 0x6, REQUEST_OK 0x7,
			NAMESPACE 0x8, PUBLISH_NAMESPACE_DONE 0x9, UNSUBSCRIBE 0xA, PUBLISH_DONE 0xB, PUBLISH_NAMESPACE_CANCEL 0xC,
			UNSUBSCRIBE_NAMESPACE 0x14, MAX_REQUEST_ID 0x15, FETCH_CANCEL 0x17, REQUESTS_BLOCKED 0x1A, TRACK_STATUS 0xD, NAMESPACE_DONE 0xE, PUBLISH_SKIPPED 0xF, GOAWAY 0x10,
			FETCH 0x16, FETCH_OK 0x18, PUBLISH 0x1D, PUBLISH_STATE_NOTIFY 0x22, SUBSCRIBE_NAMESPACE 0x50, SUBSCRIBE_TRACKS 0x51, SETUP 0x2F00`},
	} {
		names := make(map[uint64]string)
		for entry := range strings.SplitSeq(tt.table, ",") {
			var name string
			var code uint64
			if _, err := fmt.Sscanf(strings.TrimSpace(entry), "%s 0x%x", &name, &code); err != nil {
				t.Fatal(kind, entry, err)
			}
			names[code] = name
		}
		for code := range uint64(0x3000) {
			want, ok := names[code]
			if !ok {
				want = fmt.Sprintf("%s(%#x)", kind, code)
			}
			if got := tt.name(code); got != want {
				t.Errorf("%s %#x is called %q, want %q", kind, code, got, want)
			}
		}
	}
}
