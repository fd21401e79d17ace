// app counts the links of a page: those that stay on its host, and those that leave it.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"golang.org/x/net/html"
)

type count struct {
	Internal int `json:"internal"`
	External int `json:"external"`
}

func hrefs(page io.Reader, visit func(string)) {
	for tokens := html.NewTokenizer(page); ; {
		switch tokens.Next() {
		case html.ErrorToken:
			return
		case html.StartTagToken, html.SelfClosingTagToken:
			token := tokens.Token()
			if token.Data != "a" {
				continue
			}
			for _, attribute := range token.Attr {
				if attribute.Key == "href" {
					visit(attribute.Val)
				}
			}
		}
	}
}

func main() {
	address := os.Getenv("url")
	if address == "" {
		fmt.Fprintln(os.Stderr, "set the variable url to the page to count")
		os.Exit(1)
	}
	base, err := url.Parse(address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	answer, err := http.Get(address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer answer.Body.Close()
	var n count
	hrefs(answer.Body, func(link string) {
		target, err := base.Parse(link)
		switch {
		case err != nil:
		case target.Host == base.Host:
			n.Internal++
		default:
			n.External++
		}
	})
	json.NewEncoder(os.Stdout).Encode(n)
}
