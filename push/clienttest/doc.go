// Package clienttest lets programs that we did not write talk to the push
// fakes, and to our connection pool: the APNs and FCM clients of other vendors
// (@parse/node-apn, firebase-admin), the HTTP/2 conformance suite h2spec, and
// nghttpx as a server. What they agree on with us is more likely to be what the
// real services do. It has tests only.
//
// The clients come from npm, at the versions and checksums of
// package-lock.json; h2spec is a tool of tools.mod; nghttpx is looked for on
// this machine. What cannot be had is skipped, except under CI.
package clienttest
