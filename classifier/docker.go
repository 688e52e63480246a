package classifier

import (
	"strings"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/parser"
)

// dockerPush is a push by the Docker daemon, from "The push refers to repository" on.
type dockerPush struct {
	repository string
	client     pushdoctor.Client
	moving     bool            // bytes went up
	sent       bool            // a layer arrived
	retried    bool            // a layer was tried again
	layers     map[string]bool // by layer: it is in the registry; at most maxLayers
	done       bool
	line       parser.Line
}

const maxLayers = 512 // of one push that are followed

// allUp reports whether every layer that the push spoke of is in the registry: what fails now is the manifest.
func (d *dockerPush) allUp() bool {
	for _, up := range d.layers {
		if !up {
			return false
		}
	}
	return len(d.layers) > 0
}

// observeDocker follows a push by the Docker daemon.
func (s *state) observeDocker(ln parser.Line, low string) bool {
	st := &s.step
	text := ln.Text
	if s.step.list > 0 {
		s.step.list--
	}
	if strings.TrimSpace(text) == "errors:" {
		s.step.list = 4
		return true
	}
	var m []string
	if strings.Contains(low, "the push refers to") {
		m = pushRefers.FindStringSubmatch(text)
	}
	if m != nil {
		client, repository := pushdoctor.ClientDocker, cleanImage(m[1])
		a, _ := read(ln)
		if repositoryKey(a.image) == repositoryKey(repository) && tagOf(a.image) != "" {
			repository = a.image // goreleaser's line holds docker's first one
		}
		if a.strong {
			client = a.client
		} else if st.cmd.verb == verbPush && st.cmd.client != "" {
			client = st.cmd.client
		}
		s.dockerUnexplained()
		d := &dockerPush{repository: repository, client: client, layers: map[string]bool{}, line: ln}
		s.adopt(d)
		st.docker, st.asked = d, true
		return true
	}
	if (strings.Contains(text, "Pushing ") || strings.HasPrefix(text, "Image ")) && s.observeCompose(ln) {
		return true
	}
	if st.docker == nil && st.cmd.verb != verbPull {
		// The log is cut, or its lines are out of order: layers that are prepared or pushed are a push's.
		if m := layerLine.FindStringSubmatch(text); m != nil && m[2] != "Waiting" {
			st.docker = &dockerPush{client: pushdoctor.ClientDocker, layers: map[string]bool{}, line: ln}
			st.asked = true
		}
	}
	if !st.inPush() {
		return false
	}
	if m := digestLine.FindStringSubmatch(text); m != nil {
		image := st.docker.repository
		if tagOf(image) == "" {
			image += ":" + m[1]
		}
		s.succeeded(image, ln)
		st.docker.done = true
		return true
	}
	if m := layerLine.FindStringSubmatch(text); m != nil {
		st.docker.layer(m[1], m[2])
		return true
	}
	return false
}

func (d *dockerPush) layer(id, what string) {
	switch {
	case strings.HasPrefix(what, "Pushed"), strings.HasPrefix(what, "Layer already"), strings.HasPrefix(what, "Mounted"), strings.HasPrefix(what, "Skipped"),
		strings.HasPrefix(what, "Image success"), strings.HasPrefix(what, "Image already"):
		if _, ok := d.layers[id]; ok || len(d.layers) < maxLayers {
			d.layers[id] = true
		}
		d.sent = d.sent || strings.HasPrefix(what, "Pushed")
		return
	case strings.HasPrefix(what, "Retrying"):
		d.retried = true
	case strings.HasPrefix(what, "Pushing"), strings.HasPrefix(what, "Image push failed"):
		d.moving = true
	}
	if _, ok := d.layers[id]; !ok && len(d.layers) < maxLayers {
		d.layers[id] = false
	}
}

// observeCompose follows docker compose push, whose progress names the image in each line.
func (s *state) observeCompose(ln parser.Line) bool {
	st, text := &s.step, ln.Text
	open := func(image string) {
		if image = cleanImage(image); st.docker == nil || st.docker.done || st.docker.repository != image {
			st.docker = &dockerPush{repository: image, client: pushdoctor.ClientCompose, layers: map[string]bool{}, line: ln}
		}
		st.asked = true
	}
	if m := composeV1.FindStringSubmatch(text); m != nil {
		st.cmd = command{client: pushdoctor.ClientCompose, verb: verbPush, image: cleanImage(m[1])}
		st.asked = true
		return true
	}
	if m := composeImage.FindStringSubmatch(text); m != nil {
		open(m[1])
		return m[2] == "Pushing" // the error itself stands in the line
	}
	if m := composeLine.FindStringSubmatch(text); m != nil {
		open(m[1])
		st.docker.layer(m[2], m[3])
		return true
	}
	return false
}
