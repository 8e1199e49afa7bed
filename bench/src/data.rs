//! What a contender starts over: an empty folder, and an empty database where the store is a server.

use std::rc::Rc;

use anyhow::{Context, Result};

use crate::postgres::Database;
use crate::rounds::Bench;
use crate::scratch::{self, Folder};

pub struct Data {
    pub folder: Folder,
    database: Option<Rc<Database>>,
}

impl Data {
    /// `of` is for people who look into the folders while they exist.
    pub async fn empty(bench: &Bench, of: &str) -> Result<Self> {
        let database = match &bench.postgres {
            Some(cluster) => Some(Rc::new(cluster.create().await?)),
            None => None,
        };
        Ok(Self {
            folder: scratch::folder(of)?,
            database,
        })
    }

    /// For a server that keeps nothing.
    pub fn nothing(of: &str) -> Result<Self> {
        Ok(Self {
            folder: scratch::folder(of)?,
            database: None,
        })
    }

    /// For one more process over the same database.
    pub fn shared(&self, of: &str) -> Result<Self> {
        self.database()?;
        Ok(Self {
            folder: scratch::folder(of)?,
            database: self.database.clone(),
        })
    }

    /// The database's URL, if the store is a server.
    pub fn url(&self) -> Option<&str> {
        self.database.as_ref().map(|database| database.url.as_str())
    }

    pub fn database(&self) -> Result<&Database> {
        self.database.as_deref().context("this store has no server")
    }
}
