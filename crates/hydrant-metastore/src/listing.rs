//! What a listing is asked for, so that each shape of it is one fixed statement with an index of its own.

use crate::Filter;

const LIMIT_DEFAULT: u32 = 100;

/// The shapes of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing<'a> {
    /// Of one stream, in one state or any.
    OfStream { stream: &'a str, state: Option<&'a str> },
    /// Of all streams, in a state in which somebody has still to do something: few rows among many.
    Open { state: &'a str },
    /// Of all streams, in one state that many rows are in, or any.
    OfAll { state: Option<&'a str> },
}

impl<'a> Listing<'a> {
    pub(crate) fn of_batches(filter: &'a Filter) -> Self {
        match (filter.stream.as_ref(), filter.state.as_deref()) {
            (Some(stream), state) => Self::OfStream { stream: stream.as_str(), state },
            (None, Some(state)) if !matches!(state, "delivered" | "loaded" | "empty" | "discarded") => {
                Self::Open { state }
            }
            (None, state) => Self::OfAll { state },
        }
    }

    pub(crate) fn of_loads(filter: &'a Filter) -> Self {
        match (filter.stream.as_ref(), filter.state.as_deref()) {
            (Some(stream), state) => Self::OfStream { stream: stream.as_str(), state },
            (None, Some(state @ ("planned" | "submitted"))) => Self::Open { state },
            (None, state) => Self::OfAll { state },
        }
    }
}

/// How many rows at most.
pub(crate) fn limit(filter: &Filter) -> i64 {
    i64::from(if filter.limit == 0 { LIMIT_DEFAULT } else { filter.limit })
}
