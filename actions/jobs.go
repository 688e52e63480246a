package actions

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/google/go-github/v60/github"

	"github.com/akkospace/pushdoctor"
)

// Jobs returns the jobs of all attempts of the run, by attempt and id. A job that a re-run carried over is
// told once, as of the lowest attempt: there it ran, and there its log is. A job that has not ended has no Conclusion
// and no CompletedAt.
func (c *Client) Jobs(ctx context.Context, run pushdoctor.Run) ([]pushdoctor.Job, error) {
	owner, repo, err := split(run.Repository)
	if err != nil {
		return nil, fmt.Errorf("jobs of run %d: %w", run.ID, err)
	}
	var jobs []pushdoctor.Job
	seen := map[int64]bool{}
	for page := 1; page != 0; {
		some, resp, err := c.github.Actions.ListWorkflowJobs(ctx, owner, repo, run.ID, &github.ListWorkflowJobsOptions{
			Filter: "all", ListOptions: github.ListOptions{Page: page, PerPage: pageSize},
		})
		if err != nil {
			return nil, fmt.Errorf("jobs of run %d of %s: %w", run.ID, run.Repository, explain(err))
		}
		if some == nil || some.TotalCount == nil || slices.ContainsFunc(some.Jobs, func(j *github.WorkflowJob) bool { return j == nil || j.ID == nil }) {
			return nil, fmt.Errorf("jobs of run %d of %s: %w", run.ID, run.Repository, errEmpty)
		}
		for _, j := range some.Jobs {
			if !seen[j.GetID()] {
				seen[j.GetID()] = true
				jobs = append(jobs, job(run, j))
			}
		}
		if page = resp.NextPage; page > maxPages {
			return nil, fmt.Errorf("jobs of run %d of %s: more than %d", run.ID, run.Repository, maxPages*pageSize)
		}
	}
	slices.SortFunc(jobs, func(a, b pushdoctor.Job) int {
		return cmp.Or(cmp.Compare(a.RunAttempt, b.RunAttempt), cmp.Compare(a.JobID, b.JobID))
	})
	ran := map[pushdoctor.Execution]int{} // in which attempt
	return slices.DeleteFunc(jobs, func(j pushdoctor.Job) bool {
		first, ok := ran[j.Execution()]
		if !ok {
			ran[j.Execution()] = j.RunAttempt
		}
		// Two jobs of one attempt are never the same, however alike a matrix has named them.
		return ok && first != j.RunAttempt
	}), nil
}

// Job returns one job, by its id.
func (c *Client) Job(ctx context.Context, repository string, id int64) (pushdoctor.Job, error) {
	owner, repo, err := split(repository)
	if err != nil {
		return pushdoctor.Job{}, fmt.Errorf("job %d: %w", id, err)
	}
	j, _, err := c.github.Actions.GetWorkflowJobByID(ctx, owner, repo, id)
	if err != nil {
		return pushdoctor.Job{}, fmt.Errorf("job %d of %s: %w", id, repository, explain(err))
	}
	if j == nil || j.ID == nil || j.RunID == nil {
		return pushdoctor.Job{}, fmt.Errorf("job %d of %s: %w", id, repository, errEmpty)
	}
	run, err := c.Run(ctx, repository, j.GetRunID())
	if err != nil {
		return pushdoctor.Job{}, fmt.Errorf("job %d: %w", id, err)
	}
	return job(run, j), nil
}

func job(run pushdoctor.Run, j *github.WorkflowJob) pushdoctor.Job {
	return pushdoctor.Job{
		Repository:     run.Repository,
		Workflow:       run.Workflow,
		RunID:          run.ID,
		RunAttempt:     int(j.GetRunAttempt()),
		JobID:          j.GetID(),
		Name:           j.GetName(),
		Branch:         run.Branch,
		Event:          run.Event,
		URL:            j.GetHTMLURL(),
		RepositoryID:   run.RepositoryID,
		WorkflowID:     run.WorkflowID,
		Runner:         j.GetRunnerName(),
		HeadRepository: run.HeadRepository,
		StartedAt:      j.GetStartedAt().UTC(),
		Conclusion:     j.GetConclusion(),
		CompletedAt:    j.GetCompletedAt().UTC(),
	}
}
