package transport

import "syscall"

// tcpNotSentLowat is TCP_NOTSENT_LOWAT of linux/tcp.h, which package syscall
// lacks.
const tcpNotSentLowat = 25

func setUnsentLimit(fd uintptr, n int) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat, n)
}
