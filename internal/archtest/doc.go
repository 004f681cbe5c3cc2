// Package archtest holds the tests that keep the shape of the code base: which
// package may import which, where third-party modules enter, and which packages
// have no clock and no randomness. It has no code of its own; the table to edit
// when a package is added is in rules_test.go.
package archtest
