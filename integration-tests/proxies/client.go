// Sends a request with a body of SIZE bytes TIMES times with Go's net/http, and counts the answers.
//
//	go run client.go [-chunked] [-http2] [-ca FILE] [-header 'NAME: VALUE']... [-expect 'STATUS CODE'] [-then URL]
//	                 [-then-header 'NAME: VALUE']... URL METHOD SIZE TIMES
//
// -then names a small POST that follows each request on the same client. Its answer must be 2xx. Prints
// {"client", "tries", "right", "seen": {"STATUS CODE" or error: count}, "then_right", "then"}.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
)

type headers http.Header

func (all headers) String() string { return "" }

func (all headers) Set(line string) error {
	name, value, _ := strings.Cut(line, ":")
	http.Header(all).Add(name, strings.TrimSpace(value))
	return nil
}

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(to []byte) (int, error) { return len(to), nil }

type report struct {
	Client    string         `json:"client"`
	Tries     int            `json:"tries"`
	Right     int            `json:"right"`
	Seen      map[string]int `json:"seen"`
	ThenRight int            `json:"then_right"`
	Then      map[string]int `json:"then"`
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func transport(http2 bool, ca string) *http.Transport {
	pool := x509.NewCertPool()
	if ca != "" {
		pem, err := os.ReadFile(ca)
		check(err)
		pool.AppendCertsFromPEM(pem)
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2}
}

// said returns the text of an error without addresses and ports, so that equal errors are counted together.
func said(err error) string {
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	text := err.Error()
	if at := strings.LastIndex(text, ": "); strings.Contains(text, "->") && at > 0 {
		return strings.Fields(text)[0] + text[at:]
	}
	return text
}

func send(client *http.Client, method, to string, with headers, body io.Reader, length int64) (*http.Response, []byte, error) {
	request, err := http.NewRequest(method, to, body)
	check(err)
	request.Header, request.ContentLength = http.Header(with).Clone(), length
	answer, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer, text, err
}

func seen(answer *http.Response, text []byte, err error) string {
	if err != nil {
		return said(err)
	}
	var problem struct{ Code string }
	if json.Unmarshal(text, &problem) != nil {
		return fmt.Sprintf("%d (no problem document)", answer.StatusCode)
	}
	return fmt.Sprintf("%d %s", answer.StatusCode, problem.Code)
}

func main() {
	chunked, http2 := flag.Bool("chunked", false, ""), flag.Bool("http2", false, "")
	ca, expect, then := flag.String("ca", "", ""), flag.String("expect", "", ""), flag.String("then", "", "")
	with, thenWith := headers{}, headers{}
	flag.Var(with, "header", "")
	flag.Var(thenWith, "then-header", "")
	flag.Parse()
	to, method := flag.Arg(0), flag.Arg(1)
	size, err := strconv.ParseInt(flag.Arg(2), 10, 64)
	check(err)
	times, err := strconv.Atoi(flag.Arg(3))
	check(err)
	length := size
	if *chunked {
		length = -1
	}
	client := &http.Client{Transport: transport(*http2, *ca)}
	all := report{Client: "go", Seen: map[string]int{}, Then: map[string]int{}}
	for ; all.Tries < times; all.Tries++ {
		what := seen(send(client, method, to, with, io.LimitReader(zeros{}, size), length))
		all.Seen[what]++
		if what == *expect {
			all.Right++
		}
		if *then == "" {
			continue
		}
		answer, _, err := send(client, "POST", *then, thenWith, strings.NewReader("hello"), 5)
		if err != nil {
			all.Then[said(err)]++
			continue
		}
		all.Then[strconv.Itoa(answer.StatusCode)]++
		if answer.StatusCode/100 == 2 {
			all.ThenRight++
		}
	}
	check(json.NewEncoder(os.Stdout).Encode(all))
}
