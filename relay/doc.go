// Package relay is the media-blind node of the tree: it accepts MoQ sessions,
// authorises them, learns which Namespaces can be had from whom, pulls each
// Track once however many subscribers ask for it, keeps its live edge, and
// fans it out.
//
// A Track can come from four places, asked in this order: a Broadcast of
// this process (Publish), a Track that a session offers by PUBLISH, a session
// that has announced the Namespace by PUBLISH_NAMESPACE, and the upstream
// nodes. The node never looks into an Object.
package relay
