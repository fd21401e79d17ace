// my-server tells the time of the zone that /etc/localtime names.
package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/mux"
)

func main() {
	router := mux.NewRouter()
	router.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, time.Unix(0, 0).Format("15:04 MST"))
	})
	fmt.Println(http.ListenAndServe(":80", router))
}
