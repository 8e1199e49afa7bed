//! What a contender starts over: an empty folder, and an empty database where the store is a server.

use anyhow::{Context, Result};

use crate::postgres::Database;
use crate::rounds::Bench;
use crate::scratch::{self, Folder};

pub struct Data {
    pub folder: Folder,
    database: Option<Database>,
}

impl Data {
    /// `of` is for people who look into the folders while they exist.
    pub async fn empty(bench: &Bench, of: &str) -> Result<Self> {
        let database = match &bench.postgres {
            Some(cluster) => Some(cluster.create().await?),
            None => None,
        };
        Ok(Self {
            folder: scratch::folder(of)?,
            database,
        })
    }

    /// The database's URL, if the store is a server.
    pub fn url(&self) -> Option<&str> {
        self.database.as_ref().map(|database| database.url.as_str())
    }

    pub fn database(&self) -> Result<&Database> {
        self.database.as_ref().context("this store has no server")
    }
}
