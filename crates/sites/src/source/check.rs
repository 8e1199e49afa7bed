//! What a file says, checked: every pointer, template, address and duration, and what goes together.

use std::{sync::Arc, time::Duration};

use tidewire_core::{duration, name};
use tidewire_outbound::{Reserved, Target, check_header};
use toml::Spanned;

use super::{
    Auth, Format, Incremental, Pointer, Profile, Resource, Shape, Showing, Source, Template,
    page::{End, Pagination, Size},
    raw,
    template::{IN_AUTH, IN_EVENT, IN_PATH},
};

/// A time-out that a file does not say.
const TIMEOUT: Duration = Duration::from_secs(30);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(120);

/// What is wrong, and at which byte of the file.
pub(super) struct Fault {
    pub at: usize,
    pub what: String,
}

type Checked<T> = Result<T, Fault>;

fn fault<T>(at: usize, what: impl Into<String>) -> Checked<T> {
    let what = what.into();
    Err(Fault { at, what })
}

/// Reads what stands at a place of the file.
fn at<T, U>(
    field: &str,
    spanned: &Spanned<T>,
    read: impl FnOnce(&T) -> Result<U, String>,
) -> Checked<U> {
    let place = spanned.span().start;
    read(spanned.get_ref()).or_else(|why| fault(place, format!("{field}: {why}")))
}

pub(super) fn source(raw: raw::Source) -> Checked<Source> {
    let kind = at("kind", &raw.kind, |kind| {
        name::check(kind, name::ID_MAX).map(|()| kind.clone())
    })?;
    let base_url = raw.base_url.as_ref();
    let base_url = base_url
        .map(|url| {
            at("base_url", url, |url| match Target::parse(url) {
                Ok(_) => Ok(url.clone()),
                Err(error) => Err(error.to_string()),
            })
        })
        .transpose()?;
    let headers = raw.headers.0.iter().map(|(name, value)| {
        let value = at(&format!("headers.{name}"), value, |value| {
            let checked = check_header(name, value, &Reserved::default());
            checked.map_err(|error| error.to_string())?;
            Ok(value.clone())
        })?;
        Ok((name.clone(), value))
    });
    let headers = headers.collect::<Checked<_>>()?;
    let profile = raw.profile.map(|profile| {
        Ok(Profile {
            path: path("profile.path", &profile.path)?,
            query: query("profile.query", &profile.query)?,
        })
    });
    let timeout = raw.limits.timeout.as_ref();
    let timeout = timeout.map(|text| {
        at("limits.timeout", text, |text| {
            match duration::parse(text)? {
                Duration::ZERO => Err("must be longer than nothing".to_owned()),
                timeout if timeout > LONGEST_TIMEOUT => Err(format!(
                    "must be at most {}",
                    duration::format(LONGEST_TIMEOUT)
                )),
                timeout => Ok(timeout),
            }
        })
    });
    let rate = raw.limits.requests_per_second.as_ref();
    let rate = rate.map(|rate| {
        at("limits.requests_per_second", rate, |rate| {
            if rate.is_finite() && *rate >= 0.01 {
                Ok(*rate)
            } else {
                Err(format!("must be 0.01 or more, it is {rate}"))
            }
        })
    });
    let place = raw.resources.span().start;
    let resources = raw.resources.into_inner().0;
    if resources.is_empty() {
        return fault(place, "resources: there must be one at least");
    }
    let names: Vec<_> = resources.iter().map(|(name, _)| name.clone()).collect();
    let resources = resources
        .into_iter()
        .map(|(name, raw)| resource(name, raw, &names).map(Arc::new))
        .collect::<Checked<_>>()?;
    Ok(Source {
        title: raw.title.unwrap_or_else(|| kind.clone()),
        kind,
        base_url,
        auth: auth(raw.auth)?,
        headers,
        profile: profile.transpose()?,
        timeout: timeout.transpose()?.unwrap_or(TIMEOUT),
        requests_per_second: rate.transpose()?,
        resources,
    })
}

