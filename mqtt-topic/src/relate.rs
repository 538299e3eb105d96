//! How two filters relate: whether one takes in all that the other matches, and whether any name matches both.
use crate::{FilterLevel, FilterLevels, TopicFilter};

impl<'a> TopicFilter<'a> {
    /// Whether every name that `other` matches is matched by this filter too. One walk over both, no allocation.
    ///
    /// The `$` rule counts (section 4.7.2): `#` does not cover `$SYS/#`. Names are taken as endless: no answer hangs on
    /// how many bytes a name may have. Filters that begin with `$share/` are taken as they stand, like in
    /// [`matches`](Self::matches); compare what is inside of shared ones by [`SharedFilter::filter`](crate::SharedFilter::filter).
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_topic::TopicFilter;
    ///
    /// let granted = TopicFilter::new("home/+/#")?;
    /// assert!(granted.covers(TopicFilter::new("home/attic/+")?));
    /// assert!(!granted.covers(TopicFilter::new("home/#")?)); // that one matches "home" too
    /// # Ok::<(), mqtt_topic::FilterError>(())
    /// ```
    pub fn covers(self, other: TopicFilter<'_>) -> bool {
        // v5 [MQTT-4.7.2-1], v4 [MQTT-4.7.2-1]: a leading wildcard does not see what begins with `$`
        if self.begins_with_wildcard() && other.begins_with_dollar() {
            return false;
        }
        let (mut ours, mut theirs) = (Normal::of(self), Normal::of(other));
        loop {
            match (ours.next(), theirs.next()) {
                (Some(FilterLevel::Hash), _) | (None, None) => return true,
                (Some(FilterLevel::Plus), Some(FilterLevel::Plus | FilterLevel::Text(_))) => {}
                (Some(FilterLevel::Text(a)), Some(FilterLevel::Text(b))) if a == b => {}
                (Some(FilterLevel::Plus | FilterLevel::Text(_)) | None, _) => return false,
            }
        }
    }

    /// Whether there is a name that both this filter and `other` match. One walk over both, no allocation.
    ///
    /// The `$` rule counts (section 4.7.2): `#` and `$SYS/#` do not overlap. Otherwise as [`covers`](Self::covers) says.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_topic::TopicFilter;
    ///
    /// let filter = TopicFilter::new("home/+/temp")?;
    /// assert!(filter.overlaps(TopicFilter::new("home/attic/+")?));
    /// assert!(!filter.overlaps(TopicFilter::new("home/attic")?));
    /// # Ok::<(), mqtt_topic::FilterError>(())
    /// ```
    pub fn overlaps(self, other: TopicFilter<'_>) -> bool {
        // v5 [MQTT-4.7.2-1], v4 [MQTT-4.7.2-1]: a leading wildcard does not see what begins with `$`
        if self.begins_with_wildcard() && other.begins_with_dollar()
            || self.begins_with_dollar() && other.begins_with_wildcard()
        {
            return false;
        }
        let (mut ours, mut theirs) = (Normal::of(self), Normal::of(other));
        loop {
            match (ours.next(), theirs.next()) {
                // behind the last level too: "a/#" matches "a" [X5-SUB-12]
                (Some(FilterLevel::Hash), _) | (_, Some(FilterLevel::Hash)) | (None, None) => return true,
                (Some(FilterLevel::Plus), Some(_)) | (Some(_), Some(FilterLevel::Plus)) => {}
                (Some(FilterLevel::Text(a)), Some(FilterLevel::Text(b))) if a == b => {}
                (Some(_), Some(_)) | (Some(_), None) | (None, Some(_)) => return false,
            }
        }
    }

    fn begins_with_dollar(self) -> bool {
        self.as_bytes().first() == Some(&b'$')
    }
}

/// The levels of a filter, `#` written as the `+/#` it equals, and `/#` as `/+/#`: what would be the parent of those is
/// the empty name, and there is none (v5 [MQTT-4.7.3-1], v4 [MQTT-4.7.3-1]).
struct Normal<'a> {
    orphan: bool,
    levels: FilterLevels<'a>,
}

impl<'a> Normal<'a> {
    fn of(filter: TopicFilter<'a>) -> Self {
        Self { orphan: matches!(filter.as_bytes(), b"#" | b"/#"), levels: filter.levels() }
    }

    fn next(&mut self) -> Option<FilterLevel<'a>> {
        if self.orphan && self.levels.clone().next() == Some(FilterLevel::Hash) {
            self.orphan = false;
            return Some(FilterLevel::Plus);
        }
        self.levels.next()
    }
}
