// An action that waits, over HTTP with Go's own library: go run story.go http://127.0.0.1:8750
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
)

type object = map[string]any

var api, run = os.Args[1], rand.Text()
var subject = "T-go-" + run

// ask sends a request and reads its answer; anything but 200 ends the program: then nothing may act.
func ask(method, path string, body any) (told object) {
	text, _ := json.Marshal(body)
	request, err := http.NewRequest(method, api+path, bytes.NewReader(text))
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("content-type", "application/cloudevents+json")
	if token := os.Getenv("TOKEN"); token != "" {
		request.Header.Set("authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&told); err != nil || answer.StatusCode != 200 {
		log.Fatal(answer.Status, told, err)
	}
	return told
}

// publish sends an event and gives its verdict; one that was not accepted ends the program.
func publish(id, name string, data object) object {
	data["execution"], data["pause"] = run, run
	event := object{"specversion": "1.0", "id": id + "-" + run, "source": "/go", "type": "pauseledger." + name,
		"subject": subject, "data": data}
	if os.Getenv("TOKEN") == "" { // else the server sets it
		event["actor"] = "user:dana"
	}
	told := ask("POST", "/v1/events", event)
	fmt.Println(told["verdict"], name)
	if told["verdict"] != "accepted" { // a duplicate or unknown is no permission either
		log.Fatal(told["reason"])
	}
	return told
}

func main() {
	action := object{"kind": "payment", "name": "refund", "arguments": object{"cents": 500, "run": run}}
	publish("open", "pause.opened", object{"owner": "user:dana", "fresh_for": "PT15M",
		"side_effect": "not_happened", "pending_action": action})
	decision := ask("GET", "/v1/work-items/"+subject+"/pauses/"+run+"/decision", nil)
	granted := publish("resume", "resume.requested", object{"action_digest": decision["action_digest"]})
	attempt := publish("attempt", "side_effect.attempted", object{"fence": granted["fence"]})
	fmt.Println("refunded, once") // here it acts, before attempt["valid_until"]
	entry := fmt.Sprintf("%.0f:%.0f", attempt["partition"], attempt["offset"])
	publish("observe", "side_effect.observed", object{"status": "happened", "settles": entry})
	publish("close", "pause.closed", object{"outcome": "executed"})
}
