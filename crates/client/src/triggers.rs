//! Triggers: definitions, previews, test runs, and calls of webhooks.

use serde::Serialize;
use serde_json::value::RawValue;
use tidewire_core::Time;

use crate::{
    Client, NewTrigger, Numbered, PageNumber, Result, Schedule, ScheduleStatus, SetOff, Trigger,
    TriggerEdit, TriggerStatus, TriggerType,
    model::{self, Runs, SchedulesPage, TriggersPage},
    retry::Repeat,
    transport::Call,
};

/// Which triggers a list shows; a field that is `None` does not narrow it.
#[derive(Clone, Copy, Debug, Default)]
pub struct TriggerQuery {
    pub trigger_type: Option<TriggerType>,
    pub status: Option<TriggerStatus>,
}

/// A trigger that is not stored.
#[derive(Clone, Copy)]
pub struct Unstored<'c> {
    pub trigger_type: TriggerType,
    pub config: &'c RawValue,
}

pub struct Triggers<'c>(pub(crate) &'c Client);

impl Triggers<'_> {
    /// Makes a trigger. Repeated on a lost answer only if it has an `idempotency_key`.
    pub async fn create(&self, new: &NewTrigger) -> Result<Trigger> {
        let mut call = Call::post(self.0.url(&["v1", "triggers"])?, new)?;
        call.idempotency_key.clone_from(&new.idempotency_key);
        let repeat = Repeat::keyed(new.idempotency_key.is_some());
        self.0.send(call, repeat).await
    }

    pub async fn get(&self, id: &str) -> Result<Trigger> {
        let url = self.0.url(&["v1", "triggers", id])?;
        self.0.send(Call::get(url), Repeat::Always).await
    }

    /// One page, newest first.
    pub async fn list(&self, query: TriggerQuery, page: PageNumber) -> Result<Numbered<Trigger>> {
        let mut url = self.0.url(&["v1", "triggers"])?;
        model::asked(
            &mut url,
            &[
                ("type", query.trigger_type.map(TriggerType::as_str)),
                ("status", query.status.map(TriggerStatus::as_str)),
            ],
        );
        model::numbered(&mut url, page);
        let page: TriggersPage = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(Numbered {
            items: page.triggers,
            pagination: page.pagination,
        })
    }

    /// Changes a trigger; what was fired before goes on as it was.
    pub async fn update(&self, id: &str, edit: &TriggerEdit) -> Result<Trigger> {
        let call = Call::put(self.0.url(&["v1", "triggers", id])?, edit)?;
        self.0.send(call, Repeat::WhileRefused).await
    }

    /// Deletes a trigger; its executions stay.
    pub async fn delete(&self, id: &str) -> Result<()> {
        let url = self.0.url(&["v1", "triggers", id])?;
        let call = Call::delete(url);
        self.0.send_for_nothing(call, Repeat::WhileRefused).await
    }

    /// A page of a trigger's occurrences, the latest first.
    pub async fn schedules(
        &self,
        id: &str,
        status: Option<ScheduleStatus>,
        page: PageNumber,
    ) -> Result<Numbered<Schedule>> {
        let mut url = self.0.url(&["v1", "triggers", id, "schedules"])?;
        let status = status.map(ScheduleStatus::as_str);
        model::asked(&mut url, &[("status", status)]);
        model::numbered(&mut url, page);
        let page: SchedulesPage = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(Numbered {
            items: page.schedules,
            pagination: page.pagination,
        })
    }

    /// When a trigger that is not stored would fire.
    pub async fn preview(
        &self,
        trigger: Unstored<'_>,
        from: Option<Time>,
        count: Option<u32>,
    ) -> Result<Vec<Time>> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(rename = "type")]
            trigger_type: TriggerType,
            config: &'a RawValue,
            #[serde(skip_serializing_if = "Option::is_none")]
            from: Option<Time>,
            #[serde(skip_serializing_if = "Option::is_none")]
            count: Option<u32>,
        }
        let body = Body {
            trigger_type: trigger.trigger_type,
            config: trigger.config,
            from,
            count,
        };
        let call = Call::post(self.0.url(&["v1", "triggers", "preview"])?, &body)?;
        let answer: Runs = self.0.send(call, Repeat::Always).await?;
        Ok(answer.runs)
    }

    /// When a stored trigger will fire, as if it were active.
    pub async fn preview_stored(
        &self,
        id: &str,
        from: Option<Time>,
        count: Option<u32>,
    ) -> Result<Vec<Time>> {
        let mut url = self.0.url(&["v1", "triggers", id, "preview"])?;
        let from = from.map(|from| from.to_string());
        let count = count.map(|count| count.to_string());
        model::asked(
            &mut url,
            &[("from", from.as_deref()), ("count", count.as_deref())],
        );
        let answer: Runs = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(answer.runs)
    }

    /// Fires a trigger once, as a test; without a payload with the one of its config.
    pub async fn test(&self, id: &str, payload: Option<&RawValue>) -> Result<SetOff> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            payload: Option<&'a RawValue>,
        }
        let url = self.0.url(&["v1", "triggers", id, "test"])?;
        let call = Call::post(url, &Body { payload })?;
        self.0.send(call, Repeat::WhileRefused).await
    }

    /// Fires a trigger once that is not stored.
    pub async fn test_unstored(
        &self,
        trigger: Unstored<'_>,
        payload: Option<&RawValue>,
    ) -> Result<SetOff> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(rename = "type")]
            trigger_type: TriggerType,
            config: &'a RawValue,
            #[serde(skip_serializing_if = "Option::is_none")]
            payload: Option<&'a RawValue>,
        }
        let body = Body {
            trigger_type: trigger.trigger_type,
            config: trigger.config,
            payload,
        };
        let call = Call::post(self.0.url(&["v1", "triggers", "test"])?, &body)?;
        self.0.send(call, Repeat::WhileRefused).await
    }

    /// Calls a webhook as a stranger would, though with this client's key. Repeated on a lost answer
    /// only if there is an `idempotency_key`.
    pub async fn call_webhook(
        &self,
        id: &str,
        payload: &RawValue,
        idempotency_key: Option<&str>,
    ) -> Result<SetOff> {
        let mut call = Call::post(self.0.url(&["v1", "webhook", id])?, payload)?;
        call.idempotency_key = idempotency_key.map(str::to_owned);
        let repeat = Repeat::keyed(idempotency_key.is_some());
        self.0.send(call, repeat).await
    }
}
