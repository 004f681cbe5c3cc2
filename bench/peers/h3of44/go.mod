// A module of its own, because it needs another version of the H3 binding than the product pins: the one
// that the goals of docs/performance.md were set with.
module footfall/bench/peers/h3of44

go 1.26.8

require github.com/uber/h3-go/v4 v4.4.0
