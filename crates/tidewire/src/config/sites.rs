//! What the settings of sites mean.

use std::path::Path;

use tidewire_sites::{SealKey, SealKeys, SiteSettings, source::Sources};

use super::{
    Bad, Values,
    typed::{each, need, number},
};

/// Where the key is kept that seals access keys, in the data folder, if none is set.
const KEY_FILE: &str = "sites.key";

#[derive(Clone, Debug)]
pub struct Sites {
    pub settings: SiteSettings,
    pub keys: SealKeys,
    pub sources: Sources,
}

impl Sites {
    pub(super) fn new(values: &Values) -> Result<Self, Bad> {
        let count = |name: &'static str| {
            let read = values.read(name, |text| number(text, 1, 10_000))?;
            need(read, name).map(|count| count as usize)
        };
        let given = values.read("sites-key", keys)?;
        let keys = match given {
            Some(keys) => SealKeys::given(keys),
            None => {
                let folder = values.text("data-dir").unwrap_or("tidewire-data");
                SealKeys::in_file(Path::new(folder).join(KEY_FILE))
            }
        };
        let folder = |text: &str| Sources::with_folder(Path::new(text));
        let sources = values.read("sources", folder)?;
        Ok(Sites {
            settings: SiteSettings {
                concurrency: count("sites-concurrency")?,
                per_host: count("sites-per-host")?,
                ..SiteSettings::default()
            },
            keys,
            sources: sources.unwrap_or_else(Sources::shipped),
        })
    }
}

/// Keys, of which an error shows none.
fn keys(text: &str) -> Result<Vec<SealKey>, String> {
    let keys = each(text, |key| {
        key.parse::<SealKey>().map_err(|_| String::new())
    });
    match keys {
        Ok(keys) if !keys.is_empty() => Ok(keys),
        _ => Err("is not 64 hexadecimal digits, as `openssl rand -hex 32` makes them, or several of these with commas between them".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn sites(flags: &[(&'static str, &str)]) -> Result<Sites, String> {
        let flags = flags
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()))
            .collect();
        let values = Values::gather(&flags, |_| None, None).map_err(|bad| bad.to_string())?;
        let config = Config::new(&values).map_err(|bad| bad.to_string())?;
        Ok(config.sites)
    }

    #[test]
    fn the_defaults_are_those_of_sites() {
        let sites = sites(&[]).unwrap();
        assert_eq!(sites.settings, SiteSettings::default());
        assert_eq!(sites.sources.kinds(), ["builder", "github", "stripe"]);
    }

    #[test]
    fn what_makes_no_sense_is_named_and_keys_are_not_shown() {
        for (name, text, shown) in [
            ("sites-key", "hunter2hunter2", false),
            ("sites-per-host", "0", true),
            ("sites-concurrency", "many", true),
            ("sources", "/nowhere/at/all", true),
        ] {
            let bad = sites(&[(name, text)]).unwrap_err();
            assert!(
                bad.contains(&format!("--{name}")) && !bad.contains('\n'),
                "{bad}"
            );
            assert_eq!(bad.contains(text), shown, "{bad}");
        }
        let key = "07".repeat(32);
        assert!(sites(&[("sites-key", &format!("{key},{key}"))]).is_ok());
        assert!(sites(&[("sites-key", ",")]).is_err());
    }
}
