package campaign

import "github.com/goccy/go-yaml/ast"

// A Document is one YAML document of a kind that another package reads.
type Document struct {
	s    *source
	node ast.Node
}
