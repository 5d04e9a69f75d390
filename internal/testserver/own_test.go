package testserver_test

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

// ask sends one command to a Redis and returns the first line of its answer.
func ask(addr, command string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}

// A server of one's own is killed, started again with its data, and paused.
func TestOwnServer(t *testing.T) {
	server := testserver.OwnRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	if answer, err := ask(server.Addr, "SET a b"); answer != "+OK\r\n" {
		t.Fatal(answer, err)
	}
	server.Kill()
	if answer, err := ask(server.Addr, "PING"); err == nil {
		t.Errorf("a killed server answers %q", answer)
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if answer, err := ask(server.Addr, "EXISTS a"); answer != ":1\r\n" {
		t.Error("the data are gone: ", answer, err)
	}
	server.Pause()
	if answer, err := ask(server.Addr, "PING"); err == nil {
		t.Errorf("a stopped server answers %q", answer)
	}
	server.Resume()
	if answer, err := ask(server.Addr, "PING"); answer != "+PONG\r\n" {
		t.Error("it does not go on: ", answer, err)
	}
}
