// Sends a file to a URL and writes the body of the answer to standard output: `go-client http1|http2 length|chunks URL FILE`.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(protocol, framing, url, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(protocol == "http1")
	transport.Protocols.SetUnencryptedHTTP2(protocol == "http2")
	request, err := http.NewRequest("POST", url, file)
	if err != nil {
		return err
	}
	request.ContentLength = -1
	if framing == "length" {
		request.ContentLength = info.Size()
	}
	if framing == "length" && info.Size() == 0 {
		request.Body = http.NoBody
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	if response.StatusCode != 200 {
		return fmt.Errorf("status %s", response.Status)
	}
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}
