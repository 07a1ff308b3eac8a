// Package api is the HTTP door of the control plane: /v1, /config.json,
// /certificate.sha256, the JWKS, and the web app.
//
// Errors are RFC 9457 problems with a stable code in "code". The package
// knows no MoQ: what it needs of the media side it is given as small
// interfaces.
package api
