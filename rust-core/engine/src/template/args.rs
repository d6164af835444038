//! Arguments by place or by name, as Python's functions take them.

use super::refusal::refused;
use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};

/// What a method or filter was called with, in the order of its parameters.
#[derive(Debug)]
pub(super) struct Args(Vec<Option<Value>>);

impl Args {
    /// # Errors
    /// When there are more arguments than names, a name is unknown, or an argument came twice.
    pub(super) fn new(given: &[Value], names: &[&str]) -> Result<Self, Error> {
        let (places, named) = match given.split_last() {
            Some((last, rest)) if last.is_kwargs() => (rest, Some(Kwargs::try_from(last.clone())?)),
            _ => (given, None),
        };
        if places.len() > names.len() {
            return Err(ErrorKind::TooManyArguments.into());
        }
        let mut values: Vec<Option<Value>> = places.iter().cloned().map(Some).collect();
        values.resize(names.len(), None);
        if let Some(named) = named {
            for (index, name) in names.iter().enumerate().skip(places.len()) {
                if named.has(name) {
                    values[index] = Some(named.get(name)?);
                }
            }
            named.assert_all_used()?;
        }
        Ok(Self(values))
    }

    fn value(&self, index: usize) -> Option<&Value> {
        self.0.get(index)?.as_ref()
    }

    /// An argument that may be left out; Python's `None` counts as left out.
    pub(super) fn optional(&self, index: usize) -> Option<&Value> {
        self.value(index).filter(|value| !value.is_none())
    }

    pub(super) fn needed(&self, index: usize) -> Result<&Value, Error> {
        self.value(index)
            .ok_or_else(|| ErrorKind::MissingArgument.into())
    }

    pub(super) fn text(&self, index: usize) -> Result<Option<&str>, Error> {
        self.optional(index).map(as_text).transpose()
    }

    pub(super) fn needed_text(&self, index: usize) -> Result<&str, Error> {
        as_text(self.needed(index)?)
    }

    pub(super) fn integer(&self, index: usize) -> Result<Option<i64>, Error> {
        self.optional(index)
            .map(|value| i64::try_from(value.clone()))
            .transpose()
    }

    pub(super) fn truth(&self, index: usize) -> bool {
        self.value(index).is_some_and(Value::is_true)
    }
}

fn as_text(value: &Value) -> Result<&str, Error> {
    value
        .as_str()
        .ok_or_else(|| refused(format!("an argument is {}, not a string", value.kind())))
}
