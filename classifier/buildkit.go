package classifier

import (
	"strings"

	"github.com/akkospace/pushdoctor/parser"
)

// A vertex is one numbered step of a BuildKit build.
type vertex struct {
	kind   vertexKind
	images []string // whose manifests were sent
	next   bool     // layers of another image are going up since
}

type vertexKind int8

const (
	vertexUnknown vertexKind = iota
	vertexImage              // exporting to image, pushing
	vertexCache              // exporting cache to registry
	vertexOther              // a build step, metadata, an import, a cache that is no registry's
)

const maxVertices = 4096 // of one build that are followed

// vertex reads a line of BuildKit's plain progress. Errors in it are answers; all else is progress.
func (s *state) vertex(ln parser.Line, id, rest string) bool {
	st := &s.step
	if st.vertices == nil {
		st.vertices = map[string]*vertex{}
	}
	v := st.vertices[id]
	if v == nil {
		if len(st.vertices) >= maxVertices {
			clear(st.vertices)
		}
		v = &vertex{}
		st.vertices[id] = v
	}
	switch {
	case v.kind == vertexOther && !strings.HasPrefix(rest, "[") && !strings.HasPrefix(rest, "exporting"):
		if strings.HasPrefix(rest, "ERROR") && !strings.Contains(rest, "error writing ") {
			st.block = vertexOther // and so is the build's summary
			return true
		}
		return !strings.HasPrefix(rest, "ERROR")
	case strings.HasPrefix(rest, "ERROR"), strings.Contains(rest, " error: "), strings.HasPrefix(rest, "error: "):
		return false
	case strings.HasPrefix(rest, "DONE"), strings.HasPrefix(rest, "CACHED"):
		if strings.HasPrefix(rest, "DONE") {
			s.vertexDone(id, v, ln)
		}
		return true
	}
	if kind := s.kindOf(rest); kind != vertexUnknown {
		v.kind = kind
		if kind == vertexImage && strings.Contains(rest, "pushing") {
			st.asked = true
		}
	}
	if m := authVertex.FindStringSubmatch(rest); m != nil {
		st.authImage, st.authHost, st.asked = m[2]+"/"+m[1], m[2], true
	}
	if im, ok := strings.CutPrefix(rest, "importing cache manifest from "); ok {
		st.cacheHost = hostOf(cleanImage(im))
	}
	if retryLine.MatchString(rest) && st.last != nil && st.last.vertex == id {
		st.last.retry = true
	}
	if strings.HasPrefix(rest, "pushing layers") && len(v.images) > 0 {
		v.next = true
	}
	if m := pushingRef.FindStringSubmatch(rest); m != nil && len(v.images) < 64 {
		v.kind, v.next = vertexImage, false
		if im := cleanImage(m[1]); im != "" {
			v.images = append(v.images, im)
			st.publishing = im
		}
	}
	return true
}

// vertexDone is a BuildKit step that ended well: what it pushed is in the registry, and what it had to try
// again was cured.
func (s *state) vertexDone(id string, v *vertex, ln parser.Line) {
	for _, f := range s.failures {
		if f.step == s.step.number && f.vertex == id && f.retry {
			f.recovered = true
		}
	}
	if v.kind != vertexImage {
		return
	}
	for _, im := range v.images {
		s.succeeded(im, ln)
	}
	v.images = nil
}

// kindOf tells what a BuildKit step does from its name.
// https://github.com/moby/buildkit/blob/master/solver/llbsolver/solver.go
func (s *state) kindOf(name string) vertexKind {
	if target, rest, ok := strings.Cut(name, "] "); ok && strings.HasPrefix(target, "[") && strings.HasPrefix(rest, "exporting ") {
		name = rest // bake puts the target before it
	}
	switch {
	case strings.HasPrefix(name, "exporting to image"), strings.HasPrefix(name, "pushing "), strings.HasPrefix(name, "[internal] pushing"),
		strings.HasPrefix(name, "exporting to registry"), strings.HasPrefix(name, "exporting manifest"), strings.HasPrefix(name, "exporting layers"):
		return vertexImage
	case name == "exporting cache" && s.step.cacheTo: // BuildKit before 0.11 does not say where to
		return vertexCache
	case name == "exporting cache", strings.HasPrefix(name, "exporting cache to GitHub"), strings.HasPrefix(name, "exporting to GitHub"), strings.HasPrefix(name, "exporting cache to client"),
		strings.HasPrefix(name, "exporting cache to s3"), strings.HasPrefix(name, "exporting cache to Azure"):
		return vertexOther
	case strings.HasPrefix(name, "exporting cache"), strings.HasPrefix(name, "sending cache export"), strings.HasPrefix(name, "preparing build cache"), strings.HasPrefix(name, "writing layer "):
		return vertexCache
	case strings.HasPrefix(name, "[auth]"), strings.HasPrefix(name, "[internal] booting"):
		return vertexOther
	case strings.HasPrefix(name, "["), strings.HasPrefix(name, "importing "), strings.HasPrefix(name, "resolve image config"), strings.HasPrefix(name, "https://"):
		return vertexOther
	}
	return vertexUnknown
}
