// Package browsertest runs the TypeScript client in a real Chromium against a real gateway. It has tests only; page.mjs
// is the page.
package browsertest
