//! What a template can call: filters, tests and functions, all of them from the tables here and
//! beside it, as the environment begins empty.
//!
//! Before each call the time is looked at. A name of an attribute is short, as it is looked up or
//! taken apart for each item, and what minijinja would make as it is walked is made at once: lists
//! that are walks of walks can be deep, and finding an item of them takes a walk.

use minijinja::functions::Function;
use minijinja::value::{FunctionArgs, FunctionResult, Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, State, Value, filters, functions, tests};

use super::deadline;
use super::held::is_container;
use super::python_text::text;
use super::refusal::refused;

/// Bytes of the name of an attribute, and how many such a name may list.
const MAX_ATTRIBUTE: usize = 1024;
const MAX_ATTRIBUTES: usize = 16;

/// Where filters take the name of an attribute, counted without the value.
const ATTRIBUTE_AT: [(&str, usize); 11] = [
    ("attr", 0),
    ("selectattr", 0),
    ("rejectattr", 0),
    ("groupby", 0),
    ("sum", 0),
    ("join", 1),
    ("unique", 1),
    ("min", 1),
    ("max", 1),
    ("sort", 2),
    // By name alone, as for all of the others too.
    ("map", usize::MAX),
];

/// What works on texts, and would write out other values without asking what that costs.
const WRITTEN: [&str; 10] = [
    "safe",
    "lower",
    "upper",
    "title",
    "capitalize",
    "split",
    "lines",
    "replace",
    "startingwith",
    "endingwith",
];

/// Adds what minijinja has to an environment that is empty.
pub(super) fn add_to(environment: &mut Environment<'_>) {
    add_filters(environment);
    add_tests(environment);
    environment.add_function("range", range);
}

/// Longer ranges are made at once.
const LONG_RANGE: usize = 1024;

fn range(lower: isize, upper: Option<isize>, step: Option<isize>) -> Result<Value, Error> {
    deadline::check()?;
    let range = functions::range(lower, upper, step)?;
    if range.len().is_some_and(|len| len <= LONG_RANGE) {
        return Ok(range);
    }
    made_at_once(range)
}

fn add_filters(environment: &mut Environment<'_>) {
    filter(environment, "safe", filters::safe);
    filter(environment, "lower", filters::lower);
    filter(environment, "upper", filters::upper);
    filter(environment, "title", filters::title);
    filter(environment, "capitalize", filters::capitalize);
    filter(environment, "length", filters::length);
    filter(environment, "count", filters::length);
    filter(environment, "items", filters::items);
    filter(environment, "reverse", filters::reverse);
    filter(environment, "split", filters::split);
    filter(environment, "lines", filters::lines);
    filter(environment, "round", filters::round);
    filter(environment, "abs", filters::abs);
    filter(environment, "attr", filters::attr);
    filter(environment, "first", filters::first);
    filter(environment, "last", filters::last);
    filter(environment, "bool", filters::bool);
    filter(environment, "select", filters::select);
    filter(environment, "reject", filters::reject);
    filter(environment, "selectattr", filters::selectattr);
    filter(environment, "rejectattr", filters::rejectattr);
}

fn add_tests(environment: &mut Environment<'_>) {
    test(environment, "undefined", tests::is_undefined);
    test(environment, "defined", tests::is_defined);
    test(environment, "none", tests::is_none);
    test(environment, "safe", tests::is_safe);
    test(environment, "escaped", tests::is_safe);
    test(environment, "boolean", tests::is_boolean);
    test(environment, "odd", tests::is_odd);
    test(environment, "even", tests::is_even);
    test(environment, "divisibleby", tests::is_divisibleby);
    test(environment, "number", tests::is_number);
    test(environment, "integer", tests::is_integer);
    test(environment, "int", tests::is_integer);
    test(environment, "float", tests::is_float);
    test(environment, "string", tests::is_string);
    test(environment, "mapping", tests::is_mapping);
    test(environment, "startingwith", tests::is_startingwith);
    test(environment, "endingwith", tests::is_endingwith);
    test(environment, "sameas", tests::is_sameas);
    test(environment, "in", tests::is_in);
    test(environment, "true", tests::is_true);
    test(environment, "false", tests::is_false);
    test(environment, "filter", tests::is_filter);
    test(environment, "test", tests::is_test);
}

