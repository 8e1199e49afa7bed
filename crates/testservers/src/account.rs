//! Whom a server runs as: most of them refuse to run as root.

use std::{
    fs,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
};

use crate::{Context as _, Error, Result};

/// An account without privileges, or ourselves if we are one.
#[derive(Clone, Copy)]
pub struct Account {
    other: Option<(u32, u32)>,
}

impl Account {
    /// For a process that is to own `folder`, which we have just made: the first of `names` that
    /// this machine knows if we are root, else ourselves, as for a program that minds root as little as
    /// to have no names.
    pub fn to_own(folder: &Path, names: &[&str]) -> Result<Account> {
        if names.is_empty() {
            return Ok(Account { other: None });
        }
        let owner = fs::metadata(folder).context(|| format!("cannot read {}", folder.display()))?;
        if owner.uid() != 0 {
            return Ok(Account { other: None });
        }
        let known =
            fs::read_to_string("/etc/passwd").context(|| "cannot read /etc/passwd".to_owned())?;
        let other = names.iter().find_map(|name| ids_of(&known, name));
        let Some((uid, gid)) = other else {
            return Err(Error::new(format!(
                "servers refuse to run as root, and this machine knows no account {}: make one of them, or run as another user",
                names.join(" or ")
            )));
        };
        let account = Account {
            other: Some((uid, gid)),
        };
        account.give(folder)?;
        Ok(account)
    }

    /// Hands over what we have written.
    pub fn give(self, path: &Path) -> Result<()> {
        let Some((uid, gid)) = self.other else {
            return Ok(());
        };
        std::os::unix::fs::chown(path, Some(uid), Some(gid))
            .context(|| format!("cannot give {} to user {uid}", path.display()))
    }

    /// The command runs as this account, without root's groups.
    pub fn runs(self, command: &mut Command) {
        if let Some((uid, gid)) = self.other {
            command.uid(uid).gid(gid);
        }
    }
}

/// User and group, from a line `name:x:uid:gid:…`.
fn ids_of(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then_some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_known_by_its_whole_name_and_never_root() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nmysqld:x:7:8::/:/bin/false\nmysql:x:101:104::/:/bin/false\n";
        assert_eq!(ids_of(passwd, "mysql"), Some((101, 104)));
        assert_eq!(ids_of(passwd, "postgres"), None);
        assert_eq!(ids_of(passwd, "root"), None);
    }
}
