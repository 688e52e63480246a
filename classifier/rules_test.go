package classifier_test

import (
	"os"
	"testing"

	"github.com/akkospace/pushdoctor/classifier"
)

// A rule that no longer matches its own line, or matches its near miss, turns this red.
func TestExamplesOfTheEmbeddedRules(t *testing.T) {
	data, err := os.ReadFile("rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	examples, faults := classifier.CheckBuiltin(data)
	for _, f := range faults {
		t.Error(f.Error())
	}
	if examples < 200 {
		t.Errorf("only %d examples ran", examples)
	}
}