pub(super) fn filter<F, Rv, Args>(environment: &mut Environment<'_>, name: &'static str, f: F)
where
    F: Function<Rv, Args>,
    Rv: FunctionResult,
    Args: for<'a> FunctionArgs<'a>,
{
    let called = Value::from_function(f);
    let writes = WRITTEN.contains(&name);
    let attribute = ATTRIBUTE_AT
        .iter()
        .find(|(filter, _)| *filter == name)
        .map(|(_, place)| *place);
    environment.add_filter(
        name,
        move |state: &mut State<'_, '_>, given: Rest<ValueOrKwargs>| {
            deadline::check()?;
            let mut given = given.into_values();
            if writes {
                write_all(state, &mut given)?;
            }
            if let Some(place) = attribute {
                check_attribute(&given, place)?;
            }
            made_at_once(called.call(state, &given)?)
        },
    );
}

pub(super) fn test<F, Rv, Args>(environment: &mut Environment<'_>, name: &'static str, f: F)
where
    F: Function<Rv, Args>,
    Rv: FunctionResult,
    Args: for<'a> FunctionArgs<'a>,
{
    let called = Value::from_function(f);
    let writes = WRITTEN.contains(&name);
    environment.add_test(
        name,
        move |state: &mut State<'_, '_>, given: Rest<ValueOrKwargs>| {
            deadline::check()?;
            let mut given = given.into_values();
            if writes {
                write_all(state, &mut given)?;
            }
            let holds = called.call(state, &given)?;
            Ok::<_, Error>(holds.is_true())
        },
    );
}

pub(super) fn function<F, Rv, Args>(environment: &mut Environment<'_>, name: &'static str, f: F)
where
    F: Function<Rv, Args>,
    Rv: FunctionResult,
    Args: for<'a> FunctionArgs<'a>,
{
    let called = Value::from_function(f);
    environment.add_function(
        name,
        move |state: &mut State<'_, '_>, given: Rest<ValueOrKwargs>| {
            deadline::check()?;
            made_at_once(called.call(state, &given.into_values())?)
        },
    );
}

/// Makes texts of lists and dicts.
fn write_all(state: &State<'_, '_>, given: &mut [Value]) -> Result<(), Error> {
    for value in given {
        if is_container(value) && !value.is_kwargs() {
            *value = Value::from(text(state, value)?);
        }
    }
    Ok(())
}

/// A value that is not made as it is walked.
pub(super) fn made_at_once(value: Value) -> Result<Value, Error> {
    if value.kind() != ValueKind::Iterable {
        return Ok(value);
    }
    let mut items = Vec::new();
    for item in value.try_iter()?.checked() {
        items.push(item?);
    }
    Ok(Value::from(items))
}

fn check_attribute(given: &[Value], place: usize) -> Result<(), Error> {
    let (last, places) = match given.split_last() {
        Some((last, rest)) if last.is_kwargs() => (Some(last), rest),
        _ => (None, given),
    };
    let named = match last {
        Some(last) => Kwargs::try_from(last.clone())?.get::<Option<Value>>("attribute")?,
        None => None,
    };
    let placed = places.get(place.saturating_add(1)).cloned();
    for name in [named, placed].into_iter().flatten() {
        if name.as_str().is_some_and(|name| {
            name.len() > MAX_ATTRIBUTE
                || name.matches(',').count() >= MAX_ATTRIBUTES
                || name.matches('.').count() >= MAX_ATTRIBUTES
        }) {
            return Err(refused("the name of an attribute is too long"));
        }
    }
    Ok(())
}
