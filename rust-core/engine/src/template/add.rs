//! The operators `+`, `*` and `~` as the filters that `rewrite` puts in their place, and what adds besides
//! them; and minijinja's own operators, for the values that need nothing else.

use std::borrow::Cow;
use std::sync::LazyLock;

use minijinja::value::{Kwargs, Tuple, ValueKind};
use minijinja::{AutoEscape, Environment, Error, Expression, State, Value, context};

use super::filters::escaped;
use super::held::{BYTES_PER_FUEL, hold};
use super::python_text::text;
use super::refusal::refused;
use super::rewrite::{JOIN, SUM, TIMES};
use super::{calls, deadline};

/// Items of a new list that one step pays for: with 24 bytes each, about as much as other memory.
const ITEMS_PER_FUEL: usize = 8;

/// Adds everything here to an environment.
pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter(SUM, add);
    environment.add_filter(TIMES, times);
    environment.add_filter(JOIN, concatenated);
    calls::filter(environment, "sum", sum);
}

fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

/// `a + b`.
fn add(state: &State<'_, '_>, a: &Value, b: &Value) -> Result<Value, Error> {
    deadline::check()?;
    let sum = join(state, a, b)?;
    hold(state, &sum)?;
    Ok(sum)
}

/// Lists are joined at once and paid for, the rest is minijinja's.
fn join(state: &State<'_, '_>, a: &Value, b: &Value) -> Result<Value, Error> {
    if !(is_list(a) && is_list(b)) || a.is_tuple() != b.is_tuple() {
        // A text that is marked as safe has the other written out, as Python's markupsafe does.
        if a.is_safe() != b.is_safe() && a.as_str().is_some() && b.as_str().is_some() {
            let both = [escaped(state, a)?, escaped(state, b)?];
            let text = both.iter().filter_map(Value::as_str).collect();
            return Ok(Value::from_safe_string(text));
        }
        // Texts are paid for as what a filter takes and returns.
        return plus(a, b);
    }
    let mut items = Vec::new();
    for item in a.try_iter()?.chain(b.try_iter()?) {
        if items.len().is_multiple_of(ITEMS_PER_FUEL) {
            state.consume_fuel(1)?;
        }
        items.push(item);
    }
    Ok(if a.is_tuple() {
        Value::from(Tuple::from(items))
    } else {
        Value::from(items)
    })
}

/// `a * b`: texts and lists are repeated once that is paid for, the rest is minijinja's.
fn times(state: &State<'_, '_>, a: &Value, b: &Value) -> Result<Value, Error> {
    deadline::check()?;
    let repeated = |value: &Value| value.as_str().is_some() || is_list(value);
    let (what, count) = match (repeated(a), repeated(b)) {
        (true, false) => (a, b),
        (false, true) => (b, a),
        _ => return product(a, b),
    };
    let Some(count) = count.as_i64().filter(|_| count.is_integer()) else {
        return product(a, b);
    };
    let count = usize::try_from(count).unwrap_or(0);
    let pay = |size: usize, per_fuel: usize| {
        state.consume_fuel((size.saturating_mul(count) / per_fuel) as u64)
    };
    if let Some(text) = what.as_str() {
        pay(text.len(), BYTES_PER_FUEL)?;
        let text = text.repeat(count);
        return Ok(if what.is_safe() {
            Value::from_safe_string(text)
        } else {
            Value::from(text)
        });
    }
    let items: Vec<Value> = what.try_iter()?.collect();
    // Nothing, however often, is nothing.
    let count = if items.is_empty() { 0 } else { count };
    pay(items.len(), ITEMS_PER_FUEL)?;
    let all: Vec<Value> = std::iter::repeat_n(&items, count)
        .flatten()
        .cloned()
        .collect();
    let list = if what.is_tuple() {
        Value::from(Tuple::from(all))
    } else {
        Value::from(all)
    };
    hold(state, &list)?;
    Ok(list)
}

