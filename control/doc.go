// Package control holds the rules of the control plane: rooms, who may
// publish to them and who may watch. It knows no SQL, no HTTP and no MoQ and
// imports nothing else of freshet; control/store keeps what it decides on and
// control/api is its door.
package control
