// Command reproduce runs the tests of the track record on the commits before the
// fixes, where they fail. Its arguments are the numbers in RESULTS.md; without
// any it runs them all. It needs the history of the repository.
//
//	go run ./cmd/reproduce 8
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"

	"github.com/seed-296ca7ab/usersession/robustness/results"
)

func main() {
	log.SetFlags(0)
	bugs, err := results.Bugs("results")
	if err != nil {
		log.Fatal(err)
	}
	var numbers []int
	for _, arg := range os.Args[1:] {
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 || n > len(bugs) {
			log.Fatalf("%q is no number from 1 to %d", arg, len(bugs))
		}
		numbers = append(numbers, n)
	}
	if len(numbers) == 0 {
		for n := range bugs {
			numbers = append(numbers, n+1)
		}
	}
	green := 0
	for _, n := range numbers {
		b := bugs[n-1]
		fmt.Printf("%d. %s\n", n, b.What)
		out, err := b.Reproduce()
		if err != nil {
			green++
			fmt.Printf("   not reproduced: %v\n%s\n", err, out)
			continue
		}
		fmt.Printf("   red on %s^, as it should be\n", b.Fixed)
		if len(numbers) == 1 {
			fmt.Println(out)
		}
	}
	if green > 0 {
		log.Fatalf("%d not reproduced", green)
	}
}
