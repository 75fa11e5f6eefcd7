module cellmesh.io/go-client

go 1.24
