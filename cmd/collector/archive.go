package main

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// The bounds of an archive. They hold for what the archive declares of itself; package zip
// gives up reading an entry that inflates to more than it declared.
const (
	// maxEntry is many times the largest log that GitHub keeps of one job in an archive.
	maxEntry = 256 << 20
	// maxArchive bounds how long one small file can keep us busy.
	maxArchive = 2 << 30
	// maxDirectory bounds the list of entries, which package zip holds in memory: room
	// for 256 jobs of 150 steps each.
	maxDirectory = 8 << 20
)

var (
	errDirectory = fmt.Errorf("the archive's list of entries is over %d MB: unpack it and name the logs", maxDirectory>>20)
	errBroken    = errors.New("the archive is damaged or cut off: download it again")
)

// archive yields the logs in a zip archive, and closes f when they were read.
func archive(path string, f *os.File, yield func(input) bool) bool {
	var reading sync.WaitGroup
	defer func() {
		reading.Wait()
		_ = f.Close() // nothing was written
	}()
	files, err := directory(f)
	if err != nil {
		return yield(input{path: path, err: err})
	}
	logs := archived(files)
	if len(logs) == 0 {
		return yield(input{path: path, err: errors.New("there is no log in this archive")})
	}
	var total uint64
	for _, l := range logs {
		in := input{path: path + "!" + l.name, skipped: l.skipped, err: l.err}
		size := l.size()
		switch {
		case in.err != nil || in.skipped != "":
		case size > maxEntry:
			in.err = fmt.Errorf("it inflates to %d MB, over the bound of %d MB: unpack it and name the file", size>>20, maxEntry>>20)
		case total+size > maxArchive:
			in.err = fmt.Errorf("the archive inflates to more than %d GB: unpack it and name the logs", maxArchive>>30)
		default:
			total += size
			reading.Add(1)
			in.done = reading.Done
			in.open = func(context.Context) (io.ReadCloser, error) { return &joined{parts: l.parts, last: '\n'}, nil }
		}
		if !yield(in) {
			if in.done != nil {
				in.done()
			}
			return false
		}
	}
	return true
}

// directory returns the entries of an archive.
func directory(f *os.File) ([]*zip.File, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxArchive {
		return nil, fmt.Errorf("the archive is over %d GB: unpack it and name the logs", maxArchive>>30)
	}
	// The number of entries that an archive declares may be a lie, so what is bounded
	// is how much of the list is read.
	b := &bounded{r: f, left: maxDirectory}
	r, err := zip.NewReader(b, info.Size())
	switch {
	case b.left < 0:
		return nil, errDirectory
	case errors.Is(err, zip.ErrFormat), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return nil, errBroken
	case err != nil:
		return nil, err
	}
	b.open = true
	return r.File, nil
}

// bounded reads at most left bytes until it is open.
type bounded struct {
	r    io.ReaderAt
	left int
	open bool
}

func (b *bounded) ReadAt(p []byte, off int64) (int, error) {
	if !b.open {
		if b.left -= len(p); b.left < 0 {
			return 0, errDirectory
		}
	}
	return b.r.ReadAt(p, off)
}

// An archivedLog is one log in an archive: a job's file, or all files of its steps.
type archivedLog struct {
	name    string
	parts   []*zip.File
	err     error
	skipped string
}

func (l archivedLog) size() (n uint64) {
	for _, f := range l.parts {
		// A size of 2^64 must not wrap around to a small sum.
		n += min(f.UncompressedSize64, maxArchive+1)
	}
	return n
}

var (
	jobFile  = regexp.MustCompile(`^(-?\d+)_([^/]*)\.txt$`)
	stepFile = regexp.MustCompile(`^([^/]+)/-?\d+_[^/]*\.txt$`)
	metaFile = regexp.MustCompile(`^[^/]+/system\.txt$`)
)

