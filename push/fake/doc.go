// Package fake holds stand-ins for the two push services, Apple's APNs and
// Google's FCM, together with a model of the phones behind them.
//
// They are product code: `footfall demo` runs on them, the tests and the
// benchmarks do, and anybody can try a gateway (or a push client in another
// language) without an Apple or Google account. They speak the real protocols
// over TLS on the loopback interface, check what the real services check, and
// fail in the ways that the real services fail, on command:
//
//   - [APNs] is an HTTP/2 server built on raw frames, since a general server
//     can neither change its stream limit in the middle of a connection, nor
//     send GOAWAY with a chosen stream, nor fall silent and keep the socket.
//   - [FCM] is the HTTP v1 endpoint and, on the same port, the OAuth token
//     endpoint that its service account file points to.
//   - [PhoneBook] is what the people see. It applies collapse ids, tags, time
//     to live and the stores of the services, so that a test can ask "what is
//     on the screen?" and not merely "was a request made?".
//
// # From another language
//
// WriteFiles of either fake writes the CA certificate, the credentials and a
// small JSON file with the addresses into a folder:
//
//	apns-ca.pem  AuthKey_<key id>.p8  apns.json
//	fcm-ca.pem   service-account.json fcm.json
//
// A client has to be told three things: the address, the CA to trust (most
// runtimes take it from an environment variable such as NODE_EXTRA_CA_CERTS
// or SSL_CERT_FILE) and the key file.
//
// # In fake time
//
// A real socket stops the clock of a testing/synctest bubble. [MemListener] is
// a listener in memory: pass it as Listener, and its DialContext to the client.
//
// # Bounds
//
// The fakes take input from anybody who can reach the port. Connections,
// streams, header lists, bodies, frames waiting for a slow reader, provider and
// access tokens, counted message ids and reasons, phones and the text on their
// screens all have limits, stated where they are declared. Connections have no
// idle limit; MaxConnections is the bound.
//
// # What is not modelled
//
// Whether the real services refuse or queue streams opened too early, and
// whether a replaced notification sounds again, is not known to us; the fakes
// take the less pleasant reading. Broadcast channels, topic subscription
// (a message to a topic is accepted and reaches no phone), web push and iPhones
// behind FCM, and the legacy APIs are absent. The FCM fake runs on net/http,
// which refuses a malformed :scheme that Google's servers let pass; the HTTP/2
// side of firebase-admin for Node sends one.
package fake
