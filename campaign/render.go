package campaign

import "time"

// Content is a rendered push.
type Content struct {
	Title    string            `json:"title,omitempty"`
	Subtitle string            `json:"subtitle,omitempty"`
	Body     string            `json:"body,omitempty"`
	Image    string            `json:"image,omitempty"`
	Link     string            `json:"link,omitempty"`
	Sound    string            `json:"sound,omitempty"`
	Thread   string            `json:"thread,omitempty"`
	Data     map[string]string `json:"data,omitempty"`
	Locale   string            `json:"locale"`
}

// RenderContext is what a template can read. It survives a JSON round trip, so a delivery can carry it.
type RenderContext struct {
	Device   map[string]any `json:"device,omitempty"`
	Person   map[string]any `json:"person,omitempty"`
	Store    map[string]any `json:"store,omitempty"`
	Fence    map[string]any `json:"fence,omitempty"`
	Campaign map[string]any `json:"campaign,omitempty"`
	Event    map[string]any `json:"event,omitempty"`
	Now      time.Time      `json:"now"`
}

// Render fills the campaign's template for a locale.
func (c *Campaign) Render(locale string, rc RenderContext) (Content, error) { return Content{}, nil }
