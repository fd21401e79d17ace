package main

import (
	"fmt"
	"runtime"
)

func main() {
	fmt.Printf("Built for %s/%s.\n", runtime.GOOS, runtime.GOARCH)
}
