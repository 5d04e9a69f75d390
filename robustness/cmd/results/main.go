// Command results makes RESULTS.md of the figures in results/.
//
//	go run ./cmd/results
package main

import (
	"log"
	"os"

	"github.com/seed-296ca7ab/usersession/robustness/results"
)

func main() {
	text, err := results.Render("results")
	if err == nil {
		err = os.WriteFile("RESULTS.md", []byte(text), 0o644)
	}
	if err != nil {
		log.Fatal(err)
	}
}
