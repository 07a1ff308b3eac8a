// Package web carries the built web app (lobby, viewer, studio and dashboard) inside the binary.
//
// The app is TypeScript, built by Vite into dist. A Go build without that step still compiles: it embeds an empty
// app, and [Assets] returns nil.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Assets returns the files of the built web app with index.html at the root, or nil when the binary was built
// without them. All paths that are no file of the app belong to index.html, which routes them in the browser.
func Assets() fs.FS {
	app, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil
	}
	if _, err := fs.Stat(app, "index.html"); err != nil {
		return nil
	}
	return app
}
