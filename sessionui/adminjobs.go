package sessionui

import (
	"log/slog"
	"net/http"
	"time"
)

// jobView is a job as templates are given it.
type jobView struct {
	jobJSON
	Started, Finished timeView
	Running           bool
	StateText         string
}

// jobPage is what job.html is given, and jobs.html for each of them.
type jobPage struct {
	*call
	Job jobView
}

type jobsPage struct {
	*call
	Jobs []jobView
}

type jobsJSON struct {
	Jobs []jobJSON `json:"jobs"`
	CSRF string    `json:"csrf_token,omitempty"`
}

func (c *call) viewJob(j jobJSON) jobView {
	v := jobView{
		jobJSON: j, Started: c.time(j.StartedAt), Finished: c.time(j.EndedAt),
		Running: j.State == jobRunning, StateText: c.T("job." + string(j.State)),
	}
	v.Actor, v.Reason, v.Filter = mark(j.Actor, 64), clean(j.Reason, 200), clean(j.Filter, 300)
	return v
}

func (a *admin) listJobs(c *call) {
	list := a.jobs.all()
	if c.wantsJSON() {
		c.answer(http.StatusOK, jobsJSON{list, c.CSRF()})
		return
	}
	page := jobsPage{call: c}
	for _, j := range list {
		page.Jobs = append(page.Jobs, c.viewJob(j))
	}
	c.render(http.StatusOK, "jobs.html", page)
}

// showJob shows how far a job is. It waits a moment, so that a short one is
// shown done, and the page loads itself again while the job runs.
func (a *admin) showJob(c *call) {
	j := a.jobs.find(c.r.PathValue("id"))
	if j == nil {
		c.problem(http.StatusNotFound, "error.job")
		return
	}
	moment := time.NewTimer(500 * time.Millisecond)
	defer moment.Stop()
	select {
	case <-j.finished:
	case <-moment.C:
	case <-c.r.Context().Done():
	}
	a.answerJob(c, j)
}

func (a *admin) answerJob(c *call, j *job) {
	s := j.snapshot()
	if c.wantsJSON() {
		c.answer(http.StatusOK, s)
		return
	}
	if s.State == jobRunning {
		c.Refresh = 2
	}
	c.render(http.StatusOK, "job.html", jobPage{c, c.viewJob(s)})
}

func (a *admin) stopJob(c *call) {
	j := a.jobs.find(c.r.PathValue("id"))
	if j == nil {
		c.problem(http.StatusNotFound, "error.job")
		return
	}
	ctx, actor, reason := a.acting(c)
	j.stop()
	a.audit(ctx, "stop a job", actor, reason, nil, slog.String("job", j.id))
	if c.wantsJSON() {
		a.answerJob(c, j)
		return
	}
	c.redirect("jobs/" + j.id)
}
