"""Sends a file to a URL and writes the body of the answer to standard output: `python-client.py urllib|http.client length|chunks URL FILE`."""

import http.client
import sys
import urllib.parse
import urllib.request

library, framing, url, path = sys.argv[1:]


def pieces():
    with open(path, "rb") as file:
        while piece := file.read(10_000):
            yield piece


if library == "urllib":
    with open(path, "rb") as file:
        body = file.read() if framing == "length" else pieces()
    with urllib.request.urlopen(urllib.request.Request(url, data=body, method="POST")) as response:
        sys.stdout.buffer.write(response.read())
else:
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    with open(path, "rb") as file:
        if framing == "length":
            connection.request("POST", parts.path, file.read())
        else:
            fields = {"transfer-encoding": "chunked"}
            connection.request("POST", parts.path, pieces(), fields, encode_chunked=True)
    response = connection.getresponse()
    if response.status != 200:
        sys.exit(f"status {response.status}")
    sys.stdout.buffer.write(response.read())
