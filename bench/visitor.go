package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// visitor is a browser with one connection that is kept, and as little else as it
// can do with, because it runs on the same processors as the server.
type visitor struct {
	addr string
	conn net.Conn
	r    *bufio.Reader
	out  []byte
}

// answer is what a server answered.
type answer struct {
	code   int
	cookie string // that it sets, for the next request
	body   string
}

// ask sends a request with a cookie. A connection that the server has closed
// meanwhile is opened again.
func (v *visitor) ask(method, path, cookie string) (answer, error) {
	kept := v.conn != nil
	got, err := v.try(method, path, cookie)
	if err != nil && kept {
		got, err = v.try(method, path, cookie)
	}
	return got, err
}

func (v *visitor) try(method, path, cookie string) (got answer, err error) {
	if v.conn == nil {
		if v.conn, err = net.Dial("tcp", v.addr); err != nil {
			v.conn = nil
			return got, err
		}
		v.r = bufio.NewReader(v.conn)
	}
	defer func() {
		if err != nil {
			v.conn.Close()
			v.conn = nil
		}
	}()
	v.out = fmt.Appendf(v.out[:0], "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: %s\r\n", method, path, userAgent)
	if cookie != "" {
		v.out = fmt.Appendf(v.out, "Cookie: %s\r\n", cookie)
	}
	if method == "POST" {
		v.out = append(v.out, "Content-Length: 0\r\n"...)
	}
	if _, err := v.conn.Write(append(v.out, "\r\n"...)); err != nil {
		return got, err
	}
	response, err := http.ReadResponse(v.r, nil)
	if err != nil {
		return got, err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return got, err
	}
	var cookies []string
	for _, c := range response.Cookies() {
		if c.MaxAge >= 0 && c.Value != "" {
			cookies = append(cookies, c.Name+"="+c.Value)
		}
	}
	return answer{response.StatusCode, strings.Join(cookies, "; "), string(body)}, nil
}

// must200 is ask, where another status is an error.
func (v *visitor) must200(method, path, cookie string) (answer, error) {
	got, err := v.ask(method, path, cookie)
	if err == nil && got.code != http.StatusOK {
		err = fmt.Errorf("%s %s: status %d: %.300s", method, path, got.code, got.body)
	}
	return got, err
}

// login logs a user in and returns the cookie.
func (v *visitor) login(user string) (cookie string, err error) {
	got, err := v.must200("POST", "/login?user="+user, "")
	if err == nil && got.cookie == "" {
		err = fmt.Errorf("a login of %s sets no cookie", user)
	}
	return got.cookie, err
}
