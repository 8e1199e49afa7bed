//! What is sent: about 200 bytes of JSON an event and as much a job, 150 what an agent says. Made on the fly from a small generator, so that
//! no two are alike and none costs the cores anything to speak of.

use std::fmt::{self, Display};
use std::io::Write as _;
use std::ops::Range;

/// Marks an event with the generator's clock; SSE subscribers look for it.
pub const SENT_MARK: &str = "\"sent_ns\":";

/// Where the digits are that follow a mark. PostgreSQL's JSONB comes back with a space before them.
pub fn digits_behind(mark: usize, text: &[u8]) -> Range<usize> {
    let count = |text: &[u8], is: fn(&u8) -> bool| text.iter().take_while(|byte| is(byte)).count();
    let behind = mark + SENT_MARK.len();
    let from = behind + count(&text[behind..], u8::is_ascii_whitespace);
    from..from + count(&text[from..], u8::is_ascii_digit)
}

/// The number that these digits are.
pub fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number: u64, digit| {
        number
            .wrapping_mul(10)
            .wrapping_add(u64::from(digit - b'0'))
    })
}

pub const TYPES: [&str; 8] = [
    "order.created",
    "order.paid",
    "order.shipped",
    "user.signed_up",
    "user.logged_in",
    "page.viewed",
    "invoice.sent",
    "invoice.paid",
];

/// xorshift64*: a stream of its own for each connection, the same in every run.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

const WRITES: &str = "a vector takes every write";

/// What was drawn for one event; shown, not stored, so that making a body allocates nothing.
pub struct Event {
    pub kind: &'static str,
    subject: u64,
    key: Option<(u64, u64)>,
    order: u64,
    basket: u64,
}

impl Event {
    pub fn subject(&self) -> impl Display {
        let subject = self.subject;
        display(move |f| write!(f, "user-{subject:04}"))
    }

    pub fn key(&self) -> Option<impl Display> {
        let (seed, number) = self.key?;
        Some(display(move |f| write!(f, "shop:{seed:04x}:{number:010}")))
    }

    pub fn payload(&self, sent_ns: u64) -> impl Display {
        let (order, basket) = (self.order, self.basket);
        display(move |f| {
            write!(
                f,
                "{{\"order\":{order},\"amount_cents\":{},\"currency\":\"EUR\",\"channel\":\"web\",\
                 \"basket\":\"{basket:016x}\",\"items\":{},{SENT_MARK}{sent_ns}}}",
                basket % 100_000,
                basket >> 40 & 7,
            )
        })
    }
}

fn display(show: impl Fn(&mut fmt::Formatter<'_>) -> fmt::Result) -> impl Display {
    fmt::from_fn(show)
}

/// Writes bodies for one connection.
pub struct Events {
    rng: Rng,
    /// With a key in every event; keys repeat only if two generators share a seed.
    keyed: bool,
    seed: u64,
    made: u64,
}

impl Events {
    pub fn new(seed: u64, keyed: bool) -> Self {
        Self {
            rng: Rng::new(seed),
            keyed,
            seed,
            made: 0,
        }
    }

    pub fn next(&mut self) -> Event {
        let (a, b) = (self.rng.next(), self.rng.next());
        self.made += 1;
        Event {
            kind: TYPES[(a % 8) as usize],
            subject: a >> 8 & 1_023,
            key: self.keyed.then_some((self.seed, self.made)),
            order: a >> 20 & 0xF_FFFF,
            basket: b,
        }
    }

    pub fn one(&mut self, out: &mut Vec<u8>, sent_ns: u64) {
        let event = self.next();
        Self::write(out, &event, sent_ns);
    }

    /// One of a type that the caller chooses.
    pub fn one_of(&mut self, kind: &'static str, out: &mut Vec<u8>, sent_ns: u64) {
        let event = Event {
            kind,
            ..self.next()
        };
        Self::write(out, &event, sent_ns);
    }

    fn write(out: &mut Vec<u8>, event: &Event, sent_ns: u64) {
        write!(
            out,
            "{{\"type\":\"{}\",\"subject\":\"{}\",",
            event.kind,
            event.subject()
        )
        .expect(WRITES);
        if let Some(key) = event.key() {
            write!(out, "\"dedupe_key\":\"{key}\",").expect(WRITES);
        }
        write!(out, "\"payload\":{}}}", event.payload(sent_ns)).expect(WRITES);
    }

    pub fn batch(&mut self, out: &mut Vec<u8>, events: usize, sent_ns: u64) {
        out.push(b'[');
        for index in 0..events {
            if index > 0 {
                out.push(b',');
            }
            self.one(out, sent_ns);
        }
        out.push(b']');
    }
}

/// What an agent says of a turn, a few words at a time.
pub struct Deltas {
    rng: Rng,
    message: u64,
}

impl Deltas {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let message = rng.next();
        Self { rng, message }
    }

    pub fn one(&mut self, out: &mut Vec<u8>, sent_ns: u64) {
        let drawn = self.rng.next();
        let word = |at: u32| WORDS[(drawn >> (8 * at)) as usize % WORDS.len()];
        write!(
            out,
            "{{\"type\":\"message.delta\",\"turn_id\":\"turn-1\",\"payload\":{{\"message_id\":\"msg_{:016x}\",\
             \"delta\":\" {} {} {}\",{SENT_MARK}{sent_ns}}}}}",
            self.message,
            word(0),
            word(1),
            word(2),
        )
        .expect(WRITES);
    }
}

