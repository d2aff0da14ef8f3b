// The script of README.md, with a client in Go, but for the end: that client did not come back to Socket.IO's own server
// either when that was killed.
package main

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/zishang520/socket.io/clients/engine/v3/transports"
	client "github.com/zishang520/socket.io/clients/socket/v3"
	server "github.com/zishang520/socket.io/servers/socket/v3"
	"github.com/zishang520/socket.io/v3/pkg/types"
)

const wait = 10 * time.Second

type queue chan []any

func queueOf(socket *client.Socket, event types.EventName) queue {
	arrived := make(queue, 1000)
	socket.On(event, func(args ...any) { arrived <- args })
	return arrived
}

func (arrived queue) next() []any {
	select {
	case args := <-arrived:
		return args
	case <-time.After(wait):
		panic("nothing came")
	}
}

func ask(socket *client.Socket, event string, args ...any) []any {
	answers := make(queue, 1)
	socket.Emit(event, append(args, server.Ack(func(answer []any, _ error) { answers <- answer }))...)
	return answers.next()
}

func octets(size int) []byte {
	data := make([]byte, size)
	for at := range data {
		data[at] = byte(at)
	}
	return data
}

// same says whether this argument is binary and has these bytes.
func same(found any, wanted []byte) bool {
	buffer, ok := found.(types.BufferInterface)
	return ok && bytes.Equal(buffer.Bytes(), wanted)
}

func check(step string, good bool) {
	if !good {
		panic(step)
	}
	fmt.Println(step)
}

func main() {
	url, transport := os.Args[1], os.Args[2]
	options := client.DefaultManagerOptions()
	switch transport {
	case "polling":
		options.SetTransports(types.NewSet(transports.Polling))
	case "websocket":
		options.SetTransports(types.NewSet(transports.WebSocket))
	default:
		options.SetTransports(types.NewSet(transports.Polling, transports.WebSocket))
		transport = "websocket"
	}
	manager := client.NewManager(url, options)
	socket := manager.Socket("/", client.DefaultSocketOptions())
	connects := queueOf(socket, "connect")
	backs := queueOf(socket, "message-back")
	bursts := queueOf(socket, "burst")
	answered := queueOf(socket, "answered")
	socket.On("question", func(args ...any) {
		last := len(args) - 1
		args[last].(server.Ack)(args[:last], nil)
	})
	connects.next()
	for ask(socket, "who")[0].(map[string]any)["transport"] != transport {
		time.Sleep(20 * time.Millisecond)
	}
	check("connect", true)

	object := map[string]any{"a": []any{1.0, nil, true}}
	check("text", reflect.DeepEqual(ask(socket, "echo", "ü€😀", object), []any{"ü€😀", object}))

	answer := ask(socket, "echo", octets(256), []any{octets(300_000)}, []byte{})
	check("binary ack", same(answer[0], octets(256)) && same(answer[1].([]any)[0], octets(300_000)) &&
		same(answer[2], nil))

	socket.Emit("message", octets(1000), "between", octets(57))
	back := backs.next()
	check("binary event", same(back[0], octets(1000)) && back[1] == "between" && same(back[2], octets(57)))

	socket.Emit("ask", "why", octets(100))
	values := answered.next()[1].([]any)
	check("question", values[0] == "why" && same(values[1], octets(100)))

	socket.Emit("burst", 200)
	inOrder := true
	for number := range 200 {
		inOrder = inOrder && bursts.next()[0] == float64(number)
	}
	check("order", inOrder)

	custom := client.DefaultSocketOptions()
	custom.SetAuth(map[string]any{"token": "abc"})
	other := manager.Socket("/custom", custom)
	auth := queueOf(other, "auth").next()[0].(map[string]any)
	check("namespace", auth["token"] == "abc" && ask(other, "echo", 1)[0] == 1.0)
	other.Disconnect()

	refused := queueOf(manager.Socket("/refusing", client.DefaultSocketOptions()), "connect_error").next()
	check("refusal", strings.Contains(refused[0].(error).Error(), "no entry"))
	socket.Disconnect()
}
