//! Processes that outlived the process that had started them, because it was killed. They carry a mark in
//! their environment, which says of which installation they are and whose children they were: another
//! server of the same installation that is well keeps its own.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use rustix::process::{Pid, getpgrp, getpid};
use sha2::{Digest as _, Sha256};
use tidewire_core::Time;

use crate::{Instance, Phase};

/// The variable: installation, process id, when that process began, tenant.
pub(super) const MARK: &str = "TIDEWIRE_INSTANCE_OF";

pub(super) struct Mark {
    installation: String,
    owner: Option<(u32, u64)>,
}

impl Mark {
    /// This process's own.
    pub fn own(installation: &str) -> Self {
        let hash = Sha256::digest(installation);
        let installation = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let id = getpid().as_raw_nonzero().get().cast_unsigned();
        let owner = stat(id).map(|stat| (id, stat.began));
        Mark {
            installation,
            owner,
        }
    }

    /// What is set in an instance of the tenant.
    pub fn of(&self, tenant: &str) -> String {
        let (id, began) = self.owner.unwrap_or_default();
        format!("{}:{id}:{began}:{tenant}", self.installation)
    }

    /// The tenant, if this is the mark of a process that is nobody's any more.
    fn tenant_of_orphan<'m>(&self, mark: &'m str) -> Option<&'m str> {
        let mut parts = mark.splitn(4, ':');
        let installation = parts.next()?;
        let id = parts.next()?.parse::<u32>().ok()?;
        let began = parts.next()?.parse::<u64>().ok()?;
        let tenant = parts.next()?;
        let lives = || stat(id).is_some_and(|stat| stat.began == began);
        (installation == self.installation && !lives()).then_some(tenant)
    }
}

pub(super) struct Leftover {
    pub instance: Instance,
    pub groups: Vec<Pid>,
}

/// Looks through this machine's processes, as far as it shows them.
pub(super) fn find(mark: &Mark, now: Time) -> Vec<Leftover> {
    let mut found: BTreeMap<Arc<str>, Leftover> = BTreeMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    for id in ids {
        let Ok(environment) = fs::read(Path::new("/proc").join(id.to_string()).join("environ"))
        else {
            // It is somebody else's, or has just ended.
            continue;
        };
        let variable = |name: &str| {
            let all = environment.split(|byte| *byte == 0);
            let mut all = all.filter_map(|it| std::str::from_utf8(it).ok());
            all.find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
        };
        let tenant = variable(MARK).and_then(|it| mark.tenant_of_orphan(it));
        let (Some(tenant), Some(name)) = (tenant, variable("TIDEWIRE_INSTANCE")) else {
            continue;
        };
        let group = stat(id).and_then(|stat| Pid::from_raw(stat.group));
        let Some(group) = group.filter(|group| *group != getpgrp() && !group.is_init()) else {
            continue;
        };
        let leftover = found.entry(name.into()).or_insert_with(|| Leftover {
            instance: Instance {
                name: name.into(),
                tenant: tenant.into(),
                agent: variable("TIDEWIRE_AGENT").map(Into::into),
                thread: variable("TIDEWIRE_THREAD").map(Into::into),
                phase: Phase::Failed("its server was killed".to_owned()),
                started_at: now,
                idle_timeout: None,
            },
            groups: Vec::new(),
        });
        if !leftover.groups.contains(&group) {
            leftover.groups.push(group);
        }
    }
    found.into_values().collect()
}

struct Stat {
    group: i32,
    /// In ticks since the machine began: with the id it names a process for good.
    began: u64,
}

fn stat(id: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // Behind the name, which may have spaces and parentheses itself.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let group = fields.nth(2)?.parse().ok()?;
    let began = fields.nth(16)?.parse().ok()?;
    // One that has ended and that nobody has asked after yet is none.
    (!rest.starts_with(" Z")).then_some(Stat { group, began })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_that_of_an_orphan_when_its_process_is_gone_or_another() {
        let mark = Mark::own("here");
        let own = mark.of("t:enant");
        assert_eq!(mark.tenant_of_orphan(&own), None, "it lives");
        let (id, began) = mark.owner.unwrap();
        let here = &mark.installation;
        let later = format!("{here}:{id}:{}:t:enant", began + 1);
        assert_eq!(mark.tenant_of_orphan(&later), Some("t:enant"));
        let gone = format!("{here}:{}:{began}:t", u32::MAX);
        assert_eq!(mark.tenant_of_orphan(&gone), Some("t"));
        let elsewhere = Mark::own("elsewhere");
        assert_eq!(elsewhere.tenant_of_orphan(&gone), None);
        for nonsense in ["", ":::", &format!("{here}:x:1:t"), here] {
            assert_eq!(mark.tenant_of_orphan(nonsense), None, "{nonsense}");
        }
    }
}
