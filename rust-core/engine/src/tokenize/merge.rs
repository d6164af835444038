//! The merge loop that byte-level BPE and SPM share: join the best neighbouring pair, the
//! leftmost of equals, until no pair is left.
//!
//! With a queue of pairs this takes O(n log n) for n symbols, whatever the text; a scan for the
//! best pair after each join would take O(n²), seconds on a long run without a space.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Stands for "no symbol" in links and for "no token" in ids.
pub(super) const NONE: u32 = u32::MAX;

/// A stretch of the text that is one token, or none yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol {
    /// First byte in the text.
    pub(super) start: u32,
    /// Length in bytes; 0 once the symbol has been joined to its left neighbour.
    pub(super) len: u32,
    /// The token that it is, or [`NONE`].
    pub(super) id: u32,
    previous: u32,
    next: u32,
}

/// A pair that could be joined. The order of the fields is the order of the queue: the smallest
/// rank first, then the leftmost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    rank: u32,
    left: u32,
    right: u32,
    /// Length of both together when queued: tells whether one has changed since.
    len: u32,
    id: u32,
}

/// The working memory of the loop, kept between words.
#[derive(Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Reverse<Pair>>,
}

impl Merger {
    pub(super) fn clear(&mut self) {
        self.symbols.clear();
        self.queue.clear();
    }

    /// Appends a symbol of `len` bytes.
    pub(super) fn push(&mut self, len: u32, id: u32) {
        let index = self.symbols.len() as u32;
        let (start, previous) = match self.symbols.last_mut() {
            Some(last) => {
                last.next = index;
                (last.start + last.len, index - 1)
            }
            None => (0, NONE),
        };
        self.symbols.push(Symbol {
            start,
            len,
            id,
            previous,
            next: NONE,
        });
    }

    /// Joins pairs until `rank` knows none: it gives for two neighbours the rank (smaller is
    /// joined first) and the id of the joined token.
    pub(super) fn run(&mut self, rank: impl Fn(Symbol, Symbol) -> Option<(u32, u32)>) {
        for left in 1..self.symbols.len() as u32 {
            self.offer(left - 1, left, &rank);
        }
        while let Some(Reverse(pair)) = self.queue.pop() {
            let left = self.symbols[pair.left as usize];
            let right = self.symbols[pair.right as usize];
            if left.len == 0 || right.len == 0 || left.len + right.len != pair.len {
                continue;
            }
            let joined = &mut self.symbols[pair.left as usize];
            joined.len = pair.len;
            joined.id = pair.id;
            joined.next = right.next;
            self.symbols[pair.right as usize].len = 0;
            if right.next != NONE {
                self.symbols[right.next as usize].previous = pair.left;
            }
            self.offer(left.previous, pair.left, &rank);
            self.offer(pair.left, right.next, &rank);
        }
    }

    fn offer(
        &mut self,
        left: u32,
        right: u32,
        rank: &impl Fn(Symbol, Symbol) -> Option<(u32, u32)>,
    ) {
        if left == NONE || right == NONE {
            return;
        }
        let (a, b) = (self.symbols[left as usize], self.symbols[right as usize]);
        if let Some((rank, id)) = rank(a, b) {
            self.queue.push(Reverse(Pair {
                rank,
                left,
                right,
                len: a.len + b.len,
                id,
            }));
        }
    }

    /// What is left after [`run`](Self::run), in the order of the text.
    pub(super) fn symbols(&self) -> impl Iterator<Item = Symbol> + '_ {
        self.symbols.iter().copied().filter(|symbol| symbol.len > 0)
    }
}
