//! The scripts, and the keys that they name.

use std::sync::LazyLock;

use redis::Script;
use tidewire_threads::hot::ThreadKey;

use crate::link::Link;

const COMMON: &str = include_str!("scripts/common.lua");
const RULES: &str = include_str!("scripts/rules.lua");

fn script(parts: &[&str]) -> Script {
    Script::new(&parts.join("\n"))
}

pub(crate) static WRITE: LazyLock<Script> =
    LazyLock::new(|| script(&[COMMON, RULES, include_str!("scripts/write.lua")]));
pub(crate) static LOAD: LazyLock<Script> =
    LazyLock::new(|| script(&[COMMON, include_str!("scripts/load.lua")]));
pub(crate) static ADOPT: LazyLock<Script> =
    LazyLock::new(|| script(&[include_str!("scripts/adopt.lua")]));
pub(crate) static SETTLE: LazyLock<Script> =
    LazyLock::new(|| script(&[include_str!("scripts/settle.lua")]));
pub(crate) static EVICT: LazyLock<Script> =
    LazyLock::new(|| script(&[include_str!("scripts/evict.lua")]));
pub(crate) static LEASE: LazyLock<Script> =
    LazyLock::new(|| script(&[include_str!("scripts/lease.lua")]));

/// As `common.lua` has them.
pub(crate) fn keys(link: &Link, key: &ThreadKey) -> Vec<String> {
    let thread = link.thread(key);
    let mut keys = vec![link.key("meta"), thread.clone()];
    keys.extend([":s", ":u", ":i", ":o", ":e"].map(|part| format!("{thread}{part}")));
    keys.extend([link.key("log"), link.key("active")]);
    keys
}