fn auth(raw: raw::Auth) -> Checked<Auth> {
    let (kind, place) = (*raw.kind.get_ref(), raw.kind.span().start);
    let given = [
        ("name", &raw.name),
        ("value", &raw.value),
        ("user", &raw.user),
        ("password", &raw.password),
    ];
    let fit: &[&str] = match kind {
        raw::AuthKind::Header => &["name", "value"],
        raw::AuthKind::Bearer => &[],
        raw::AuthKind::Basic => &["user", "password"],
    };
    for (field, value) in given {
        if let Some(value) = value.as_ref().filter(|_| !fit.contains(&field)) {
            let what = format!("auth.{field}: it does not go with this type");
            return fault(value.span().start, what);
        }
    }
    let template = |field: &str, text: &Option<Spanned<String>>, default: &str| match text {
        Some(text) => at(&format!("auth.{field}"), text, |text| {
            Template::parse(text, IN_AUTH)
        }),
        None => Template::parse(default, IN_AUTH).or_else(|why| fault(place, why)),
    };
    let authorization = || "Authorization".to_owned();
    let (header, how) = match kind {
        raw::AuthKind::Header => {
            let Some(name) = &raw.name else {
                return fault(place, "auth.name: the header's name is missing");
            };
            let name = at("auth.name", name, |name| {
                let checked = check_header(name, "a", &Reserved::default());
                checked.map_err(|error| error.to_string())?;
                Ok(name.clone())
            })?;
            (name, Showing::As(template("value", &raw.value, "{key}")?))
        }
        raw::AuthKind::Bearer => {
            let value = template("value", &None, "Bearer {key}")?;
            (authorization(), Showing::As(value))
        }
        raw::AuthKind::Basic => {
            let user = template("user", &raw.user, "{key}")?;
            let password = template("password", &raw.password, "")?;
            (authorization(), Showing::Basic(user, password))
        }
    };
    let shows_key = match &how {
        Showing::As(value) => value.names("key"),
        Showing::Basic(user, password) => user.names("key") || password.names("key"),
    };
    if !shows_key {
        return fault(place, "auth: the access key, {key}, stands nowhere in it");
    }
    Ok(Auth {
        header,
        how,
        refused: raw.refused.unwrap_or_else(|| vec![401, 403]),
    })
}

fn resource(name: String, raw: Spanned<raw::Resource>, all: &[String]) -> Checked<Resource> {
    let (place, raw) = (raw.span().start, raw.into_inner());
    name::check(&name, name::ID_MAX)
        .or_else(|why| fault(place, format!("resources.{name}: {why}")))?;
    let of = |field: &str| format!("resources.{name}.{field}");
    let newest_first = raw.order == raw::Order::NewestFirst;
    let time_format = raw.time_format.as_ref();
    if let (None, Some(format)) = (&raw.time, time_format) {
        let what = format!(
            "{}: it goes with `time`, which is missing",
            of("time_format")
        );
        return fault(format.span().start, what);
    }
    if let Some(format) = time_format.filter(|f| *f.get_ref() == raw::Format::Number) {
        return fault(
            format.span().start,
            format!("{}: a number is no time", of("time_format")),
        );
    }
    let time_format = time_format.map_or(Format::Rfc3339, |format| (*format.get_ref()).into());
    let time = raw.time.as_ref();
    let time = time
        .map(|time| {
            Ok((
                at(&of("time"), time, |text| Pointer::parse(text))?,
                time_format,
            ))
        })
        .transpose()?;
    let pagination = raw.pagination;
    let pagination = pagination.map(|raw| self::pagination(&of("pagination"), &raw));
    let incremental = raw.incremental;
    let incremental = incremental
        .map(|raw| self::incremental(&of("incremental"), raw, newest_first, all))
        .transpose()?;
    Ok(Resource {
        path: path(&of("path"), &raw.path)?,
        query: query(&of("query"), &raw.query)?,
        records: at(&of("records"), &raw.records, |text| Pointer::parse(text))?,
        id: at(&of("id"), &raw.id, |text| Pointer::parse(text))?,
        time,
        newest_first,
        pagination: pagination.transpose()?.unwrap_or(Pagination::None),
        incremental,
        event: shape(&of("event"), raw.event)?,
        snapshot: raw
            .snapshot
            .map(|raw| shape(&of("snapshot"), raw))
            .transpose()?,
        name,
    })
}

