//go:build !unix

package dvr

import "os"

// lock does nothing where there are no advisory locks.
func lock(*os.File) error { return nil }
