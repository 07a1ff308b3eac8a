// Package catalog reads and writes the two catalogs that describe a
// broadcast's tracks: that of the MOQT Streaming Format
// (draft-ietf-moq-msf, Track "catalog") and that of hang
// (draft-lcurley-moq-hang, Track "catalog.json"). Both become the same
// Catalog, so nothing behind this package cares which one a publisher wrote.
//
// MSF catalogs may be followed by delta updates; a Reader applies them.
package catalog
