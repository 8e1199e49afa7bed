//! The paths of the source designs, served by rewriting them to `/v1` paths in front of the router.
//! There is no other place for an old path: a later capability adds rows here and nothing else.

use http::{Uri, uri::PathAndQuery};

/// `from` and, if `below`, everything under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    pub from: &'static str,
    pub to: &'static str,
    pub below: bool,
}

/// The first row that fits wins.
pub const REWRITES: &[Rewrite] = &[
    Rewrite {
        from: "/events",
        to: "/v1/events",
        below: true,
    },
    Rewrite {
        from: "/jobs",
        to: "/v1/jobs",
        below: true,
    },
    Rewrite {
        from: "/analytics",
        to: "/v1/analytics",
        below: true,
    },
    Rewrite {
        from: "/api/v1/triggers",
        to: "/v1/triggers",
        below: true,
    },
    Rewrite {
        from: "/api/v1/webhook",
        to: "/v1/webhook",
        below: true,
    },
    Rewrite {
        from: "/api/v1/events",
        to: "/v1/executions",
        below: true,
    },
    Rewrite {
        from: "/turns",
        to: "/v1/turns",
        below: true,
    },
    Rewrite {
        from: "/threads",
        to: "/v1/threads",
        below: true,
    },
    Rewrite {
        from: "/worker/sites",
        to: "/v1/sites",
        below: true,
    },
    Rewrite {
        from: "/worker/events",
        to: "/v1/site-events",
        below: true,
    },
    Rewrite {
        from: "/register",
        to: "/v1/fleet/register",
        below: false,
    },
    Rewrite {
        from: "/config",
        to: "/v1/fleet/config",
        below: true,
    },
    Rewrite {
        from: "/agents",
        to: "/v1/fleet/agents",
        below: true,
    },
];

/// Rewrites the path in place, its query untouched.
pub(crate) fn apply(rows: &[Rewrite], uri: &mut Uri) {
    // Every path of the contract itself; the table is for the others.
    if uri.path().starts_with("/v1/") {
        return;
    }
    let Some((row, rest)) = rows
        .iter()
        .find_map(|row| Some((row, row.rest(uri.path())?)))
    else {
        return;
    };
    let target = match uri.query() {
        Some(query) => format!("{}{rest}?{query}", row.to),
        None => format!("{}{rest}", row.to),
    };
    let mut parts = uri.clone().into_parts();
    // Made of a valid path and a valid query, so it is one.
    let Ok(target) = PathAndQuery::try_from(target) else {
        return;
    };
    parts.path_and_query = Some(target);
    if let Ok(rewritten) = Uri::from_parts(parts) {
        *uri = rewritten;
    }
}

impl Rewrite {
    /// What follows `from` in a path that the row is about.
    fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(self.from)?;
        (rest.is_empty() || self.below && rest.starts_with('/')).then_some(rest)
    }
}

/// The table as the API's description shows it.
pub(crate) fn markdown() -> String {
    let mut text = String::from("| path | is served as |\n|---|---|\n");
    for row in REWRITES {
        let star = if row.below { "*" } else { "" };
        text.push_str(&format!("| `{}{star}` | `{}{star}` |\n", row.from, row.to));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_paths_become_v1_and_others_stay() {
        for (old, new) in [
            ("/events", "/v1/events"),
            ("/events?type=a&limit=2", "/v1/events?type=a&limit=2"),
            ("/events/tail", "/v1/events/tail"),
            ("/jobs/01J/cancel?x=%20", "/v1/jobs/01J/cancel?x=%20"),
            ("/analytics/summary", "/v1/analytics/summary"),
            ("/api/v1/triggers/01J/test", "/v1/triggers/01J/test"),
            ("/api/v1/webhook/01J", "/v1/webhook/01J"),
            ("/api/v1/events?page=2", "/v1/executions?page=2"),
            ("/api/v1/events/01J", "/v1/executions/01J"),
            ("/api/v1/jobs", "/api/v1/jobs"),
            (
                "/worker/sites/shop/sync/users?background=true",
                "/v1/sites/shop/sync/users?background=true",
            ),
            ("/worker/events", "/v1/site-events"),
            ("/worker/events/random", "/v1/site-events/random"),
            ("/worker", "/worker"),
            (
                "http://localhost:8080/jobs",
                "http://localhost:8080/v1/jobs",
            ),
            ("/register", "/v1/fleet/register"),
            ("/register/me", "/register/me"),
            ("/config?wait=5", "/v1/fleet/config?wait=5"),
            ("/agents/a-1/status", "/v1/fleet/agents/a-1/status"),
            ("/eventsource", "/eventsource"),
            ("/v1/events", "/v1/events"),
            ("/", "/"),
            ("*", "*"),
            ("/health", "/health"),
        ] {
            let mut uri: Uri = old.parse().unwrap();
            apply(REWRITES, &mut uri);
            assert_eq!(uri.to_string(), new);
        }
    }
}
