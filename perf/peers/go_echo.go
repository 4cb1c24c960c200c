// Peer: an echo server in Go, a goroutine per connection.
//
// Run:  go_echo --port 7000             then connect anything to 127.0.0.1:7000
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func echo(peer net.Conn) {
	defer peer.Close()
	buffer := make([]byte, 65536)
	for {
		count, err := peer.Read(buffer)
		if count > 0 {
			if _, refused := peer.Write(buffer[:count]); refused != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func main() {
	port := flag.Int("port", 0, "port on 127.0.0.1; 0 takes any free one")
	flag.Parse()
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		fmt.Fprintf(os.Stderr, "go_echo: %v; choose another --port, or 0 for any\n", err)
		os.Exit(1)
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-asked
		os.Exit(0)
	}()
	fmt.Printf("listening %s\n", listener.Addr())
	for {
		peer, err := listener.Accept()
		if err != nil {
			continue
		}
		go echo(peer) // TCP_NODELAY is Go's default
	}
}
