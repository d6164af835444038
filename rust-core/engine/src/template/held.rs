//! Keeps the values that a template builds small, flat and free of cycles.
//!
//! Lists that hold one list twice, forty deep, are small in memory and 2^40 as a tree; a namespace
//! that holds itself has no end. minijinja compares and hashes values item by item, charges that
//! by the outermost length and recurses on the stack. So what a template builds is walked as a tree
//! when it is built.

use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, State, Value, filters, functions};

use super::budget::FUEL;
use super::refusal::refused;
use super::rewrite::{COMPARED, HELD, KEPT, TICK, TURN};
use super::{calls, deadline};

/// Nodes of a tree that one unit of fuel pays for when a value is held.
const NODES_PER_FUEL: usize = 8;
/// The same when it is compared or hashed, which takes longer than walking it.
const COMPARED_PER_FUEL: usize = 1;
/// Bytes of text that one unit of fuel pays for.
pub(super) const BYTES_PER_FUEL: usize = 64;
/// The same where a text is only referred to: whoever turns a list into text writes it out for each
/// time that it is in there.
const HELD_BYTES_PER_FUEL: usize = 128;
/// How deep values may lie in one another.
pub(super) const MAX_NESTING: usize = 64;
/// Nodes of a value that a template builds for an empty conversation. At 70 ns to compare one, all
/// the fuel spent on comparisons of such values that nobody pays for takes less than a second.
const MAX_NODES: u64 = 512;
/// What the conversation adds to the fuel it adds to the nodes, this many times less.
const FUEL_PER_NODE: u64 = 32;

type Comparison = fn(&Value, &Value) -> bool;

const COMPARING_TESTS: [(&str, Comparison); 15] = [
    ("eq", |a, b| a == b),
    ("equalto", |a, b| a == b),
    ("==", |a, b| a == b),
    ("ne", |a, b| a != b),
    ("!=", |a, b| a != b),
    ("lt", |a, b| a < b),
    ("lessthan", |a, b| a < b),
    ("<", |a, b| a < b),
    ("le", |a, b| a <= b),
    ("<=", |a, b| a <= b),
    ("gt", |a, b| a > b),
    ("greaterthan", |a, b| a > b),
    (">", |a, b| a > b),
    ("ge", |a, b| a >= b),
    (">=", |a, b| a >= b),
];

/// Adds everything here to an environment.
pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter(TICK, |value: Value| deadline::check().map(|()| value));
    environment.add_filter(TURN, |value: Value| deadline::check_turn().map(|()| value));
    environment.add_filter(HELD, |state: &State<'_, '_>, value: Value| {
        deadline::check()?;
        hold(state, &value).map(|()| value)
    });
    environment.add_filter(KEPT, |state: &State<'_, '_>, value: Value| {
        deadline::check()?;
        keep(state, &value).map(|()| value)
    });
    environment.add_filter(COMPARED, |state: &State<'_, '_>, value: Value| {
        deadline::check()?;
        pay_for_walk(state, &value).map(|()| value)
    });
    for (name, holds) in COMPARING_TESTS {
        calls::test(
            environment,
            name,
            move |state: &State<'_, '_>, a: &Value, b: &Value| {
                pay_for_walk(state, b).map(|()| holds(a, b))
            },
        );
    }
    // A text is read to the end, as comparing does.
    calls::test(
        environment,
        "lower",
        |state: &State<'_, '_>, value: Value| {
            pay_for_walk(state, &value)?;
            let text = value.as_str().unwrap_or_default();
            let cased = text.chars().any(char::is_lowercase);
            Ok::<_, Error>(cased && !text.chars().any(char::is_uppercase))
        },
    );
    calls::test(
        environment,
        "upper",
        |state: &State<'_, '_>, value: Value| {
            pay_for_walk(state, &value)?;
            let text = value.as_str().unwrap_or_default();
            let cased = text.chars().any(char::is_uppercase);
            Ok::<_, Error>(cased && !text.chars().any(char::is_lowercase))
        },
    );
    calls::filter(
        environment,
        "batch",
        |state: &State<'_, '_>, value: Value, count: usize, fill: Option<Value>| {
            held(state, filters::batch(state, value, count, fill)?)
        },
    );
    calls::filter(
        environment,
        "slice",
        |state: &State<'_, '_>, value: Value, count: usize, fill: Option<Value>| {
            held(state, filters::slice(state, value, count, fill)?)
        },
    );
    calls::filter(
        environment,
        "groupby",
        |state: &State<'_, '_>, value: Value, attribute: Option<&str>, kwargs: Kwargs| {
            pay_for_walk(state, &value)?;
            held(state, filters::groupby(value, attribute, kwargs)?)
        },
    );
    calls::filter(
        environment,
        "map",
        |state: &mut State<'_, '_>, value: Value, args: Rest<ValueOrKwargs>| {
            let items = Value::from(filters::map(state, value, args)?);
            held(state, items)
        },
    );
    calls::function(
        environment,
        "dict",
        |state: &State<'_, '_>, value: Option<Value>, more| {
            held(state, functions::dict(value, more)?)
        },
    );
    calls::function(
        environment,
        "namespace",
        |state: &State<'_, '_>, defaults: Option<ValueOrKwargs>| {
            let made = functions::namespace(defaults)?;
            for name in made.try_iter()? {
                keep(state, &made.get_item(&name)?)?;
            }
            Ok::<_, Error>(made)
        },
    );
}

