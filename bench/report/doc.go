// Package report holds what a load test found: its latencies, its verdict, the file it is kept in, and the page that
// shows it. It measures nothing itself.
package report
