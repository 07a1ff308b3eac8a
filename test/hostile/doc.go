// Package hostile throws garbage at every port of a running freshet: random
// bytes, truncated and oversized messages, wrong credentials. Whatever comes,
// the answer is the documented close code or HTTP status, those who behave
// are served as before, and the process neither panics nor races.
package hostile