fn held(state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
    hold(state, &value)?;
    Ok(value)
}

/// A namespace, or a loop, which keeps what its method `changed` is given. minijinja tells only by
/// the name of the type.
fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| {
        let name = object.type_name();
        name.ends_with("::Namespace") || name.ends_with("::Loop")
    })
}

/// What a namespace takes: no namespace, or it could come to hold itself.
fn keep(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    if is_namespace(value) {
        return Err(refused(
            "a namespace or loop cannot be kept in another value",
        ));
    }
    // What walks a namespace meets the text for each time that it was put in.
    if let Some(text) = value.as_str() {
        state.consume_fuel((text.len() / HELD_BYTES_PER_FUEL) as u64)?;
    }
    hold(state, value)
}

/// Walks a value as the tree that comparing it would see, and pays for it.
///
/// # Errors
/// When it is too large or too deep, or holds a namespace.
pub(super) fn hold(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    let total = state
        .fuel_levels()
        .map_or(u64::MAX, |(used, left)| used.saturating_add(left));
    let most = MAX_NODES.saturating_add(total.saturating_sub(FUEL) / FUEL_PER_NODE);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    walk(state, value, most, NODES_PER_FUEL)
}

/// Pays for comparing or hashing a value, however large it is.
pub(super) fn pay_for_walk(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    if let Some(text) = value.as_str() {
        return state.consume_fuel((text.len() / BYTES_PER_FUEL) as u64);
    }
    walk(state, value, usize::MAX, COMPARED_PER_FUEL)
}

fn walk(state: &State<'_, '_>, value: &Value, most: usize, per_fuel: usize) -> Result<(), Error> {
    if !is_container(value) {
        return Ok(());
    }
    let mut walk = Walk {
        state,
        nodes: 0,
        most,
        per_fuel,
    };
    walk.inside(value, 0)
}

pub(super) fn is_container(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable
    )
}

struct Walk<'s, 't, 'e> {
    state: &'s State<'t, 'e>,
    nodes: usize,
    most: usize,
    /// Nodes that one unit of fuel pays for.
    per_fuel: usize,
}

impl Walk<'_, '_, '_> {
    fn inside(&mut self, container: &Value, depth: usize) -> Result<(), Error> {
        if depth == MAX_NESTING {
            return Err(refused("values lie too deep in one another"));
        }
        let map = container.kind() == ValueKind::Map;
        for item in container.try_iter()? {
            self.node(&item, depth)?;
            if map {
                self.node(&container.get_item(&item)?, depth)?;
            }
        }
        Ok(())
    }

    fn node(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if self.nodes.is_multiple_of(self.per_fuel) {
            self.state.consume_fuel(1)?;
        }
        if let Some(text) = value.as_str() {
            let per_fuel = if self.per_fuel == COMPARED_PER_FUEL {
                BYTES_PER_FUEL
            } else {
                HELD_BYTES_PER_FUEL
            };
            self.state.consume_fuel((text.len() / per_fuel) as u64)?;
        }
        self.nodes += 1;
        if self.nodes > self.most {
            return Err(refused("the template builds too large a value"));
        }
        if is_namespace(value) {
            return Err(refused(
                "a namespace or loop cannot be kept in another value",
            ));
        }
        if is_container(value) {
            self.inside(value, depth + 1)?;
        }
        Ok(())
    }
}
