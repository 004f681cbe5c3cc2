// Package simulate runs scenarios: text files that say which fences there are,
// what devices send and what must come of it. README.md describes the language;
// anyone who can read a scenario can write one.
//
// A test calls Run with the folder of its scenarios:
//
//	func TestScenarios(t *testing.T) { simulate.Run(t, "testdata/scenarios") }
//
// Time in a scenario is event time only, so days pass in microseconds. Run plays
// every case three times: as written, with every device's state written to its
// row and read back before each input, and with each input delivered twice. All
// three must give the same.
//
// Other packages add statements and outcomes of their own through Extension.
package simulate
