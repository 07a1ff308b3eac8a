package boot

// Version is set by the build; it is told to peers and in logs.
var Version = "devel"
