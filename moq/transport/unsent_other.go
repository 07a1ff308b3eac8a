//go:build !linux

package transport

// setUnsentLimit does nothing where the system has no such limit, or another.
func setUnsentLimit(uintptr, int) {}
