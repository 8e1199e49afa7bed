package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"golang.org/x/sync/errgroup"
)

const insertBatch = 5_000

const note = "a no-op job that carries about two hundred bytes of JSON, as the jobs of everybody else here do; " +
	"this text is what makes up most of them, and is never looked at"

type noop struct {
	Note   string `json:"note"`
	SentNs int64  `json:"sent_ns"`
}

func (noop) Kind() string { return "noop" }

type worker struct {
	river.WorkerDefaults[noop]
	starts *starts
}

func (w *worker) Work(_ context.Context, job *river.Job[noop]) error {
	w.starts.seen(job.Args.SentNs)
	return nil
}

// Times from the call of insert to the first line of the handler.
type starts struct {
	epoch time.Time
	lock  sync.Mutex
	times times
	// Told of each one, if somebody waits.
	next chan struct{}
}

func newStarts() *starts { return &starts{epoch: time.Now(), next: make(chan struct{}, 1)} }

func (s *starts) now() int64 { return int64(time.Since(s.epoch)) }

func (s *starts) job() noop { return noop{Note: note, SentNs: s.now()} }

func (s *starts) seen(sent int64) {
	waited := time.Duration(s.now() - sent)
	s.lock.Lock()
	defer s.lock.Unlock()
	s.times = append(s.times, waited)
	select {
	case s.next <- struct{}{}:
	default:
	}
}

func (s *starts) put(f figures) figures {
	s.lock.Lock()
	defer s.lock.Unlock()
	return f.withTimes(s.times)
}

func (p *peer) do(ctx context.Context, t task) (figures, error) {
	switch t.name {
	case "migrate":
		return figures{}, nil
	case "backlog":
		return p.backlog(ctx, t.count("jobs"))
	case "concurrent":
		return p.concurrent(ctx, t.count("jobs"), t.count("producers"))
	case "enqueue":
		return p.enqueue(ctx, t)
	case "latency":
		return p.latency(ctx, t.count("jobs"), t.millis("gap-ms"))
	case "paced":
		return p.paced(ctx, t.count("jobs"), t.millis("every-ms"))
	case "through":
		return p.through(ctx, t.count("jobs"), t.count("last"), t.count("chunk"))
	case "idle":
		return p.idle(ctx, time.Duration(t.count("seconds"))*time.Second)
	default:
		return figures{}, fmt.Errorf("no such task: %s", t.name)
	}
}

func (p *peer) params(jobs int) []river.InsertManyParams {
	params := make([]river.InsertManyParams, jobs)
	for i := range params {
		params[i].Args = p.starts.job()
	}
	return params
}

// By COPY, which is River's fastest way in.
func (p *peer) insert(ctx context.Context, jobs int) error {
	for jobs > 0 {
		batch := min(jobs, insertBatch)
		if _, err := p.client.InsertManyFast(ctx, p.params(batch)); err != nil {
			return err
		}
		jobs -= batch
	}
	return nil
}

// Jobs that were committed as completed.
type outcomes struct {
	events <-chan *river.Event
	done   int
}

func (p *peer) outcomes(jobs int) (*outcomes, func()) {
	events, cancel := p.client.SubscribeConfig(&river.SubscribeConfig{
		ChanSize: jobs + 1,
		Kinds:    []river.EventKind{river.EventKindJobCompleted, river.EventKindJobFailed, river.EventKindJobCancelled},
	})
	return &outcomes{events: events}, cancel
}

// Waits until so many are done in all.
func (o *outcomes) wait(jobs int) error {
	for o.done < jobs {
		if err := o.take(<-o.events); err != nil {
			return err
		}
	}
	return nil
}

// Counts what is known already.
func (o *outcomes) now() (int, error) {
	for {
		select {
		case event := <-o.events:
			if err := o.take(event); err != nil {
				return 0, err
			}
		default:
			return o.done, nil
		}
	}
}

func (o *outcomes) take(event *river.Event) error {
	if event == nil {
		return errors.New("the client stopped")
	}
	if event.Kind != river.EventKindJobCompleted {
		return fmt.Errorf("a job ended otherwise than completed: %s", event.Kind)
	}
	o.done++
	return nil
}

// Runs with the client's workers started.
func (p *peer) working(ctx context.Context, jobs int, do func(*outcomes) (figures, error)) (figures, error) {
	outcomes, cancel := p.outcomes(jobs)
	defer cancel()
	if err := p.client.Start(ctx); err != nil {
		return figures{}, err
	}
	f, err := do(outcomes)
	if err != nil {
		return figures{}, err
	}
	return f, p.client.Stop(ctx)
}

