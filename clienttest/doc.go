// Package clienttest lets a NATS client that we did not write talk to a gateway: the official Node client, as an
// app built on it would. It has tests only; publish.mjs is the app.
//
// The client comes from npm, at the versions and checksums of package-lock.json. With node_modules beside this
// file (npm ci) the test needs no network; otherwise it installs into the user's cache folder, once per lock file.
package clienttest
