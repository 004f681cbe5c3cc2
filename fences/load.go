package fences

// Load reads a file, or every fence file of a folder.
func Load(path string, o Options) ([]Fence, []Finding, error) { return nil, nil, nil }
