//! What must hold between the tables, for tests.

use tidewire_db::{Query, Result};

use super::Store;

/// Each question finds the rows that break the rule beside it.
const RULES: [(&str, &str); 15] = [
    (
        "a pending job has its entry",
        "SELECT j.id FROM jobs j WHERE j.status = 'pending' AND NOT EXISTS (SELECT 1 FROM job_queue q
            WHERE q.tenant = j.tenant AND q.queue = j.queue AND q.type = j.type
            AND q.priority = j.priority AND q.run_at = coalesce(j.reserved_until, j.run_at) AND q.id = j.id)",
    ),
    (
        "an entry has its pending job",
        "SELECT q.id FROM job_queue q LEFT JOIN jobs j ON j.tenant = q.tenant AND j.id = q.id
            WHERE coalesce(j.status, '') <> 'pending'",
    ),
    (
        "a reservation has its pending job",
        "SELECT r.id FROM job_reservations r LEFT JOIN jobs j ON j.tenant = r.tenant AND j.id = r.id
            WHERE coalesce(j.status, '') <> 'pending' OR coalesce(j.reserved_for, '') <> r.worker
            OR j.run_at <> r.run_at OR j.reserved_until <> r.held_until OR j.queue <> r.queue
            OR j.type <> r.type OR j.priority <> r.priority",
    ),
    (
        "a job that is reserved waits",
        "SELECT id FROM jobs WHERE (reserved_for IS NOT NULL OR reserved_until IS NOT NULL)
            AND status <> 'pending'",
    ),
    (
        "a running job has its lease",
        "SELECT j.id FROM jobs j WHERE j.status = 'running' AND NOT EXISTS (SELECT 1 FROM job_leases l
            WHERE l.tenant = j.tenant AND l.queue = j.queue AND l.id = j.id)",
    ),
    (
        "a lease has its running job",
        "SELECT l.id FROM job_leases l LEFT JOIN jobs j ON j.tenant = l.tenant AND j.id = l.id
            WHERE coalesce(j.status, '') <> 'running'",
    ),
    (
        "a job that was given up is listed",
        "SELECT j.id FROM jobs j WHERE j.status IN ('failed', 'cancelled') AND NOT EXISTS (
            SELECT 1 FROM job_given_up g WHERE g.tenant = j.tenant AND g.status = j.status
            AND g.id = j.id AND g.type = j.type AND g.queue = j.queue)",
    ),
    (
        "what is listed was given up",
        "SELECT g.id FROM job_given_up g LEFT JOIN jobs j ON j.tenant = g.tenant AND j.id = g.id
            WHERE coalesce(j.status, '') <> g.status",
    ),
    (
        "a job that has ended has an end",
        "SELECT id FROM jobs WHERE status IN ('done', 'failed', 'cancelled') AND finished_at IS NULL",
    ),
    (
        "a lease is its job's claim",
        "SELECT l.id FROM job_leases l JOIN jobs j ON j.tenant = l.tenant AND j.id = l.id
            WHERE coalesce(j.lease_secret, '') <> l.secret OR j.locked_at IS NULL",
    ),
    (
        "a job that nobody has had has no claim",
        "SELECT id FROM jobs WHERE attempts = 0 AND lease_secret IS NOT NULL",
    ),
    (
        "a job that has not ended has no end",
        "SELECT id FROM jobs WHERE status IN ('pending', 'running') AND finished_at IS NOT NULL",
    ),
    (
        "a log has no attempt beyond the job's",
        "SELECT a.job_id FROM job_attempts a LEFT JOIN jobs j ON j.tenant = a.tenant AND j.id = a.job_id
            WHERE a.attempt > coalesce(j.attempts, 0)",
    ),
    (
        "a result has its job, which is done",
        "SELECT r.job_id FROM job_results r LEFT JOIN jobs j ON j.tenant = r.tenant AND j.id = r.job_id
            WHERE coalesce(j.status, '') <> 'done'",
    ),
    (
        "progress has its job",
        "SELECT p.job_id FROM job_progress p LEFT JOIN jobs j ON j.tenant = p.tenant AND j.id = p.job_id
            WHERE j.id IS NULL",
    ),
];

impl Store {
    /// The rules that are broken, and by which jobs.
    pub(crate) async fn broken(&self, query: &mut impl Query) -> Result<Vec<String>> {
        let mut broken = Vec::new();
        for (rule, question) in RULES {
            for row in query.rows(&self.dialect.sql(question), Vec::new()).await? {
                broken.push(format!("{rule}: {}", row.text(0)?));
            }
        }
        Ok(broken)
    }
}
