// Package crashtest holds the test that kills the real gateway, again and again at random moments, and compares
// what came of the input with an uninterrupted run. There is nothing in it but tests.
package crashtest
