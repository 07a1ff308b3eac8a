//go:build unix

package ladder

import "syscall"

// niceness puts ffmpeg behind the node where both want the same processor: a
// rendition that is late hurts its own viewers, a node that is late all of them.
const niceness = 5

// yield lowers the priority of a process that has just been started. What
// threads it begins later inherit that. It is no loss if it fails.
func yield(pid int) { _ = syscall.Setpriority(syscall.PRIO_PROCESS, pid, niceness) }
