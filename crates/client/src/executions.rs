//! Executions: what triggers' firings did.

use crate::{
    Client, EndpointState, Execution, ExecutionStatus, ExecutionSummary, Numbered, PageNumber,
    Result, RetentionStatus, Source,
    model::{self, EndpointsList, ExecutionsPage},
    retry::Repeat,
    transport::Call,
};

/// Which executions a list shows; a field that is `None` does not narrow it.
#[derive(Clone, Debug, Default)]
pub struct ExecutionQuery {
    pub trigger_id: Option<String>,
    pub execution_status: Option<ExecutionStatus>,
    pub source: Option<Source>,
    /// The active ones without it.
    pub retention_status: Option<RetentionStatus>,
    pub is_test_run: Option<bool>,
}

pub struct Executions<'c>(pub(crate) &'c Client);

impl Executions<'_> {
    /// An execution, active or archived.
    pub async fn get(&self, id: &str) -> Result<Execution> {
        let url = self.0.url(&["v1", "executions", id])?;
        self.0.send(Call::get(url), Repeat::Always).await
    }

    /// One page, newest first.
    pub async fn list(
        &self,
        query: &ExecutionQuery,
        page: PageNumber,
    ) -> Result<Numbered<Execution>> {
        let mut url = self.0.url(&["v1", "executions"])?;
        let is_test_run = query.is_test_run.map(|is| is.to_string());
        model::asked(
            &mut url,
            &[
                ("trigger_id", query.trigger_id.as_deref()),
                (
                    "execution_status",
                    query.execution_status.map(ExecutionStatus::as_str),
                ),
                ("source", query.source.map(Source::as_str)),
                (
                    "retention_status",
                    query.retention_status.map(RetentionStatus::as_str),
                ),
                ("is_test_run", is_test_run.as_deref()),
            ],
        );
        model::numbered(&mut url, page);
        let page: ExecutionsPage = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(Numbered {
            items: page.events,
            pagination: page.pagination,
        })
    }

    /// The executions of the last hours (48 without it) in numbers.
    pub async fn summary(&self, hours: Option<u32>) -> Result<ExecutionSummary> {
        let mut url = self.0.url(&["v1", "executions", "summary"])?;
        let hours = hours.map(|hours| hours.to_string());
        model::asked(&mut url, &[("hours", hours.as_deref())]);
        self.0.send(Call::get(url), Repeat::Always).await
    }

    /// Tries a failed execution again.
    pub async fn retry(&self, id: &str) -> Result<Execution> {
        let url = self.0.url(&["v1", "executions", id, "retry"])?;
        self.0
            .send(Call::bare_post(url), Repeat::WhileRefused)
            .await
    }

    /// The endpoints that are not well.
    pub async fn endpoints(&self) -> Result<Vec<EndpointState>> {
        let url = self.0.url(&["v1", "endpoints"])?;
        let list: EndpointsList = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(list.endpoints)
    }
}
