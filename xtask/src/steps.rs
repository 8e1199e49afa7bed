//! A chore's steps: run in order up to the first that fails, timed, and summed up in a table.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How a step ended, when it did not fail.
pub enum Outcome {
    Passed,
    /// It ended well, and has something to add.
    Noted(String),
    /// It could not be tried on this machine, which the table must not hide.
    NotRun(String),
}

struct Row {
    name: &'static str,
    took: Duration,
    outcome: String,
}

/// The steps so far.
pub struct Steps {
    started: Instant,
    rows: Vec<Row>,
}

impl Steps {
    pub fn new() -> Steps {
        Steps {
            started: Instant::now(),
            rows: Vec::new(),
        }
    }

    /// Run one step, and name it in the error if it fails.
    pub fn run(
        &mut self,
        name: &'static str,
        step: impl FnOnce() -> Result<Outcome>,
    ) -> Result<()> {
        println!("\n==> {name}");
        let started = Instant::now();
        let result = step();
        let outcome = match &result {
            Ok(Outcome::Passed) => "passed".to_owned(),
            Ok(Outcome::Noted(note)) => format!("passed: {note}"),
            Ok(Outcome::NotRun(why)) => format!("NOT RUN: {why}"),
            Err(_) => "FAILED".to_owned(),
        };
        self.rows.push(Row {
            name,
            took: started.elapsed(),
            outcome,
        });
        result
            .map(drop)
            .with_context(|| format!("step `{name}` failed"))
    }

    /// Print how each step ended and how long it took.
    pub fn print(&self) {
        let width = self
            .rows
            .iter()
            .map(|row| row.name.len())
            .max()
            .unwrap_or(0)
            .max("total".len());
        println!("\n{:width$}  {:>8}  outcome", "step", "time");
        for row in &self.rows {
            let took = clock_face(row.took);
            println!("{:width$}  {took:>8}  {}", row.name, row.outcome);
        }
        println!(
            "{:width$}  {:>8}",
            "total",
            clock_face(self.started.elapsed())
        );
    }
}

fn clock_face(took: Duration) -> String {
    let seconds = took.as_secs();
    if seconds < 60 {
        format!("{:.1} s", took.as_secs_f64())
    } else {
        format!("{}:{:02} min", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_step_is_named_with_its_cause() {
        let mut steps = Steps::new();
        let error = steps
            .run("formatting", || anyhow::bail!("main.rs differs"))
            .expect_err("the step failed");
        assert_eq!(
            format!("{error:#}"),
            "step `formatting` failed: main.rs differs"
        );
    }

    #[test]
    fn times_read_as_people_say_them() {
        assert_eq!(clock_face(Duration::from_millis(1_240)), "1.2 s");
        assert_eq!(clock_face(Duration::from_secs(754)), "12:34 min");
    }
}
