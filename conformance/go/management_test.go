// What Terraform's provider for RabbitMQ asks, in its order, through the client that it uses
// (rabbit-hole): every resource is made, read back, changed and deleted.
//
// MANAGEMENT_URL names the broker.
package conformance

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	rabbithole "github.com/michaelklishin/rabbit-hole/v2"
)

func client(t *testing.T, user string, password string) *rabbithole.Client {
	t.Helper()
	where := os.Getenv("MANAGEMENT_URL")
	if where == "" {
		t.Fatal("MANAGEMENT_URL is not set")
	}
	made, err := rabbithole.NewClient(where, user, password)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// vhost makes a virtual host of the test's own, with everything allowed to guest.
func vhost(t *testing.T, guest *rabbithole.Client) string {
	t.Helper()
	name := fmt.Sprintf("hole/%s-%d", t.Name(), time.Now().UnixNano())
	answered(t, http.StatusCreated)(guest.PutVhost(name, rabbithole.VhostSettings{}))
	all := rabbithole.Permissions{Configure: ".*", Write: ".*", Read: ".*"}
	// Whoever makes one has all permissions there already.
	answered(t, http.StatusNoContent)(guest.UpdatePermissionsIn(name, "guest", all))
	t.Cleanup(func() { answered(t, http.StatusNoContent)(guest.DeleteVhost(name)) })
	return name
}

// answered checks what a call gives back: its status, and no error.
func answered(t *testing.T, status int) func(*http.Response, error) {
	return func(response *http.Response, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != status {
			t.Fatalf("%s %s: %s", response.Request.Method, response.Request.URL, response.Status)
		}
	}
}

// gone checks that an error says that there is no such thing.
func gone(t *testing.T, err error) {
	t.Helper()
	answer, told := err.(rabbithole.ErrorResponse)
	if !told || answer.StatusCode != http.StatusNotFound {
		t.Fatalf("not found is what this should be: %v", err)
	}
}

func same(t *testing.T, found any, wanted any) {
	t.Helper()
	if !reflect.DeepEqual(found, wanted) {
		t.Fatalf("found %#v, wanted %#v", found, wanted)
	}
}

func TestVhost(t *testing.T) {
	guest := client(t, "guest", "guest")
	name := vhost(t, guest)
	settings := rabbithole.VhostSettings{Description: "for orders"}
	answered(t, http.StatusNoContent)(guest.PutVhost(name, settings))
	answered(t, http.StatusNoContent)(
		guest.PutVhostLimits(name, rabbithole.VhostLimitsValues{"max-connections": 7}),
	)
	found, err := guest.GetVhost(name)
	if err != nil {
		t.Fatal(err)
	}
	same(t, found.Name, name)
	same(t, found.Description, "for orders")
	same(t, found.Tracing, false)
	limits, err := guest.GetVhostLimits(name)
	if err != nil {
		t.Fatal(err)
	}
	same(t, limits[0].Value["max-connections"], 7)
	answered(t, http.StatusNoContent)(
		guest.DeleteVhostLimits(name, rabbithole.VhostLimits{"max-connections", "max-queues"}),
	)
	_, err = guest.GetVhost("hole/none")
	gone(t, err)
}

func TestUserAndPermissions(t *testing.T) {
	guest := client(t, "guest", "guest")
	home := vhost(t, guest)
	user := fmt.Sprintf("hole-%d", time.Now().UnixNano())
	tags := rabbithole.UserTags{"management", "policymaker"}
	settings := rabbithole.UserSettings{Password: "a long one", Tags: tags}
	answered(t, http.StatusCreated)(guest.PutUser(user, settings))
	found, err := guest.GetUser(user)
	if err != nil {
		t.Fatal(err)
	}
	same(t, found.Name, user)
	same(t, found.Tags, tags)

	may := rabbithole.Permissions{Configure: "^own-", Write: ".*", Read: ""}
	answered(t, http.StatusCreated)(guest.UpdatePermissionsIn(home, user, may))
	granted, err := guest.GetPermissionsIn(home, user)
	if err != nil {
		t.Fatal(err)
	}
	same(t, granted, rabbithole.PermissionInfo{
		User: user, Vhost: home, Configure: "^own-", Write: ".*", Read: "",
	})
	topics := rabbithole.TopicPermissions{Exchange: "amq.topic", Write: "^a", Read: "^b"}
	answered(t, http.StatusCreated)(guest.UpdateTopicPermissionsIn(home, user, topics))
	told, err := guest.GetTopicPermissionsIn(home, user)
	if err != nil {
		t.Fatal(err)
	}
	same(t, told, []rabbithole.TopicPermissionInfo{{
		User: user, Vhost: home, Exchange: "amq.topic", Write: "^a", Read: "^b",
	}})

	hers := client(t, user, "a long one")
	who, err := hers.Whoami()
	if err != nil {
		t.Fatal(err)
	}
	same(t, who.Name, user)
	_, err = hers.DeclareQueue(home, "other", rabbithole.QueueSettings{})
	if err == nil || !strings.Contains(err.Error(), "403") && !strings.Contains(err.Error(), "401") {
		t.Fatalf("she must not make this queue: %v", err)
	}

	answered(t, http.StatusNoContent)(guest.ClearTopicPermissionsIn(home, user))
	answered(t, http.StatusNoContent)(guest.ClearPermissionsIn(home, user))
	_, err = guest.GetPermissionsIn(home, user)
	gone(t, err)
	answered(t, http.StatusNoContent)(guest.DeleteUser(user))
	_, err = guest.GetUser(user)
	gone(t, err)
}

func TestExchangeQueueAndBindings(t *testing.T) {
	guest := client(t, "guest", "guest")
	home := vhost(t, guest)
	kind := rabbithole.ExchangeSettings{
		Type: "topic", Durable: true, Arguments: map[string]any{"alternate-exchange": "amq.fanout"},
	}
	answered(t, http.StatusCreated)(guest.DeclareExchange(home, "events", kind))
	exchange, err := guest.GetExchange(home, "events")
	if err != nil {
		t.Fatal(err)
	}
	same(t, exchange.Type, "topic")
	same(t, exchange.Durable, true)
	same(t, exchange.Arguments, kind.Arguments)

	shape := rabbithole.QueueSettings{
		Durable: true, Arguments: map[string]any{"x-max-length": 10, "x-overflow": "reject-publish"},
	}
	answered(t, http.StatusCreated)(guest.DeclareQueue(home, "jobs", shape))
	answered(t, http.StatusNoContent)(guest.DeclareQueue(home, "jobs", shape))
	queue, err := guest.GetQueue(home, "jobs")
	if err != nil {
		t.Fatal(err)
	}
	same(t, queue.Durable, true)
	same(t, bool(queue.AutoDelete), false)
	same(t, queue.Arguments["x-overflow"], "reject-publish")
	same(t, queue.Arguments["x-max-length"], float64(10))

	bindings := []rabbithole.BindingInfo{
		{Source: "events", Destination: "jobs", DestinationType: "queue", RoutingKey: "a.#"},
		{Source: "events", Destination: "jobs", DestinationType: "queue"},
		{
			Source: "amq.headers", Destination: "jobs", DestinationType: "queue", RoutingKey: "k/ä",
			Arguments: map[string]any{"x-match": "any", "team": "blue"},
		},
		{Source: "amq.topic", Destination: "events", DestinationType: "exchange", RoutingKey: "*"},
	}
	for _, wanted := range bindings {
		bound(t, guest, home, wanted)
	}

	answered(t, http.StatusNoContent)(guest.DeleteQueue(home, "jobs"))
	_, err = guest.GetQueue(home, "jobs")
	gone(t, err)
	answered(t, http.StatusNoContent)(guest.DeleteExchange(home, "events"))
	_, err = guest.GetExchange(home, "events")
	gone(t, err)
}

// bound makes a binding, finds it by the key that the answer's Location ends with, and deletes it.
func bound(t *testing.T, guest *rabbithole.Client, home string, wanted rabbithole.BindingInfo) {
	t.Helper()
	response, err := guest.DeclareBinding(home, wanted)
	answered(t, http.StatusCreated)(response, err)
	location := strings.Split(response.Header.Get("Location"), "/")
	key, err := url.PathUnescape(location[len(location)-1])
	if err != nil {
		t.Fatal(err)
	}
	list := guest.ListQueueBindingsBetween
	if wanted.DestinationType == "exchange" {
		list = guest.ListExchangeBindingsBetween
	}
	between, err := list(home, wanted.Source, wanted.Destination)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, binding := range between {
		if binding.PropertiesKey == key {
			found++
			same(t, binding.RoutingKey, wanted.RoutingKey)
			same(t, binding.Vhost, home)
			if len(wanted.Arguments) > 0 {
				same(t, binding.Arguments, wanted.Arguments)
			}
		}
	}
	same(t, found, 1)
	wanted.PropertiesKey = key
	answered(t, http.StatusNoContent)(guest.DeleteBinding(home, wanted))
	between, err = list(home, wanted.Source, wanted.Destination)
	if err != nil {
		t.Fatal(err)
	}
	for _, binding := range between {
		if binding.PropertiesKey == key {
			t.Fatalf("%v is still there", binding)
		}
	}
}

// What exporters and dashboards read with the same client.
func TestLists(t *testing.T) {
	guest := client(t, "guest", "guest")
	home := vhost(t, guest)
	answered(t, http.StatusCreated)(guest.DeclareQueue(home, "seen", rabbithole.QueueSettings{}))
	if _, err := guest.Overview(); err != nil {
		t.Fatal(err)
	}
	nodes, err := guest.ListNodes()
	if err != nil {
		t.Fatal(err)
	}
	same(t, nodes[0].IsRunning, true)
	queues, err := guest.ListQueuesIn(home)
	if err != nil {
		t.Fatal(err)
	}
	same(t, len(queues), 1)
	same(t, queues[0].Name, "seen")
	paged, err := guest.PagedListQueuesWithParameters(url.Values{
		"page": {"1"}, "page_size": {"5"}, "name": {"^seen$"}, "use_regex": {"true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if paged.TotalCount < 1 || paged.Page != 1 || len(paged.Items) < 1 {
		t.Fatalf("a page of queues: %#v", paged)
	}
	for what, list := range map[string]func() error{
		"exchanges":   func() error { _, err := guest.ListExchanges(); return err },
		"bindings":    func() error { _, err := guest.ListBindings(); return err },
		"connections": func() error { _, err := guest.ListConnections(); return err },
		"channels":    func() error { _, err := guest.ListChannels(); return err },
		"consumers":   func() error { _, err := guest.ListConsumers(); return err },
		"users":       func() error { _, err := guest.ListUsers(); return err },
		"permissions": func() error { _, err := guest.ListPermissions(); return err },
		"vhosts":      func() error { _, err := guest.ListVhosts(); return err },
		"definitions": func() error { _, err := guest.ListDefinitions(); return err },
	} {
		if err := list(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	alarms, err := guest.HealthCheckAlarms()
	if err != nil {
		t.Fatal(err)
	}
	same(t, alarms.Ok(), true)
}
