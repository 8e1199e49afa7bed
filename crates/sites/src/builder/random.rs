//! Data that look like a shop's, made of a seed: the same every time.

/// A stream of numbers (SplitMix64), begun anew for each thing that is made.
pub(super) struct Dice(u64);

const FIRST: [&str; 16] = [
    "Ada",
    "Alan",
    "Barbara",
    "Dennis",
    "Edsger",
    "Frances",
    "Grace",
    "Hedy",
    "John",
    "Katherine",
    "Ken",
    "Leslie",
    "Margaret",
    "Niklaus",
    "Radia",
    "Tony",
];
const LAST: [&str; 16] = [
    "Allen",
    "Dijkstra",
    "Hamilton",
    "Hoare",
    "Hopper",
    "Johnson",
    "Lamarr",
    "Lamport",
    "Liskov",
    "Lovelace",
    "Perlman",
    "Ritchie",
    "Thompson",
    "Turing",
    "von Neumann",
    "Wirth",
];
const HOSTS: [&str; 4] = ["example.com", "example.net", "example.org", "mail.example"];

impl Dice {
    pub fn of(seed: u64, what: &[u64]) -> Self {
        let mut dice = Dice(seed);
        for part in what {
            dice.0 = dice.next() ^ part.wrapping_mul(0xff51_afd7_ed55_8ccd);
        }
        dice
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// A number from 0 up to 1.
    pub fn fraction(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
        let fraction = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        fraction
    }

    fn pick<'t>(&mut self, of: &[&'t str]) -> &'t str {
        let place = self.below(of.len() as u64);
        of[usize::try_from(place).unwrap_or(0)]
    }

    /// A name and an address, which no two people share.
    pub fn person(&mut self, number: u64) -> (String, String) {
        let (first, last) = (self.pick(&FIRST), self.pick(&LAST));
        let host = self.pick(&HOSTS);
        let mailbox = format!("{first}.{last}").to_lowercase().replace(' ', "-");
        (
            format!("{first} {last}"),
            format!("{mailbox}.{number}@{host}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_and_another_another() {
        let made = |seed, number| Dice::of(seed, &[1, 1, number]).next();
        assert_eq!(made(7, 1), made(7, 1));
        let mut all: Vec<_> = (0..1000).flat_map(|n| [made(7, n), made(8, n)]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 2000);
    }
}
