package main

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// An entry is one of an archive; size is what it declares, where that is a lie.
type entry struct {
	name, content string
	size          uint64
}

func zipped(t *testing.T, entries ...entry) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		if e.size > 0 {
			raw, err := w.CreateRaw(&zip.FileHeader{Name: e.name, CompressedSize64: uint64(len(e.content)), UncompressedSize64: e.size})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(raw, e.content)
			continue
		}
		f, err := w.Create(e.name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, e.content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const brokenZip = "the archive is damaged or cut off: download it again"

// Each row is red where a log of a run's archive is read twice, left out, or in the wrong place.
func TestArchive(t *testing.T) {
	for _, test := range []struct {
		name    string
		entries []entry
		want    []string
	}{
		{"2 before 10, and the steps of a job whose log is there not at all", []entry{
			{name: "10_deploy.txt", content: cleanLog}, {name: "2_build.txt", content: failedLog}, {name: "build/"}, {name: "build/1_Set up job.txt", content: cleanLog},
			{name: "build/3_Push.txt", content: failedLog}, {name: "build/system.txt", content: "Evaluating build.if"}, {name: "deploy/system.txt", content: "x"},
		}, []string{"2_build.txt: 1 found", "10_deploy.txt: 0 found"}},
		{"a system log, and a job that is named like one", []entry{
			{name: "1_build.txt", content: cleanLog}, {name: "1_build (1).txt", content: failedLog}, {name: "2_test (1).txt", content: failedLog},
		}, []string{"1_build.txt: 0 found", "2_test (1).txt: 1 found"}},
		{"only steps: one log of each job", []entry{
			{name: "test/1_Set up job.txt", content: cleanLog}, {name: "build/2_Push.txt", content: failedLog}, {name: "build/1_Set up job.txt", content: cleanLog},
		}, []string{"build: 1 found", "test: 0 found"}},
		{"a folder that GitHub cut at 90 characters", []entry{
			{name: "0_" + strings.Repeat("n", 95) + ".txt", content: cleanLog}, {name: strings.Repeat("n", 90) + "/1_Push.txt", content: failedLog},
		}, []string{"0_" + strings.Repeat("n", 95) + ".txt: 0 found"}},
		{"logs that a person has packed", []entry{
			{name: "logs/job.log", content: failedLog}, {name: "a.txt", content: cleanLog}, {name: "core", content: "\x7fELF\x00\x00\x00\x00"},
		}, []string{"a.txt: 0 found", "core: this is not text: name the log itself, unpacked", "logs/job.log: 1 found"}},
		{"names that lead out", []entry{
			{name: "../0_up.txt", content: cleanLog}, {name: "/etc/passwd", content: cleanLog}, {name: `..\1_up.txt`, content: cleanLog},
			{name: "C:/x.txt", content: cleanLog}, {name: "2_good.txt", content: failedLog},
		}, []string{
			"../0_up.txt: refused: the entry's name leads out of the archive", `..\1_up.txt: refused: the entry's name leads out of the archive`,
			"/etc/passwd: refused: the entry's name leads out of the archive", "2_good.txt: 1 found", "C:/x.txt: refused: the entry's name leads out of the archive",
		}},
		{"an entry that would inflate past the bound, and one that lies", []entry{
			{name: "0_bomb.txt", content: "x", size: 300 << 20}, {name: "1_liar.txt", content: failedLog, size: 10}, {name: "2_short.txt", content: cleanLog, size: 10 << 20},
			{name: "3_good.txt", content: failedLog},
		}, []string{
			"0_bomb.txt: it inflates to 300 MB, over the bound of 256 MB: unpack it and name the file",
			"1_liar.txt: " + brokenZip + " (zip: not a valid zip file)", "2_short.txt: " + brokenZip + " (unexpected EOF)", "3_good.txt: 1 found",
		}},
		{"no log", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			write(t, map[string]string{"run.zip": zipped(t, test.entries...), "good.log": failedLog})
			want := []string{"run.zip: there is no log in this archive"}
			if test.want != nil {
				want = nil
			}
			for _, row := range test.want {
				want = append(want, "run.zip!"+row)
			}
			got := diagnose(t, "--format", "json", "run.zip", "good.log")
			if diff := cmp.Diff(append(want, "good.log: 1 found"), outcomes(t, got.stdout)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			// The order of work must not change the result: --explain reads one after the other.
			if diff := cmp.Diff(got.stdout, diagnose(t, "--format", "json", "--explain", "run.zip", "good.log").stdout); diff != "" {
				t.Errorf("with --explain:\n%s", diff)
			}
		})
	}
}

// Red where the steps of a job are read in another order than they ran, or where a step's first line
// is taken for the end of the last line before it.
func TestStepsInOrder(t *testing.T) {
	step := strings.SplitAfter(failedLog, "\n")
	write(t, map[string]string{"run.zip": zipped(t,
		entry{name: "build/10_Post.txt", content: "\ufeff" + cleanLog},
		entry{name: "build/2_Push.txt", content: "\ufeff" + step[0] + step[1] + strings.TrimSuffix(step[2], "\n")},
		entry{name: "build/1_Set up job.txt", content: "\ufeff" + cleanLog},
	)})
	all := answers(t, diagnose(t, "--format", "json", "run.zip").stdout)
	if len(all) != 1 || len(all[0].Findings) != 1 || all[0].Path != "run.zip!build" {
		t.Fatalf("%+v", all)
	}
	if f := all[0].Findings[0]; f.Line != 5 || f.Evidence[0].Text != refusal {
		t.Errorf("line %d, %q", f.Line, f.Evidence[0].Text)
	}
}

// Red where an archive that came down in part, or has another form, is read in part.
func TestBrokenArchive(t *testing.T) {
	whole := zipped(t, entry{name: "0_build.txt", content: strings.Repeat(failedLog, 50)})
	damaged := []byte(whole)
	damaged[60] ^= 0xff
	write(t, map[string]string{
		"cut.zip": whole[:len(whole)-30], "cut": whole[:100], "page.zip": "<html>Not Found</html>", "empty.zip": "", "damaged.zip": string(damaged), "good.log": failedLog,
	})
	got := diagnose(t, "--format", "json", "cut.zip", "cut", "page.zip", "empty.zip", "damaged.zip", "good.log")
	rows := outcomes(t, got.stdout)
	if len(rows) != 6 || !strings.HasPrefix(rows[4], "damaged.zip!0_build.txt: "+brokenZip) {
		t.Fatalf("rows: %q", rows)
	}
	rows[4] = "damaged"
	want := []string{"cut.zip: " + brokenZip, "cut: " + brokenZip, "page.zip: " + brokenZip,
		"empty.zip: the log is empty: was the job skipped, or is it still running? Fetch the log again when the job has ended", "damaged", "good.log: 1 found"}
	if diff := cmp.Diff(want, rows); diff != "" || got.status != 2 {
		t.Errorf("status %d (-want +got):\n%s", got.status, diff)
	}
}

// Red where the sum of what an archive inflates to has no bound.
func TestArchiveTotal(t *testing.T) {
	var entries []entry
	for i := range 10 {
		entries = append(entries, entry{name: fmt.Sprintf("%d_job.txt", i), content: "x", size: 250 << 20})
	}
	write(t, map[string]string{"run.zip": zipped(t, entries...)})
	rows := outcomes(t, diagnose(t, "--format", "json", "run.zip").stdout)
	for i, row := range rows {
		if got, want := strings.Contains(row, "inflates to more than 2 GB"), i >= 8; got != want {
			t.Errorf("%s", row)
		}
	}
}

// Red where a list of 10^6 entries is taken into memory, whatever number of them the archive declares.
func TestMillionEntries(t *testing.T) {
	const n = 1_000_000
	header := make([]byte, 47)
	copy(header, "PK\x01\x02")
	binary.LittleEndian.PutUint16(header[28:], 1) // length of the name
	header[46] = 'a'
	tail := make([]byte, 22)
	copy(tail, "PK\x05\x06")
	binary.LittleEndian.PutUint16(tail[8:], n&0xffff)
	binary.LittleEndian.PutUint16(tail[10:], n&0xffff)
	binary.LittleEndian.PutUint32(tail[12:], uint32(n*len(header)))
	content := "PK\x03\x04" + strings.Repeat("\x00", 26)
	binary.LittleEndian.PutUint32(tail[16:], uint32(len(content)))
	write(t, map[string]string{"run.zip": content + strings.Repeat(string(header), n) + string(tail), "good.log": failedLog})

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := diagnose(t, "--format", "json", "run.zip", "good.log")
	runtime.ReadMemStats(&after)
	if diff := cmp.Diff([]string{"run.zip: the archive's list of entries is over 8 MB: unpack it and name the logs", "good.log: 1 found"}, outcomes(t, got.stdout)); diff != "" || got.status != 2 {
		t.Errorf("status %d (-want +got):\n%s", got.status, diff)
	}
	if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 200 {
		t.Errorf("%d MB were allocated", used)
	}
}