// archived returns the logs of an archive in the order of their numbers. A run's archive holds, for each job,
//
//	0_JOB.txt       the job's log
//	JOB/1_STEP.txt  the same, step by step: read where the job's log is not there
//	JOB/system.txt  what GitHub did before the job began: not read
//	0_JOB (1).txt   the same in archives of 2022: not read
//
// Anything else is read as a log of its own.
func archived(files []*zip.File) []archivedLog {
	var jobs []string                 // names
	whole := map[string]bool{}        // names of job files
	steps := map[string][]*zip.File{} // by folder
	for _, f := range files {
		if m := jobFile.FindStringSubmatch(f.Name); m != nil {
			jobs = append(jobs, m[2])
			whole[f.Name] = true
		}
	}
	slices.Sort(jobs)
	var logs []archivedLog
	for _, f := range files {
		switch before, system := strings.CutSuffix(f.Name, " (1).txt"); {
		case strings.HasSuffix(f.Name, "/") && f.UncompressedSize64 == 0:
		case leadsOut(f.Name):
			logs = append(logs, archivedLog{name: f.Name, err: errors.New("refused: the entry's name leads out of the archive")})
		case !f.Mode().IsRegular():
			logs = append(logs, archivedLog{name: f.Name, skipped: kind(f.Mode())})
		case f.Flags&1 != 0:
			logs = append(logs, archivedLog{name: f.Name, err: errors.New("the entry is encrypted: unpack the archive and name the logs")})
		case system && whole[before+".txt"], metaFile.MatchString(f.Name):
		case stepFile.MatchString(f.Name):
			job, _, _ := strings.Cut(f.Name, "/")
			if !hasJob(jobs, job) {
				steps[job] = append(steps[job], f)
			}
		default:
			logs = append(logs, archivedLog{name: f.Name, parts: []*zip.File{f}})
		}
	}
	for job, parts := range steps {
		slices.SortStableFunc(parts, func(a, b *zip.File) int { return natural(a.Name, b.Name) })
		logs = append(logs, archivedLog{name: job, parts: parts})
	}
	slices.SortStableFunc(logs, func(a, b archivedLog) int { return natural(a.name, b.name) })
	return logs
}

// hasJob reports whether there is the log of the job whose steps stand in a folder; jobs are sorted. GitHub
// cuts the folder's name at 90 UTF-16 units.
func hasJob(jobs []string, folder string) bool {
	i, found := slices.BinarySearch(jobs, folder)
	return found || len(folder) >= 90 && i < len(jobs) && strings.HasPrefix(jobs[i], folder)
}

// leadsOut reports whether an entry's name would lead out of the folder that one unpacks it to.
func leadsOut(name string) bool {
	slashed := strings.ReplaceAll(name, `\`, "/")
	return strings.HasPrefix(slashed, "/") || len(name) > 1 && name[1] == ':' || slices.Contains(strings.Split(slashed, "/"), "..")
}

// natural compares names so that 2 comes before 10.
func natural(a, b string) int {
	for a != "" && b != "" {
		x, y := number(a), number(b)
		if x == "" || y == "" {
			if a[0] != b[0] {
				return cmp.Compare(a[0], b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		a, b = a[len(x):], b[len(y):]
		x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if c := cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// number returns the digits with which s begins.
func number(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}

// joined reads entries one after the other, each from the beginning of a line.
type joined struct {
	parts []*zip.File
	at    io.ReadCloser
	last  byte
}

func (j *joined) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if j.at == nil {
			if len(j.parts) == 0 {
				return 0, io.EOF
			}
			if j.last != '\n' {
				j.last, p[0] = '\n', '\n'
				return 1, nil
			}
			at, err := j.parts[0].Open()
			if err != nil {
				return 0, damaged(err)
			}
			j.at, j.parts = at, j.parts[1:]
		}
		n, err := j.at.Read(p)
		if n > 0 {
			j.last = p[n-1]
		}
		if errors.Is(err, io.EOF) {
			err = j.Close()
		}
		if n > 0 || err != nil {
			return n, damaged(err)
		}
	}
}

// Close closes the entry that is being read.
func (j *joined) Close() error {
	if j.at == nil {
		return nil
	}
	at := j.at
	j.at = nil
	return at.Close()
}

// damaged says what to do about an entry that cannot be read.
func damaged(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, zip.ErrAlgorithm) {
		return errors.New("the entry is compressed in a way that we do not know: unpack the archive and name the logs")
	}
	return fmt.Errorf("%w (%w)", errBroken, err)
}
