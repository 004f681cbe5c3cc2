// Package receipt keeps what became of a message after the provider took it: what the phone reports (delivered,
// displayed, opened, …) and the purchases that a till or an order system can tie to the message by its code.
//
// # Who may speak
//
// Every message carries a key, "k", in the gateway's own object of the payload. Only whoever has the message has its
// key, so a receipt with the right one comes from the phone that got it. The key needs no storage:
//
//	app secret = HMAC-SHA256(secret, "footfall receipt v1|" + app)
//	k          = base64url, without padding, of the first 16 bytes of HMAC-SHA256(app secret, mid + "|" + device)
//	code       = 10 characters of 0-9 A-Z without I L O U: the first 50 bits of HMAC-SHA256(app secret, "code|" + mid)
//
// where app and device are those of the subject. A [Keyring] holds one secret, or two while one is being replaced: it
// signs with the first and accepts both. docs/protocol/receipt-vectors.json has golden values.
//
// # What is kept
//
// The facts about one message are one row of the ledger, next to its delivery. A [Fact] is named by (ev, ref); a
// second report of the same name changes nothing unless it is the earlier one. Adding facts is commutative and
// idempotent, so receipts may come twice, late and in any order, and the row is the same.
//
// A phone's clock is not trusted: a time more than [MaxAhead] after the receipt arrived is taken as that, one before the
// message was made as when it was made.
package receipt
