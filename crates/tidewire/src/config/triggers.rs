//! What the settings of triggers and of what they call mean.

use std::{net::SocketAddr, time::Duration};

use tidewire_http::PublicUrl;
use tidewire_outbound::{AddressPolicy, LOOPBACK, subnets};
use tidewire_triggers::{
    CircuitSettings, DispatchSettings, GateSettings, Rate, RetryPolicy, TriggerSettings,
};

use super::{
    Bad, JobBus, Values,
    typed::{need, number, within},
};

/// What `--allow-subnet` says to open nothing at all.
const NONE: &str = "none";

#[derive(Clone, Debug)]
pub struct Triggers {
    pub settings: TriggerSettings,
    pub dispatch: DispatchSettings,
    /// Which addresses are called.
    pub policy: AddressPolicy,
    /// Where the API is reached.
    pub public_url: Option<PublicUrl>,
}

impl Triggers {
    pub(super) fn new(
        values: &Values,
        addr: SocketAddr,
        poll_interval: Duration,
        job_bus: &JobBus,
    ) -> Result<Self, Bad> {
        const S: Duration = Duration::from_secs(1);
        const DAY: Duration = Duration::from_secs(86_400);
        let span = |name: &'static str, least: Duration, most: Duration| {
            need(values.read(name, |text| within(text, least, most))?, name)
        };
        let count = |name: &'static str, most: u32| {
            need(values.read(name, |text| number(text, 1, most))?, name)
        };
        let opened = values.read("allow-subnet", |text| match text.trim() {
            NONE => Ok(Vec::new()),
            list => subnets(list).map_err(|bad| bad.to_string()),
        })?;
        // Who can reach a server that is for its own machine alone can reach its neighbours too.
        let opened = opened.unwrap_or_else(|| match addr.ip().is_loopback() {
            true => LOOPBACK.to_vec(),
            false => Vec::new(),
        });
        let dispatch = DispatchSettings {
            concurrency: count("delivery-concurrency", 10_000)? as usize,
            gate: GateSettings {
                concurrency: count("endpoint-concurrency", 10_000)?,
                rate: values.read("endpoint-rate", |text| {
                    number(text, 1, 1_000_000).map(|count| Rate {
                        count,
                        per: S,
                        burst: count,
                    })
                })?,
                circuit: CircuitSettings {
                    failures: count("circuit-failures", 1000)?,
                    pause: span("circuit-pause", Duration::from_millis(100), DAY)?,
                    max_pause: span("circuit-pause-cap", Duration::from_millis(100), DAY)?,
                    ..CircuitSettings::default()
                },
            },
        };
        let settings = TriggerSettings {
            retry: RetryPolicy {
                max_attempts: count("retry-max-attempts", 100)?,
                base: span("retry-base", Duration::from_millis(10), 7 * DAY)?,
                cap: span("retry-cap", Duration::from_millis(10), 7 * DAY)?,
            },
            active_for: span(
                "executions-active-for",
                Duration::from_millis(100),
                36_500 * DAY,
            )?,
            keep_for: span(
                "executions-keep-for",
                Duration::from_millis(100),
                36_500 * DAY,
            )?,
            poll_interval,
            event_rate: count("event-rate", 1_000_000)?,
            relayed: *job_bus != JobBus::Database,
        };
        settings.check().map_err(Bad)?;
        Ok(Triggers {
            dispatch,
            settings,
            policy: AddressPolicy::allowing(opened),
            public_url: values.read("public-url", str::parse)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn triggers(flags: &[(&'static str, &str)]) -> Result<Triggers, String> {
        let flags = flags
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()))
            .collect();
        let values = Values::gather(&flags, |_| None, None).map_err(|bad| bad.to_string())?;
        let config = Config::new(&values).map_err(|bad| bad.to_string())?;
        Ok(config.triggers)
    }

    #[test]
    fn the_defaults_are_those_of_triggers() {
        let triggers = triggers(&[]).unwrap();
        assert_eq!(triggers.settings, TriggerSettings::default());
        assert_eq!(triggers.dispatch, DispatchSettings::default());
        assert!(triggers.public_url.is_none());
    }

    #[test]
    fn loopback_is_called_by_a_server_that_listens_only_there() {
        let opens = |flags: &[(&'static str, &str)], address: &str| {
            let policy = triggers(flags).unwrap().policy;
            policy.check(address.parse().unwrap()).is_ok()
        };
        let everywhere = [("addr", "0.0.0.0:1"), ("admin-key", "k")];
        assert!(opens(&[], "127.0.0.1") && opens(&[], "::1") && !opens(&[], "10.0.0.1"));
        assert!(!opens(&everywhere, "127.0.0.1"));
        assert!(!opens(&[("allow-subnet", "none")], "127.0.0.1"));
        let opened = [("allow-subnet", "10.0.0.0/8, fd00::/8")];
        assert!(opens(&opened, "10.0.0.1") && opens(&opened, "fd00::1"));
        assert!(!opens(&opened, "127.0.0.1"), "what is said is all");
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_value() {
        for (name, text) in [
            ("allow-subnet", "10.0.0.1/8"),
            ("allow-subnet", "localhost"),
            ("public-url", "tide.example"),
            ("public-url", "https://ann@tide.example"),
            ("retry-max-attempts", "0"),
            ("retry-max-attempts", "101"),
            ("retry-base", "1ms"),
            ("retry-cap", "8d"),
            ("event-rate", "0"),
            ("delivery-concurrency", "0"),
            ("endpoint-concurrency", "10001"),
            ("endpoint-rate", "0.5"),
            ("circuit-failures", "none"),
            ("circuit-pause", "2d"),
            ("executions-active-for", "3d"),
            ("executions-keep-for", "0s"),
        ] {
            let bad = triggers(&[(name, text)]).unwrap_err();
            assert!(
                bad.contains(&format!("--{name}")) && bad.contains(text) && !bad.contains('\n'),
                "{bad}"
            );
        }
    }
}
