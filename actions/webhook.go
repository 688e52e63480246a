package actions

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// A Delivery is what is read of a webhook's delivery, and no more: no address and no text of a stranger is in it.
type Delivery struct {
	Event        string // "ping", "workflow_run", "workflow_job", "repository", "installation", "installation_repositories"; else "other"
	Action       string // "completed"
	Repository   string // owner/name
	RepositoryID int64
	RunID        int64
	Attempt      int    // 0: not told
	JobID        int64  // 0: it tells of a run
	Conclusion   string // "": not told
}

// Ended reports whether d tells that an attempt of a run, or a job, has ended. Then its repository and run are set.
func (d Delivery) Ended() bool { return d.RunID != 0 }

// Relists reports whether d tells that there are other repositories than before, or that they have other names or rights.
func (d Delivery) Relists() bool {
	switch d.Event {
	case "installation", "installation_repositories":
		return true
	case "repository":
		return d.Action != "edited" // its description, or its default branch
	}
	return false
}

// Signed reports whether signature, the value of X-Hub-Signature-256, is that of body by one of the secrets. How long
// that takes does not tell which one, nor how much of it was right.
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
func Signed(secrets []string, body []byte, signature string) bool {
	digits, ok := strings.CutPrefix(signature, "sha256=")
	told, err := hex.DecodeString(digits)
	if !ok || err != nil {
		return false
	}
	good := false
	for _, s := range secrets {
		mac := hmac.New(sha256.New, []byte(s))
		mac.Write(body)
		if hmac.Equal(mac.Sum(nil), told) {
			good = true // and go on
		}
	}
	return good
}

// conclusion is the form of a conclusion, and of an action.
var conclusion = regexp.MustCompile(`^[a-z_]{0,40}$`)

// ReadDelivery reads the delivery of an event, as X-GitHub-Event names it, from its body: JSON, or with form a form whose field
// payload holds the JSON. The body of an event that is of no use is not looked at. An
// error means that the body is not what GitHub sends.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads
func ReadDelivery(event string, form bool, body []byte) (Delivery, error) {
	if !slices.Contains([]string{"workflow_run", "workflow_job", "repository", "installation", "installation_repositories"}, event) {
		if event != "ping" {
			event = "other"
		}
		return Delivery{Event: event}, nil
	}
	d, err := readDelivery(event, form, body)
	if err != nil {
		return Delivery{Event: event}, fmt.Errorf("delivery of %s: %w", event, err)
	}
	return d, nil
}

func readDelivery(event string, form bool, body []byte) (Delivery, error) {
	if form {
		fields, err := url.ParseQuery(string(body))
		if err != nil {
			return Delivery{}, errors.New("the form cannot be read") // err would quote it
		}
		if len(fields["payload"]) != 1 {
			return Delivery{}, errors.New("the form has no payload, or several")
		}
		body = []byte(fields["payload"][0])
	}
	d := Delivery{Event: event}
	var repository, thing json.RawMessage
	if err := members(body, map[string]any{"action": &d.Action, "repository": &repository, event: &thing}); err != nil {
		return Delivery{}, err
	}
	if !conclusion.MatchString(d.Action) {
		return Delivery{}, errors.New("action: not a word")
	}
	if d.Action != "completed" || event != "workflow_run" && event != "workflow_job" {
		return d, nil
	}
	if err := members(repository, map[string]any{"id": &d.RepositoryID, "full_name": &d.Repository}); err != nil {
		return Delivery{}, fmt.Errorf("repository: %w", err)
	}
	want := map[string]any{"id": &d.RunID, "run_attempt": &d.Attempt, "conclusion": &d.Conclusion}
	if event == "workflow_job" {
		want["id"], want["run_id"] = &d.JobID, &d.RunID
	}
	if err := members(thing, want); err != nil {
		return Delivery{}, fmt.Errorf("%s: %w", event, err)
	}
	if _, _, err := split(d.Repository); err != nil || d.RepositoryID <= 0 {
		return Delivery{}, errors.New("repository: no id, or no name of the form owner/name")
	}
	if d.RunID <= 0 || d.Attempt < 0 || d.JobID < 0 || (d.JobID == 0) != (event == "workflow_run") || !conclusion.MatchString(d.Conclusion) {
		return Delivery{}, fmt.Errorf("%s: an id, the attempt or the conclusion is out of range", event)
	}
	return d, nil
}

// members decodes some members of the JSON object in data. encoding/json by itself takes Action for action, and the last of two that
// have one name: then what another program has checked is not what is read here.
func members(data []byte, want map[string]any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	seen := map[string]bool{}
	var passedOver json.RawMessage
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		into := any(&passedOver)
		if wanted, ok := want[key]; ok {
			if seen[key] {
				return fmt.Errorf("%s stands there twice", key)
			}
			seen[key], into = true, wanted
		}
		if err := dec.Decode(into); err != nil {
			if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
				return fmt.Errorf("%s is of another type, or too large", key)
			}
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something stands after the JSON object")
	}
	return nil
}
