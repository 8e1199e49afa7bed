//! How many instances there are, and how many there may be.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use crate::{Instance, Limits, Template};

/// Which limit it is that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    Tenant,
    Template,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::All => "the limit of instances in all is reached",
            Scope::Tenant => "the limit of the tenant's instances is reached",
            Scope::Template => "the limit of the agent's instances is reached",
        })
    }
}

/// Whom an instance is for, as far as limits go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub tenant: Arc<str>,
    /// Its template's place in the list.
    pub template: Option<usize>,
}

#[derive(Default)]
struct Counts {
    in_all: u32,
    tenants: HashMap<Arc<str>, u32>,
    templates: HashMap<usize, u32>,
}

impl Counts {
    fn add(&mut self, place: &Place) {
        self.in_all += 1;
        *self.tenants.entry(Arc::clone(&place.tenant)).or_default() += 1;
        if let Some(template) = place.template {
            *self.templates.entry(template).or_default() += 1;
        }
    }

    fn take(&mut self, place: &Place) {
        self.in_all = self.in_all.saturating_sub(1);
        if let Some(count) = self.tenants.get_mut(&place.tenant) {
            *count = count.saturating_sub(1);
        }
        let template = place.template.and_then(|it| self.templates.get_mut(&it));
        if let Some(count) = template {
            *count = count.saturating_sub(1);
        }
    }
}

pub(super) struct Room<'l> {
    limits: &'l Limits,
    templates: &'l [Template],
    /// Everything that is there in whatever state, and what is started by this plan.
    there: Counts,
    /// The same without what goes, and with those for whom it goes.
    stays: Counts,
}

impl<'l> Room<'l> {
    pub fn new(
        limits: &'l Limits,
        templates: &'l [Template],
        instances: &[Instance],
        leaving: &HashSet<Arc<str>>,
    ) -> Self {
        let mut room = Room {
            limits,
            templates,
            there: Counts::default(),
            stays: Counts::default(),
        };
        for instance in instances {
            let place = room.place(&instance.tenant, instance.agent.as_deref());
            room.there.add(&place);
            if instance.is_live() && !leaving.contains(&instance.name) {
                room.stays.add(&place);
            }
        }
        room
    }

    pub fn place(&self, tenant: &Arc<str>, agent: Option<&str>) -> Place {
        Place {
            tenant: Arc::clone(tenant),
            template: Template::of(self.templates, tenant, agent),
        }
    }

    /// The limits that leave no room for one more, besides these.
    fn full(&self, counts: &Counts, place: &Place) -> Vec<Scope> {
        let reached = |count: Option<&u32>, most: Option<u32>| {
            most.is_some_and(|most| count.copied().unwrap_or(0) >= most)
        };
        let most = place.template.and_then(|it| self.templates[it].most);
        let of_template = place.template.and_then(|it| counts.templates.get(&it));
        [
            (
                Scope::All,
                reached(Some(&counts.in_all), self.limits.in_all),
            ),
            (
                Scope::Tenant,
                reached(counts.tenants.get(&place.tenant), self.limits.per_tenant),
            ),
            (Scope::Template, reached(of_template, most)),
        ]
        .into_iter()
        .filter_map(|(scope, is_full)| is_full.then_some(scope))
        .collect()
    }

    /// Whether one may be started now.
    pub fn has_place(&self, place: &Place) -> bool {
        self.full(&self.there, place).is_empty() && self.full(&self.stays, place).is_empty()
    }

    /// The limits that are reached even when all has gone that goes.
    pub fn reached(&self, place: &Place) -> Vec<Scope> {
        self.full(&self.stays, place)
    }

    /// Whether one that gives way makes room where these limits are reached.
    pub fn helps(&self, way: &Place, place: &Place, reached: &[Scope]) -> bool {
        reached.iter().all(|scope| match scope {
            Scope::All => true,
            Scope::Tenant => way.tenant == place.tenant,
            Scope::Template => way.template == place.template,
        })
    }

    /// One is started.
    pub fn start(&mut self, place: &Place) {
        self.there.add(place);
        self.stays.add(place);
    }

    /// One comes when another has gone.
    pub fn reserve(&mut self, place: &Place) {
        self.stays.add(place);
    }

    /// One goes.
    pub fn leave(&mut self, place: &Place) {
        self.stays.take(place);
    }

    /// How many a tenant has, with those that come.
    pub fn of_tenant(&self, tenant: &str) -> u32 {
        self.stays.tenants.get(tenant).copied().unwrap_or(0)
    }
}
