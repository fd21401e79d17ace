// app greets whom the path names: /hello/ada
package main

import (
	"fmt"
	"net/http"

	"github.com/gorilla/mux"
)

func main() {
	router := mux.NewRouter()
	router.HandleFunc("/hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello, %s!\n", mux.Vars(r)["name"])
	})
	fmt.Println(http.ListenAndServe(":8080", router))
}
