package push_test

import (
	"context"
	"fmt"
	"os"

	"footfall/push"
)

// Without credentials: see who would have got what.
func ExampleLog() {
	p := push.NewLog(os.Stdout, nil)
	defer p.Close()
	o := p.Send(context.Background(), &push.Notification{
		MID: "m-1", App: "shop", Device: "phone-7", Platform: push.Android, Token: "fcm:0123456789abcdefc81f",
		Campaign: "anniversary", Fence: "kyiv-01", Title: "Знижка 20 %", Body: "Лише сьогодні",
	})
	fmt.Println(o.Class)
	// Output:
	// push  shop/phone-7 (android …c81f)  "Знижка 20 %"  "Лише сьогодні"  fence=kyiv-01 campaign=anniversary mid=m-1
	// accepted
}