fn pagination(of: &str, raw: &raw::Pagination) -> Checked<Pagination> {
    use raw::PaginationKind as Kind;
    let (kind, place) = (*raw.kind.get_ref(), raw.kind.span().start);
    fn start<T>(field: &Option<Spanned<T>>) -> Option<usize> {
        field.as_ref().map(|field| field.span().start)
    }
    let given = [
        ("parameter", start(&raw.parameter)),
        ("start", start(&raw.start)),
        ("size", start(&raw.size)),
        ("size_parameter", start(&raw.size_parameter)),
        ("has_more", start(&raw.has_more)),
        ("total", start(&raw.total)),
        ("next", start(&raw.next)),
    ];
    let fit: &[&str] = match kind {
        Kind::None | Kind::Link => &[],
        Kind::Page => &[
            "parameter",
            "start",
            "size",
            "size_parameter",
            "has_more",
            "total",
        ],
        Kind::Offset => &["parameter", "size", "size_parameter", "has_more", "total"],
        Kind::Cursor => &["parameter", "next"],
        Kind::NextUrl => &["next"],
        Kind::StartingAfter => &["parameter", "has_more"],
    };
    for (field, place) in given {
        if let Some(place) = place.filter(|_| !fit.contains(&field)) {
            return fault(
                place,
                format!("{of}.{field}: it does not go with this type"),
            );
        }
    }
    let missing = |field: &str| Fault {
        at: place,
        what: format!("{of}.{field}: it is missing"),
    };
    let parameter = || match &raw.parameter {
        Some(name) => at(&format!("{of}.parameter"), name, |name| {
            match name.is_empty() {
                true => Err("must not be empty".to_owned()),
                false => Ok(name.clone()),
            }
        }),
        None => Err(missing("parameter")),
    };
    let pointer = |field: &str, text: &Option<Spanned<String>>| {
        let read = text
            .as_ref()
            .map(|text| at(&format!("{of}.{field}"), text, |text| Pointer::parse(text)));
        read.transpose()
    };
    let next = || match pointer("next", &raw.next)? {
        Some(next) => Ok(next),
        None => Err(missing("next")),
    };
    let end = || {
        Ok(End {
            has_more: pointer("has_more", &raw.has_more)?,
            total: pointer("total", &raw.total)?,
        })
    };
    let size = || match (&raw.size, &raw.size_parameter) {
        (None, None) => Ok(None),
        (Some(size), _) if *size.get_ref() == 0 => {
            fault(size.span().start, format!("{of}.size: must be 1 at least"))
        }
        (Some(size), parameter) => Ok(Some(Size {
            count: *size.get_ref(),
            parameter: parameter.as_ref().map(|name| name.get_ref().clone()),
        })),
        (None, Some(name)) => {
            let what = format!("{of}.size_parameter: it goes with `size`, which is missing");
            fault(name.span().start, what)
        }
    };
    Ok(match kind {
        Kind::None => Pagination::None,
        Kind::Page => Pagination::Page {
            parameter: parameter()?,
            start: raw.start.as_ref().map_or(1, |start| *start.get_ref()),
            size: size()?,
            end: end()?,
        },
        Kind::Offset => Pagination::Offset {
            parameter: parameter()?,
            size: size()?,
            end: end()?,
        },
        Kind::Cursor => Pagination::Cursor {
            parameter: parameter()?,
            next: next()?,
        },
        Kind::NextUrl => Pagination::NextUrl { next: next()? },
        Kind::Link => Pagination::Link,
        Kind::StartingAfter => Pagination::StartingAfter {
            parameter: parameter()?,
            has_more: pointer("has_more", &raw.has_more)?,
        },
    })
}

