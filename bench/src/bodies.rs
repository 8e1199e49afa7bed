//! What is sent: about 200 bytes of JSON an event, a little less a job. Made on the fly from a small generator, so that
//! no two are alike and none costs the cores anything to speak of.

use std::io::Write as _;

/// Marks an event with the generator's clock; SSE subscribers look for it.
pub const SENT_MARK: &str = "\"sent_ns\":";

const TYPES: [&str; 8] = [
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

    pub fn one(&mut self, out: &mut Vec<u8>, sent_ns: u64) {
        let (a, b) = (self.rng.next(), self.rng.next());
        let kind = TYPES[(a % 8) as usize];
        let (subject, order) = (a >> 8 & 1_023, a >> 20 & 0xF_FFFF);
        self.made += 1;
        write!(
            out,
            "{{\"type\":\"{kind}\",\"subject\":\"user-{subject:04}\","
        )
        .expect("a vector takes every write");
        if self.keyed {
            write!(
                out,
                "\"dedupe_key\":\"shop:{:04x}:{:010}\",",
                self.seed, self.made
            )
            .expect("a vector takes every write");
        }
        write!(
            out,
            "\"payload\":{{\"order\":{order},\"amount_cents\":{},\"currency\":\"EUR\",\"channel\":\"web\",\
             \"basket\":\"{b:016x}\",\"items\":{},{SENT_MARK}{sent_ns}}}}}",
            b % 100_000,
            b >> 40 & 7,
        )
        .expect("a vector takes every write");
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

/// A job whose processor does nothing but hand its payload back.
pub fn job(out: &mut Vec<u8>, rng: &mut Rng, kind: &str, queue: &str) {
    let (a, b) = (rng.next(), rng.next());
    write!(
        out,
        "{{\"type\":\"{kind}\",\"queue\":\"{queue}\",\"payload\":{{\"order\":{},\"basket\":\"{b:016x}\"}}}}",
        a % 1_000_000
    )
    .expect("a vector takes every write");
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
