// Package journey leads people through several steps: it waits, looks at what they do, divides them, and says when a
// push is owed. The model and its YAML form ([Read]), and one pure function that moves a person on ([Journey.Step]).
//
//	             Enter                        a wait is over, or what it waits for happens
//	none ────────────────▶ waiting at a step ──────────────────────────────────────────────┐
//	  ▲                        ▲      │                                                    │
//	  │ re-entry rule          └──────┼───────────── the next step that waits ◀────────────┤
//	  │                               ▼                                                    ▼
//	  └──────────────────────────── ended: finished, exit, goal, stopped ◀─────────── no more steps
//
// A [Run] is one person's way through one journey. Everything that is known of it is one row of the ledger, and a wait
// with an end has a timer there: a key ordered by when it is due, in one of [Shards] parts, so that a million runs wait
// without memory and the next ones are found without looking at others. Row and timer are written in the transaction of
// the input that caused the change ([Put], [Due]).
//
// A run keeps the version of its journey under which it began, whatever becomes of the files ([Store], [Load]), until
// an operator migrates it ([Journey.Migrate]).
//
// The package reads no clock: now is the time of the transaction. It sends nothing: what a step wants done comes back as
// [Effect]s.
package journey