fn incremental(
    of: &str,
    raw: raw::Incremental,
    newest_first: bool,
    all: &[String],
) -> Checked<Incremental> {
    let place = raw.cursor.span().start;
    let format = raw.format.as_ref();
    let format = format.map_or(Format::Rfc3339, |format| (*format.get_ref()).into());
    if raw.parameter.is_none() && !newest_first {
        let what = "without `parameter` reading ends at the first record that is known, so the list must say order = \"newest_first\"";
        return fault(place, format!("{of}: {what}"));
    }
    let span = |field: &str, text: &Option<Spanned<String>>| {
        let read = text.as_ref().map(|text| {
            at(&format!("{of}.{field}"), text, |text| {
                if format == Format::Number {
                    return Err("goes with a cursor that is a time".to_owned());
                }
                duration::parse(text)
            })
        });
        read.transpose()
    };
    let overlap = raw.overlap.as_ref().map(|overlap| {
        at(&format!("{of}.overlap"), overlap, |overlap| match overlap {
            raw::Overlap::Number(n) if format == Format::Number && *n >= 0 => Ok(*n),
            raw::Overlap::Time(text) if format != Format::Number => {
                let micros = duration::parse(text)?.as_micros();
                Ok(i64::try_from(micros).unwrap_or(i64::MAX))
            }
            _ if format == Format::Number => {
                Err("must be a number, 0 or more, as the cursor is one".to_owned())
            }
            _ => Err("must be a duration such as \"5m\", as the cursor is a time".to_owned()),
        })
    });
    let expires = span("expires", &raw.expires)?;
    let refreshes = raw.refreshes.as_ref().map(|names| {
        at(&format!("{of}.refreshes"), names, |names| {
            if expires.is_none() {
                return Err("it goes with `expires`, which is missing".to_owned());
            }
            match names.iter().find(|name| !all.contains(name)) {
                Some(unknown) => Err(format!("there is no resource `{unknown}`")),
                None => Ok(names.clone()),
            }
        })
    });
    Ok(Incremental {
        cursor: at(&format!("{of}.cursor"), &raw.cursor, |text| {
            Pointer::parse(text)
        })?,
        format,
        parameter: raw.parameter.map(Spanned::into_inner),
        until: raw.until_parameter,
        overlap: overlap.transpose()?.unwrap_or(0),
        lag: span("lag", &raw.lag)?.unwrap_or_default(),
        expires,
        refreshes: refreshes.transpose()?.unwrap_or_default(),
    })
}

fn shape(of: &str, raw: raw::Shape) -> Checked<Shape> {
    let template = |field: &str, text: &Spanned<String>| {
        at(&format!("{of}.{field}"), text, |text| {
            Template::parse(text, IN_EVENT)
        })
    };
    let kind = template("type", &raw.kind)?;
    if let Some(text) = kind.constant() {
        at(&format!("{of}.type"), &raw.kind, |_| {
            name::check(&text, name::TYPE_MAX)
        })?;
    }
    let dedupe_key = template("dedupe_key", &raw.dedupe_key)?;
    for needed in ["site", "id"] {
        // With another event's record, or one of another site, its event would be taken for known.
        if !dedupe_key.names(needed) {
            let what = format!(
                "{of}.dedupe_key: {{{needed}}} must stand in it, so that no two records have the same"
            );
            return fault(raw.dedupe_key.span().start, what);
        }
    }
    let subject = raw.subject.as_ref();
    let subject = subject
        .map(|text| at(&format!("{of}.subject"), text, |text| Pointer::parse(text)))
        .transpose()?;
    if raw.attribution && subject.is_none() {
        let what = format!("{of}.attribution: it is the subject's, and `subject` is missing");
        return fault(raw.kind.span().start, what);
    }
    Ok(Shape {
        kind,
        dedupe_key,
        subject,
        attribution: raw.attribution,
    })
}

fn path(field: &str, text: &Spanned<String>) -> Checked<Template> {
    at(field, text, |text| {
        if !text.is_empty() && !text.starts_with('/') {
            return Err("must begin with `/`, or be empty for the base URL itself".to_owned());
        }
        if text.contains(['?', '#']) {
            return Err("a query stands in `query`".to_owned());
        }
        Template::parse(text, IN_PATH)
    })
}

fn query(field: &str, raw: &raw::Ordered<Spanned<String>>) -> Checked<Vec<(String, Template)>> {
    let read = raw.0.iter().map(|(name, value)| {
        let value = at(&format!("{field}.{name}"), value, |text| {
            Template::parse(text, IN_PATH)
        })?;
        Ok((name.clone(), value))
    });
    read.collect()
}

impl From<raw::Format> for Format {
    fn from(format: raw::Format) -> Self {
        match format {
            raw::Format::Rfc3339 => Format::Rfc3339,
            raw::Format::Unix => Format::Unix,
            raw::Format::UnixMs => Format::UnixMillis,
            raw::Format::Number => Format::Number,
        }
    }
}
