//! Daily counts.

use chrono::NaiveDate;

use crate::{
    Client, Result,
    model::{Summary, Timeseries},
    retry::Repeat,
    transport::Call,
};

/// Counts by day (UTC), both ends inclusive; without ends, the last 30 days.
pub struct Analytics<'c>(pub(crate) &'c Client);

impl Analytics<'_> {
    pub async fn summary(&self, from: Option<NaiveDate>, to: Option<NaiveDate>) -> Result<Summary> {
        self.0
            .send(self.call("summary", from, to)?, Repeat::Always)
            .await
    }

    pub async fn timeseries(
        &self,
        from: Option<NaiveDate>,
        to: Option<NaiveDate>,
    ) -> Result<Timeseries> {
        self.0
            .send(self.call("timeseries", from, to)?, Repeat::Always)
            .await
    }

    fn call(&self, what: &str, from: Option<NaiveDate>, to: Option<NaiveDate>) -> Result<Call> {
        let mut url = self.0.url(&["v1", "analytics", what])?;
        for (name, day) in [("from", from), ("to", to)] {
            if let Some(day) = day {
                url.query_pairs_mut().append_pair(name, &day.to_string());
            }
        }
        Ok(Call::get(url))
    }
}
