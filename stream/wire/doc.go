// Package wire is the one definition of what Footfall says and hears over NATS: subjects,
// payloads, replies, and the compact batch that the input log stores.
//
// A payload passes through here once, in the collector:
//
//	subject ─▶ ParseSubject ─▶ DecodePings | DecodeFeed | DecodeOwnTracks | CheckPayload
//	                                     │ track.Fix, or a refusal with a code
//	                                     ▼
//	                AppendRecord … SealBatch ─▶ log.<nn> ─▶ BatchReader ─▶ partition worker
//
// The package knows no NATS client, no clock and no policy. It refuses what no configuration
// could make meaningful (wrong types, latitude 91, a time in seconds); whether a well-formed fix
// is believed (null island, mock location, future, too old) is track.CheckFix's decision.
//
// docs/protocol.md is the same contract in prose for the people who write SDKs, and
// docs/protocol/vectors.json holds the vectors that both sides run.
package wire
