// Drives River's Go client on PostgreSQL and prints one line of JSON with what it did.
//
// The worker settings are those of River's own bench. River inserts in-process: it pays for no HTTP.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	// As the driver of the Rust client has, whose bench names it.
	connections = 50
	// What River's own bench gives its client.
	maxWorkers    = 2_000
	fetchCooldown = 2 * time.Millisecond
	fetchPoll     = 20 * time.Millisecond
)

type peer struct {
	client *river.Client[pgx.Tx]
	starts *starts
}

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("river-go", flag.ContinueOnError)
	url := flags.String("database-url", "", "the PostgreSQL database, best an empty one")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *url == "" || flags.NArg() == 0 {
		return fmt.Errorf("usage: river-go --database-url URL TASK [--option number]")
	}
	task, err := parseTask(flags.Args())
	if err != nil {
		return err
	}
	peer, closePool, err := open(ctx, *url)
	if err != nil {
		return err
	}
	defer closePool()
	figures, err := peer.do(ctx, task)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(figures)
}

// A task and its options, all of them numbers.
type task struct {
	name    string
	options map[string]*int
}

func parseTask(args []string) (task, error) {
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	options := map[string]*int{}
	for _, name := range []string{
		"jobs", "producers", "batch", "callers", "warmup-ms", "measure-ms", "gap-ms", "every-ms", "last", "chunk", "seconds",
	} {
		options[name] = flags.Int(name, 0, "")
	}
	return task{name: args[0], options: options}, flags.Parse(args[1:])
}

func (t task) count(name string) int { return *t.options[name] }

func (t task) millis(name string) time.Duration {
	return time.Duration(t.count(name)) * time.Millisecond
}

func open(ctx context.Context, url string) (*peer, func(), error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, nil, err
	}
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	driver := riverpgxv5.New(pool)
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return nil, nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, nil, err
	}
	starts := newStarts()
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{starts: starts})
	client, err := river.NewClient(driver, &river.Config{
		FetchCooldown:     fetchCooldown,
		FetchPollInterval: fetchPoll,
		Logger:            quiet,
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: maxWorkers}},
		Workers:           workers,
	})
	if err != nil {
		return nil, nil, err
	}
	return &peer{client: client, starts: starts}, pool.Close, nil
}