/// `a ~ b`.
fn concatenated(state: &State<'_, '_>, a: &Value, b: &Value) -> Result<Value, Error> {
    deadline::check()?;
    let marked = !matches!(state.auto_escape(), AutoEscape::None) && (a.is_safe() || b.is_safe());
    if marked {
        let both = [escaped(state, a)?, escaped(state, b)?];
        let text = both.iter().filter_map(Value::as_str).collect();
        return Ok(Value::from_safe_string(text));
    }
    let [first, second] = [a, b].map(|value| match value.as_str() {
        Some(text) => Ok(Cow::Borrowed(text)),
        None => text(state, value).map(Cow::Owned),
    });
    let (first, second) = (first?, second?);
    let mut out = String::with_capacity(first.len() + second.len());
    out.push_str(&first);
    out.push_str(&second);
    Ok(Value::from(out))
}

/// minijinja's own `*`.
fn product(a: &Value, b: &Value) -> Result<Value, Error> {
    static PRODUCT: Operator = LazyLock::new(|| operator("a * b"));
    apply(&PRODUCT, a, b)
}

/// minijinja's own `+`.
fn plus(a: &Value, b: &Value) -> Result<Value, Error> {
    static PLUS: Operator = LazyLock::new(|| operator("a + b"));
    apply(&PLUS, a, b)
}

/// minijinja's own `%`.
pub(super) fn modulo(a: &Value, b: &Value) -> Result<Value, Error> {
    // Nearly always two small counts.
    let small = (a.as_i64(), b.as_i64());
    if let (Some(x), Some(y @ 1..)) = small
        && a.is_integer()
        && b.is_integer()
    {
        return Ok(Value::from(x.rem_euclid(y)));
    }
    static MODULO: Operator = LazyLock::new(|| operator("a % b"));
    apply(&MODULO, a, b)
}

/// minijinja's own `value[start:stop:step]`.
pub(super) fn part(
    value: &Value,
    start: Value,
    stop: Value,
    step: Option<Value>,
) -> Result<Value, Error> {
    static PART: Operator = LazyLock::new(|| operator("value[start:stop:step]"));
    let step = step.unwrap_or(Value::from(()));
    eval(&PART, context! { value, start, stop, step })
}

type Operator = LazyLock<Option<Expression<'static, 'static>>>;

fn operator(source: &'static str) -> Option<Expression<'static, 'static>> {
    static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(Environment::new);
    ENVIRONMENT.compile_expression(source).ok()
}

fn apply(operator: &Operator, a: &Value, b: &Value) -> Result<Value, Error> {
    eval(operator, context! { a, b })
}

fn eval(operator: &Operator, operands: Value) -> Result<Value, Error> {
    operator
        .as_ref()
        .ok_or_else(|| refused("there is no such operator"))?
        .eval(operands)
}

/// What lies on the path, if there is one, in `item`; undefined if nothing does.
pub(super) fn attribute_of(item: Value, path: Option<&str>) -> Value {
    let Some(path) = path else {
        return item;
    };
    path.split('.')
        .try_fold(item, |item, part| match part.parse::<usize>() {
            Ok(index) => item.get_item(&Value::from(index)),
            Err(_) => item.get_attr(part),
        })
        .unwrap_or_default()
}

/// The filter `sum`, whose `start` may be a list.
fn sum(
    state: &State<'_, '_>,
    values: &Value,
    attribute: Option<&str>,
    start: Option<Value>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let attribute = match attribute {
        Some(attribute) => Some(attribute),
        None => kwargs.get::<Option<&str>>("attribute")?,
    };
    let mut total = match start {
        Some(start) => start,
        None => kwargs
            .get::<Option<Value>>("start")?
            .unwrap_or_else(|| Value::from(0)),
    };
    kwargs.assert_all_used()?;
    for item in values.try_iter()? {
        deadline::check()?;
        // Texts are copied for each that is added.
        let copied = total.as_str().map_or(0, str::len);
        state.consume_fuel((copied / BYTES_PER_FUEL) as u64 + 1)?;
        let item = attribute_of(item, attribute);
        if item.is_undefined() {
            continue;
        }
        if total.is_number() && !item.is_number() && item.kind() != ValueKind::Bool {
            return Err(refused(format!(
                "can only sum numbers, got {}",
                item.kind()
            )));
        }
        total = join(state, &total, &item)?;
    }
    hold(state, &total)?;
    Ok(total)
}
