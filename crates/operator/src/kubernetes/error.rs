//! From what the API answers to what a driver says.

use crate::DriverError;

/// What the API would refuse the next time as well is told apart from what may go well then.
pub fn driver_error(what: &str, error: kube::Error) -> DriverError {
    match error {
        kube::Error::Api(status) => {
            let said = format!("{what}: {}", status.message);
            match status.code {
                // A quota or an admission hook, which somebody has to change; or an object that is not valid.
                400 | 403 | 404 | 422 => DriverError::Refused(said),
                _ => DriverError::Unavailable(said),
            }
        }
        other => DriverError::Unavailable(format!("{what}: {other}")),
    }
}

/// What is not there is gone.
pub fn or_gone<T>(answer: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match answer {
        Ok(it) => Ok(Some(it)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
