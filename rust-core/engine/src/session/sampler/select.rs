//! The likeliest few of many logits, without sorting them all.

use std::cmp::Ordering;

/// A token that may be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) token: u32,
    pub(super) logit: f32,
}

/// Likelier first; of equals the lower id. A total order, as no logit here is NaN.
fn likelier_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

/// Fills `best` with the `k` likeliest tokens, sorted likelier first; impossible ones (negative
/// infinity) are left out, so there may be fewer.
///
/// One pass over the logits. The buffer holds up to `2k`; when full it is cut to its best `k` by
/// selection, and from then on a logit must beat the worst of those to get in. As ids rise during
/// the pass, an equal logit that comes later rightly stays out.
pub(super) fn select(logits: &[f32], k: usize, best: &mut Vec<Candidate>) {
    best.clear();
    let k = k.min(logits.len());
    if k == 0 {
        return;
    }
    let room = (2 * k).max(256);
    let mut bar = f32::NEG_INFINITY;
    for (token, &logit) in logits.iter().enumerate() {
        if logit > bar {
            best.push(Candidate {
                // -0.0 and 0.0 are equally likely, but total_cmp tells them apart.
                logit: logit + 0.0,
                token: token as u32,
            });
            if best.len() == room {
                let (_, worst, _) = best.select_nth_unstable_by(k - 1, likelier_first);
                bar = worst.logit;
                best.truncate(k);
            }
        }
    }
    if best.len() > k {
        best.select_nth_unstable_by(k - 1, likelier_first);
        best.truncate(k);
    }
    best.sort_unstable_by(likelier_first);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn selection_is_the_head_of_a_full_sort(
            // Few distinct values, so that ties are many.
            values in prop::collection::vec(-3i8..4, 1..2000),
            k in 1usize..700,
        ) {
            let logits: Vec<f32> = values
                .iter()
                .map(|&v| if v == -3 { f32::NEG_INFINITY } else { f32::from(v) * 0.5 })
                .collect();
            let mut best = Vec::new();
            select(&logits, k, &mut best);
            let mut all: Vec<usize> = (0..logits.len()).filter(|&i| logits[i].is_finite()).collect();
            all.sort_by(|&a, &b| logits[b].partial_cmp(&logits[a]).unwrap().then(a.cmp(&b)));
            all.truncate(k);
            let got: Vec<usize> = best.iter().map(|c| c.token as usize).collect();
            prop_assert_eq!(got, all);
        }
    }

    #[test]
    fn signed_zeros_tie_by_id() {
        let mut best = Vec::new();
        select(&[-0.0, 0.0, -0.0], 2, &mut best);
        assert_eq!(best.iter().map(|c| c.token).collect::<Vec<_>>(), [0, 1]);
    }
}
