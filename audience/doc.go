// Package audience keeps what is known about devices and the people behind
// them: the registration that an app sends (push token, locale, zone, tags,
// consent) and, later, segments over it. It decides nothing and sends nothing.
//
// A [Profile] changes in two ways only: by [Profile.Merge], the partial update
// that the subject device.<app>.<device> carries, and by the outbox, which sets
// TokenDead when a provider refuses the token for good. Profiles live in the
// ledger, in the transaction of their caller ([Get], [Put], [DevicesOf],
// [Erase]).
//
// Times are receive times in Unix milliseconds, handed in by the caller; the
// package reads no clock.
package audience