func (p *peer) backlog(ctx context.Context, jobs int) (figures, error) {
	if err := p.insert(ctx, jobs); err != nil {
		return figures{}, err
	}
	var began began
	return p.working(ctx, jobs, func(o *outcomes) (figures, error) {
		began = beginNow()
		if err := o.wait(jobs); err != nil {
			return figures{}, err
		}
		return began.done(jobs)
	})
}

func (p *peer) concurrent(ctx context.Context, jobs, producers int) (figures, error) {
	return p.working(ctx, jobs, func(o *outcomes) (figures, error) {
		began := beginNow()
		group, ctx := errgroup.WithContext(ctx)
		for producer := range producers {
			share := jobs / producers
			if producer < jobs%producers {
				share++
			}
			group.Go(func() error {
				for range share {
					if _, err := p.client.Insert(ctx, p.starts.job(), nil); err != nil {
						return err
					}
				}
				return nil
			})
		}
		group.Go(func() error { return o.wait(jobs) })
		if err := group.Wait(); err != nil {
			return figures{}, err
		}
		f, err := began.done(jobs)
		return p.starts.put(f), err
	})
}

func (p *peer) enqueue(ctx context.Context, t task) (figures, error) {
	batch := t.count("batch")
	countingFrom := time.Now().Add(t.millis("warmup-ms"))
	end := countingFrom.Add(t.millis("measure-ms"))
	var lock sync.Mutex
	var counted int
	var took times
	group, ctx := errgroup.WithContext(ctx)
	for range t.count("callers") {
		group.Go(func() error {
			for time.Now().Before(end) {
				params := p.params(batch)
				began := time.Now()
				var err error
				if batch == 1 {
					_, err = p.client.Insert(ctx, params[0].Args, nil)
				} else {
					_, err = p.client.InsertManyFast(ctx, params)
				}
				if err != nil {
					return err
				}
				now := time.Now()
				if now.After(countingFrom) && now.Before(end) {
					lock.Lock()
					counted += batch
					took = append(took, now.Sub(began))
					lock.Unlock()
				}
			}
			return nil
		})
	}
	time.Sleep(time.Until(countingFrom))
	began := beginNow()
	time.Sleep(time.Until(end))
	lock.Lock()
	f, err := began.done(counted)
	lock.Unlock()
	if err := errors.Join(err, group.Wait()); err != nil {
		return figures{}, err
	}
	return f.withTimes(took), nil
}

func (p *peer) latency(ctx context.Context, jobs int, gap time.Duration) (figures, error) {
	return p.working(ctx, jobs, func(*outcomes) (figures, error) {
		for range jobs {
			if _, err := p.client.Insert(ctx, p.starts.job(), nil); err != nil {
				return figures{}, err
			}
			<-p.starts.next
			time.Sleep(gap)
		}
		f, err := memory()
		return p.starts.put(f), err
	})
}

func (p *peer) paced(ctx context.Context, jobs int, every time.Duration) (figures, error) {
	return p.working(ctx, jobs, func(o *outcomes) (figures, error) {
		group, ctx := errgroup.WithContext(ctx)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for range jobs {
			<-tick.C
			// A slow insert does not hold the next one up.
			job := p.starts.job()
			group.Go(func() error {
				_, err := p.client.Insert(ctx, job, nil)
				return err
			})
		}
		group.Go(func() error { return o.wait(jobs) })
		if err := group.Wait(); err != nil {
			return figures{}, err
		}
		f, err := memory()
		return p.starts.put(f), err
	})
}

// Inserts chunk after chunk while they are worked, and times the last jobs.
func (p *peer) through(ctx context.Context, jobs, last, chunk int) (figures, error) {
	return p.working(ctx, jobs, func(o *outcomes) (figures, error) {
		var began began
		var before int
		for inserted := 0; inserted < jobs; {
			if began.at.IsZero() && inserted+last >= jobs {
				var err error
				if before, err = o.now(); err != nil {
					return figures{}, err
				}
				began = beginNow()
			}
			next := min(chunk, jobs-inserted)
			if err := p.insert(ctx, next); err != nil {
				return figures{}, err
			}
			inserted += next
			if err := o.wait(inserted - chunk); err != nil {
				return figures{}, err
			}
		}
		if err := o.wait(jobs); err != nil {
			return figures{}, err
		}
		if began.at.IsZero() {
			return figures{}, errors.New("too few jobs to have last ones")
		}
		return began.done(jobs - before)
	})
}

func (p *peer) idle(ctx context.Context, wait time.Duration) (figures, error) {
	return p.working(ctx, 1, func(*outcomes) (figures, error) {
		time.Sleep(wait)
		return memory()
	})
}
