// Package boot starts the processes of freshet: it reads their settings,
// makes their parts and joins them, and stops them on a signal. It is the
// only place that knows all parts.
package boot
