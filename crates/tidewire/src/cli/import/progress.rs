//! How far an import is: a bar where a person sees it, a line now and then where a log does.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::{super::output, Tally};

/// Between lines in a log.
const EVERY: Duration = Duration::from_secs(5);
/// Without an answer for so long, something is said about it.
const QUIET: Duration = Duration::from_secs(5);

pub(super) struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
    size: Option<u64>,
    read_to: u64,
    started: Instant,
    last_answer: Instant,
    last_line: Instant,
}

impl Progress {
    /// `size` is that of the input in bytes, if it is known.
    pub fn new(size: Option<u64>) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let target = if is_terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(size, target);
        let template = match size {
            Some(_) => "{wide_bar} {percent:>3} %  {msg}  {eta} left",
            None => "{spinner} {msg}  {elapsed}",
        };
        bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
        if is_terminal {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let now = Instant::now();
        Progress {
            bar,
            is_terminal,
            size,
            read_to: 0,
            started: now,
            last_answer: now,
            last_line: now,
        }
    }

    /// A batch has been answered.
    pub fn sent(&mut self, tally: &Tally, read_to: u64) {
        // Batches may end out of order.
        self.read_to = self.read_to.max(read_to);
        self.last_answer = Instant::now();
        self.bar.set_position(self.read_to);
        self.bar.set_message(self.told(tally));
    }

    /// Once a second.
    pub fn tick(&mut self, tally: &Tally, is_waiting: bool) {
        let is_quiet = is_waiting && self.last_answer.elapsed() >= QUIET;
        if is_quiet {
            self.bar
                .set_message(format!("{}, waiting for the server", self.told(tally)));
        }
        if self.is_terminal || self.last_line.elapsed() < EVERY {
            return;
        }
        self.last_line = Instant::now();
        let mut line = self.told(tally);
        if let Some(size) = self.size.filter(|size| *size > 0) {
            #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
            let part = (self.read_to as f64 / size as f64).clamp(0.0, 1.0);
            line.push_str(&format!(", {:.0} %", part * 100.0));
            if part > 0.0 {
                let left = self
                    .started
                    .elapsed()
                    .mul_f64((1.0 - part) / part)
                    .as_secs();
                line.push_str(&format!(", {left} s left"));
            }
        }
        if is_quiet {
            line.push_str(", waiting for the server");
        }
        output::tell(&line);
    }

    /// Says something beside the bar.
    pub fn tell(&self, text: &str) {
        self.bar.suspend(|| output::tell(text));
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn told(&self, tally: &Tally) -> String {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = tally.read as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        format!("{} events, {rate:.0}/s", tally.read)
    }
}
