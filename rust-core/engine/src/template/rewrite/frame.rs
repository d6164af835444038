//! What the reading of a tag remembers.

pub(super) struct Edit {
    pub(super) at: usize,
    pub(super) remove: usize,
    pub(super) insert: &'static str,
}

/// What lies between two brackets, up to where the reading is.
pub(super) struct Frame {
    pub(super) open: &'static str,
    /// Where the bracket is, if it begins a list, a dict, or a tuple or grouping.
    pub(super) literal: Option<usize>,
    /// It has a comma, which makes a tuple of a grouping.
    pub(super) comma: bool,
    /// It holds nothing but numbers and strings.
    pub(super) constant: bool,
    /// Where the chain of sums and differences began.
    pub(super) start: Option<usize>,
    /// All of the chain so far is one operand: it ends with a sum.
    pub(super) summed: bool,
    /// The filter's bracket is open.
    pub(super) pending: bool,
    /// The chain is compared with what is before it, or is an index.
    pub(super) compared: bool,
    /// The chain has more than numbers and strings.
    pub(super) varied: bool,
    /// Where the factors began: what `%` and `*` have on their left.
    pub(super) term: Option<usize>,
    /// The bracket of the filter for `%` or `*` is open.
    pub(super) factor: bool,
    /// Where the terms began that `~` joins.
    pub(super) joined: Option<usize>,
    /// The bracket of the filter for `~` is open.
    pub(super) joining: bool,
    /// Where the operand began, without its sign: what an index has on its left.
    pub(super) primary: Option<usize>,
    /// Where the argument of a test began that has no brackets, and whether it needs them.
    pub(super) bare: Option<(usize, bool)>,
    pub(super) index: Option<Index>,
    /// Arguments that the call of `changed` has, which compares and keeps them.
    pub(super) changed: Option<usize>,
    /// Strings alone are in it.
    pub(super) named_key: bool,
}

/// An index or slice.
#[derive(Clone, Copy)]
pub(super) struct Index {
    /// Where its bracket is.
    pub(super) open: usize,
    pub(super) slice: bool,
    /// The end of its bracket or last colon.
    pub(super) part: usize,
}

impl Frame {
    pub(super) const fn new(open: &'static str) -> Self {
        Self {
            open,
            literal: None,
            changed: None,
            comma: false,
            constant: true,
            start: None,
            summed: false,
            pending: false,
            compared: false,
            varied: false,
            term: None,
            factor: false,
            joined: None,
            joining: false,
            primary: None,
            bare: None,
            index: None,
            named_key: true,
        }
    }
}

/// Where in a statement its targets are, whose brackets and commas take values apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Targets {
    /// Not here.
    None,
    /// Up to `in`.
    For,
    /// Up to `=`; with a dot, one is an attribute of a namespace.
    Set { attribute: bool },
    /// Up to `=`, and again after the next comma.
    With,
}

/// How much of `is [not] name argument` was read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    None,
    Is,
    Named,
}
