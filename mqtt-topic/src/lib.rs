#![doc = include_str!("../README.md")]
//!
//! # Where to look
//!
//! | | |
//! |---|---|
//! | [`TopicName`], [`TopicNameBuf`] | what a PUBLISH carries (section 4.7) |
//! | [`TopicFilter`], [`TopicFilterBuf`] | what SUBSCRIBE and UNSUBSCRIBE carry (section 4.7) |
//! | [`SharedFilter`] | `$share/{group}/{filter}` (section 4.8.2) |
//! | [`TopicLimits`] | names and filters that are well-formed, but longer or deeper than a host wants |
//! | [`SubscriptionTrie`] | filter -> subscribers, looked up by name |
//! | [`RetainedTrie`], [`Cursor`] | name -> value, looked up by filter |
//! | [`check_text`] | the rules of every string of the protocol (section 1.5.4) |
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::todo)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "arbitrary")]
mod arbitrary;
mod arena;
mod entries;
mod exact;
mod filter;
mod grammar;
mod hash;
mod inline;
mod interner;
mod limits;
mod name;
mod reach;
mod relate;
mod retained;
#[cfg(feature = "serde")]
mod serde;
mod short;
mod sorted;
mod text;
mod trie;
mod wild;

pub use filter::{FilterError, FilterErrorKind, FilterLevel, FilterLevels, SharedFilter, TopicFilter, TopicFilterBuf};
pub use hash::HashSeed;
pub use limits::{LimitError, LimitErrorKind, TopicLimits};
pub use name::{Levels, NameError, NameErrorKind, TopicName, TopicNameBuf};
pub use retained::{Cursor, Next, RetainedTrie};
pub use text::{TextError, TextErrorKind, check_text};
pub use trie::{Full, SubscriptionTrie, TrieLimits};
