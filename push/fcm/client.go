package fcm

import (
	"context"

	"firebase.google.com/go/v4/messaging"
	"google.golang.org/api/option"
)

// clientConfig is the SDK's internal.MessagingConfig, field by field: nobody
// outside the SDK can name that type, but a type parameter can be it. A change
// of the struct in a later version fails the build, here.
//
// The way round through the root package costs 15 MB of binary: it pulls in
// Firestore and Storage.
type clientConfig struct {
	Opts      []option.ClientOption
	ProjectID string
	Version   string
}

func newMessaging[T ~struct {
	Opts      []option.ClientOption
	ProjectID string
	Version   string
}](ctx context.Context, mk func(context.Context, *T) (*messaging.Client, error), c clientConfig) (*messaging.Client, error) {
	t := T(c)
	return mk(ctx, &t)
}
