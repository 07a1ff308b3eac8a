// Package moqtest helps to test what speaks MoQ: an in-memory connection whose
// two ends behave as QUIC does ([NewPipe]), a real one over a simulated network
// with delay, loss and a bandwidth ([NewSim]), and the suite that every
// transport.Conn has to pass ([TestConn]), the in-memory one included.
//
// The in-memory connection starts no goroutines and reads no clock but for read
// deadlines, so that it works inside a bubble of testing/synctest. So does the
// simulated network, whose time is then virtual.
package moqtest