const WORDS: [&str; 8] = [
    "the", "answer", "is", "found", "in", "chapter", "seven", "then",
];

/// The built-in type that does nothing and stores no output, with the payload below: it fails as often as it is told.
pub const NOOP: &str = "fail";

pub fn job(out: &mut Vec<u8>, rng: &mut Rng, kind: &str, queue: &str, sent_ns: u64) {
    let payload = job_payload(rng, sent_ns);
    write!(
        out,
        "{{\"type\":\"{kind}\",\"queue\":\"{queue}\",\"payload\":{payload}}}"
    )
    .expect(WRITES);
}

pub fn job_payload(rng: &mut Rng, sent_ns: u64) -> impl Display + use<> {
    let (a, b) = (rng.next(), rng.next());
    display(move |f| {
        write!(
            f,
            "{{\"times\":0,\"order\":{},\"amount_cents\":{},\"currency\":\"EUR\",\"basket\":\"{b:016x}\",\
             \"note\":\"as long as what a small shop knows of an order, to be packed by tomorrow\",\
             {SENT_MARK}{sent_ns}}}",
            a % 1_000_000,
            b % 100_000,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_about_two_hundred_bytes_of_json() {
        let mut out = Vec::new();
        Events::new(3, false).one(&mut out, 1_234_567_890);
        let json: serde_json::Value = serde_json::from_slice(&out).expect("valid JSON");
        assert_eq!(json["payload"]["sent_ns"], 1_234_567_890);
        assert!((170..230).contains(&out.len()), "{} bytes", out.len());
    }

    #[test]
    fn a_job_carries_about_two_hundred_bytes_of_json() {
        let payload = job_payload(&mut Rng::new(3), 1_234_567_890).to_string();
        let json: serde_json::Value = serde_json::from_str(&payload).expect("valid JSON");
        assert_eq!(json["sent_ns"], 1_234_567_890);
        assert!(
            (170..230).contains(&payload.len()),
            "{} bytes",
            payload.len()
        );
    }

    #[test]
    fn a_delta_is_a_few_words_and_says_when_it_was_sent() {
        let mut out = Vec::new();
        Deltas::new(3).one(&mut out, 1_234_567_890);
        let json: serde_json::Value = serde_json::from_slice(&out).expect("valid JSON");
        assert_eq!(json["type"], "message.delta");
        assert_eq!(json["payload"]["sent_ns"], 1_234_567_890);
        assert!((130..170).contains(&out.len()), "{} bytes", out.len());
    }

    #[test]
    fn keys_do_not_repeat() {
        let mut out = Vec::new();
        Events::new(3, true).batch(&mut out, 100, 0);
        let json: Vec<serde_json::Value> = serde_json::from_slice(&out).expect("valid JSON");
        let keys: std::collections::BTreeSet<_> = json
            .iter()
            .filter_map(|event| event["dedupe_key"].as_str())
            .collect();
        assert_eq!(keys.len(), 100);
    }
}
