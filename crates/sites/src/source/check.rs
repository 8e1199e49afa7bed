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
        at("limits.timeout", text, |text| match duration::parse(text)? {
            Duration::ZERO => Err("must be longer than nothing".to_owned()),
            timeout if timeout > LONGEST_TIMEOUT => {
                Err(format!("must be at most {}", duration::format(LONGEST_TIMEOUT)))
            }
            timeout => Ok(timeout),
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

fn auth(raw: Spanned<raw::Auth>) -> Checked<Auth> {
    let place = raw.span().start;
    let template = |field: &str, text: &str| {
        let read = Template::parse(text, IN_AUTH);
        read.or_else(|why| fault(place, format!("auth.{field}: {why}")))
    };
    let authorization = || "Authorization".to_owned();
    let (header, how, refused) = match raw.into_inner() {
        raw::Auth::Header {
            name,
            value,
            refused,
        } => {
            let value = template("value", value.as_deref().unwrap_or("{key}"))?;
            (name, Showing::As(value), refused)
        }
        raw::Auth::Bearer { refused } => {
            let value = template("value", "Bearer {key}")?;
            (authorization(), Showing::As(value), refused)
        }
        raw::Auth::Basic {
            user,
            password,
            refused,
        } => {
            let user = template("user", user.as_deref().unwrap_or("{key}"))?;
            let password = template("password", password.as_deref().unwrap_or(""))?;
            (authorization(), Showing::Basic(user, password), refused)
        }
    };
    if let Err(error) = check_header(&header, "a", &Reserved::default()) {
        return fault(place, format!("auth.name: {error}"));
    }
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
        refused: refused.unwrap_or_else(|| vec![401, 403]),
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
        let what = format!("{}: it goes with `time`, which is missing", of("time_format"));
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
        .map(|time| Ok((at(&of("time"), time, |text| Pointer::parse(text))?, time_format)))
        .transpose()?;
    let pagination = match raw.pagination {
        Some(raw) => {
            let place = raw.span().start;
            pagination(raw.into_inner())
                .or_else(|why| fault(place, format!("{}{why}", of("pagination"))))?
        }
        None => Pagination::None,
    };
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
        pagination,
        incremental,
        event: shape(&of("event"), raw.event)?,
        snapshot: raw
            .snapshot
            .map(|raw| shape(&of("snapshot"), raw))
            .transpose()?,
        name,
    })
}

/// What follows in an error begins with the field's name behind a dot, or with a colon.
fn pagination(raw: raw::Pagination) -> Result<Pagination, String> {
    let parameter = |parameter: String| match parameter.is_empty() {
        true => Err(".parameter: must not be empty".to_owned()),
        false => Ok(parameter),
    };
    let pointer = |field: &str, text: Option<String>| {
        let read = text.map(|text| Pointer::parse(&text)).transpose();
        read.map_err(|why| format!(".{field}: {why}"))
    };
    let end = |has_more, total| {
        Ok::<_, String>(End {
            has_more: pointer("has_more", has_more)?,
            total: pointer("total", total)?,
        })
    };
    let size = |size: Option<u64>, parameter: Option<String>| match (size, parameter) {
        (None, None) => Ok(None),
        (Some(0), _) => Err(".size: must be 1 at least".to_owned()),
        (Some(count), parameter) => Ok(Some(Size { count, parameter })),
        (None, Some(_)) => Err(".size_parameter: it goes with `size`, which is missing".to_owned()),
    };
    Ok(match raw {
        raw::Pagination::None {} => Pagination::None,
        raw::Pagination::Page {
            parameter: by,
            start,
            size: count,
            size_parameter,
            has_more,
            total,
        } => Pagination::Page {
            parameter: parameter(by)?,
            start: start.unwrap_or(1),
            size: size(count, size_parameter)?,
            end: end(has_more, total)?,
        },
        raw::Pagination::Offset {
            parameter: by,
            size: count,
            size_parameter,
            has_more,
            total,
        } => Pagination::Offset {
            parameter: parameter(by)?,
            size: size(count, size_parameter)?,
            end: end(has_more, total)?,
        },
        raw::Pagination::Cursor {
            parameter: by,
            next,
        } => Pagination::Cursor {
            parameter: parameter(by)?,
            next: Pointer::parse(&next).map_err(|why| format!(".next: {why}"))?,
        },
        raw::Pagination::NextUrl { next } => Pagination::NextUrl {
            next: Pointer::parse(&next).map_err(|why| format!(".next: {why}"))?,
        },
        raw::Pagination::Link {} => Pagination::Link,
        raw::Pagination::StartingAfter {
            parameter: by,
            has_more,
        } => Pagination::StartingAfter {
            parameter: parameter(by)?,
            has_more: pointer("has_more", has_more)?,
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
        cursor: at(&format!("{of}.cursor"), &raw.cursor, |text| Pointer::parse(text))?,
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
            let what = format!("{of}.dedupe_key: {{{needed}}} must stand in it, so that no two records have the same");
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
