//! The retained trie: topic name -> value, looked up by filter with a resumable cursor.
use crate::sorted::{Place, Sorted};
use crate::{FilterLevel, TopicFilter, TopicFilterBuf, TopicName};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

/// One value per topic name.
///
/// The names lie sorted by their levels, so what a filter matches lies in few stretches, and a walk leaps from one
/// to the next. Insert, remove and get take O(log n) comparisons of names.
/// How many bytes of values it holds is for the caller to count: only the caller knows.
///
/// # Examples
///
/// ```
/// use mqtt_topic::{Cursor, Next, RetainedTrie, TopicFilter, TopicName};
///
/// let mut retained = RetainedTrie::new();
/// retained.insert(TopicName::new("home/attic/temp")?, 31);
/// retained.insert(TopicName::new("home/cellar/temp")?, 12);
/// retained.insert(TopicName::new("home/cellar/light")?, 0);
///
/// let mut cursor = Cursor::new(TopicFilter::new("home/+/temp")?);
/// let mut temperatures = Vec::new();
/// loop {
///     let mut budget = 2; // a turn's share; other work may be done, names set and removed, between two turns
///     match retained.next(&mut cursor, &mut budget) {
///         Next::Found(name, value) => temperatures.push((name.as_str(), *value)),
///         Next::OutOfBudget => continue,
///         Next::Done => break,
///     }
/// }
/// assert_eq!(temperatures, [("home/attic/temp", 31), ("home/cellar/temp", 12)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RetainedTrie<V> {
    names: Sorted<V>,
}

/// Where a walk over the names that match a filter has got to. Owned: it survives inserts and removals in between.
///
/// Every matching name that is there during the whole walk is found exactly once, in the order of the levels,
/// whatever is inserted and removed between two steps; a name that comes or goes meanwhile is found at most once.
#[derive(Clone)]
pub struct Cursor {
    filter: TopicFilterBuf,
    progress: Progress,
}

#[derive(Clone)]
struct Progress {
    /// The walk goes on at the first name that does not sort below this (`after`: that sorts above).
    bound: Vec<u8>,
    after: bool,
    done: bool,
    /// Where the name `bound` was seen last; believed only while it is still there.
    hint: Place,
}

impl Cursor {
    /// The start of a walk over what matches `filter`.
    ///
    /// A shared subscription receives no retained messages; for one that begins with `$share/` there is nothing to walk.
    pub fn new(filter: TopicFilter<'_>) -> Self {
        let mut bound = Vec::new();
        for (depth, level) in filter.levels().enumerate() {
            let FilterLevel::Text(text) = level else {
                break;
            };
            if depth > 0 {
                bound.push(b'/');
            }
            bound.extend_from_slice(text);
        }
        let progress = Progress { bound, after: false, done: false, hint: Place::default() };
        Self { filter: filter.into(), progress }
    }

    /// The filter it walks.
    pub fn filter(&self) -> TopicFilter<'_> {
        self.filter.as_filter()
    }
}

impl Progress {
    /// Goes on behind `name`, which was seen at `place`.
    fn pass(&mut self, name: &[u8], place: Place) {
        self.hint = place;
        self.after = true;
        self.bound.clear();
        self.bound.extend_from_slice(name);
    }

    /// Goes on at the first name that does not sort below these parts in a row.
    fn leap(&mut self, parts: [&[u8]; 3]) {
        self.after = false;
        self.bound.clear();
        parts.iter().for_each(|part| self.bound.extend_from_slice(part));
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("filter", &self.filter)
            .field("done", &self.progress.done)
            .finish_non_exhaustive()
    }
}

/// One step of a walk.
#[derive(Debug)]
pub enum Next<'t, V> {
    /// A name that matches, and its value.
    Found(TopicName<'t>, &'t V),
    /// The budget is used up; go on later with a new one.
    OutOfBudget,
    /// Nothing more; a cursor that is done stays done.
    Done,
}

impl<V> RetainedTrie<V> {
    /// An empty trie.
    pub const fn new() -> Self {
        Self { names: Sorted::new() }
    }

    /// Sets the value of `name`; the old one comes back.
    pub fn insert(&mut self, name: TopicName<'_>, value: V) -> Option<V> {
        match self.names.find(name.as_bytes()) {
            Ok(place) => self.names.value_mut(place).map(|old| core::mem::replace(old, value)),
            Err(place) => {
                self.names.insert(place, name.as_bytes(), value);
                None
            }
        }
    }

    /// Removes the value of `name`.
    pub fn remove(&mut self, name: TopicName<'_>) -> Option<V> {
        let place = self.names.find(name.as_bytes()).ok()?;
        self.names.remove(place)
    }

    /// The value of `name`.
    pub fn get(&self, name: TopicName<'_>) -> Option<&V> {
        self.names.get(name.as_bytes())
    }

    /// The value of `name`.
    pub fn get_mut(&mut self, name: TopicName<'_>) -> Option<&mut V> {
        let place = self.names.find(name.as_bytes()).ok()?;
        self.names.value_mut(place)
    }

    /// All names and values, those that begin with `$` included, in the order of the levels.
    pub fn iter(&self) -> impl Iterator<Item = (TopicName<'_>, &V)> {
        self.names.iter().map(|entry| (TopicName::known(&entry.name), &entry.value))
    }

    /// The next match behind `cursor`; each step into the trie takes one from `budget`.
    ///
    /// A step looks at one name, whether it matches or not, and is O(log n); so a call with a budget of `b` does
    /// O(b log n) work even when nothing matches. With a budget of 0 it does nothing.
    pub fn next<'t>(&'t self, cursor: &mut Cursor, budget: &mut u32) -> Next<'t, V> {
        let Cursor { filter, progress } = cursor;
        if progress.done {
            return Next::Done;
        }
        if *budget == 0 {
            return Next::OutOfBudget;
        }
        let mut place = self.resume(progress);
        loop {
            let Some(left) = budget.checked_sub(1) else {
                return Next::OutOfBudget;
            };
            *budget = left;
            let Some((here, entry)) = self.names.at(place) else {
                break;
            };
            let name = &*entry.name;
            match judge(filter.as_filter(), name) {
                Verdict::Match => {
                    progress.pass(name, here);
                    return Next::Found(TopicName::known(name), &entry.value);
                }
                Verdict::Behind => {
                    progress.pass(name, here);
                    place = here.next();
                    continue;
                }
                Verdict::At(prefix, level) => progress.leap([prefix, level, b""]),
                Verdict::Below(level) => progress.leap([name, b"/", level]),
                // no byte of a name sorts between the slash and this one
                Verdict::Past(prefix) => progress.leap([prefix, b"\x01", b""]),
                Verdict::PastDollar => progress.leap([b"%", b"", b""]), // the byte after `$`
                Verdict::Nothing => break,
            }
            place = self.names.seek(&progress.bound, here);
        }
        progress.done = true;
        Next::Done
    }

    /// The first place that was not passed yet.
    fn resume(&self, progress: &Progress) -> Place {
        if !progress.after {
            return self.names.seek(&progress.bound, progress.hint);
        }
        if let Some((place, entry)) = self.names.at(progress.hint)
            && *entry.name == *progress.bound
        {
            return place.next();
        }
        match self.names.find(&progress.bound) {
            Ok(place) => place.next(),
            Err(place) => place,
        }
    }

    /// How many names `filter` matches, told without walking over them; `None` if it holds a `+`.
    ///
    /// Takes O(log n) comparisons, and one addition for some thousands of names.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_topic::{RetainedTrie, TopicFilter, TopicName};
    ///
    /// let mut retained = RetainedTrie::new();
    /// for name in ["a", "a/b", "a/b/c", "ab", "$SYS/x"] {
    ///     retained.insert(TopicName::new(name)?, ());
    /// }
    /// assert_eq!(retained.count(TopicFilter::new("a/#")?), Some(3));
    /// assert_eq!(retained.count(TopicFilter::new("#")?), Some(4)); // "$SYS/x" hides from it
    /// assert_eq!(retained.count(TopicFilter::new("+/b")?), None); // walk, with a budget
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn count(&self, filter: TopicFilter<'_>) -> Option<usize> {
        let between = |from: &[u8], to: &[u8]| self.names.rank(to) - self.names.rank(from);
        Some(match filter.as_bytes() {
            text if text.contains(&b'+') => return None,
            // v5 [MQTT-4.7.2-1], v4 [MQTT-4.7.2-1]: all but the names that begin with `$`; `%` is the byte behind it.
            b"#" => self.len() - between(b"$", b"%"),
            // behind all that is below the parent come the names that begin with it and go on with any byte but a slash
            [parent @ .., b'/', b'#'] => between(parent, &[parent, b"\x01"].concat()),
            text => usize::from(self.names.get(text).is_some()),
        })
    }

    /// How many names have a value.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held by names and nodes, values not counted.
    pub fn memory(&self) -> usize {
        self.names.memory()
    }
}

impl<V> Default for RetainedTrie<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> fmt::Debug for RetainedTrie<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetainedTrie").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// What a filter says of one name, and where the next name lies that may match.
enum Verdict<'n, 'f> {
    Match,
    /// Right behind it.
    Behind,
    /// At this prefix of the name with this level behind it.
    At(&'n [u8], &'f [u8]),
    /// At the name with this level below it.
    Below(&'f [u8]),
    /// Behind this prefix of the name and all that is below it.
    Past(&'n [u8]),
    /// Behind all names that begin with `$`.
    PastDollar,
    /// Nowhere.
    Nothing,
}

fn judge<'n, 'f>(filter: TopicFilter<'f>, name: &'n [u8]) -> Verdict<'n, 'f> {
    // v5 [MQTT-4.7.2-1], v4 [MQTT-4.7.2-1]: a leading wildcard does not see names that begin with `$`.
    if filter.begins_with_wildcard() && name.first() == Some(&b'$') {
        return Verdict::PastDollar;
    }
    let prefix = |end: usize| name.split_at_checked(end).map_or(name, |(prefix, _)| prefix);
    // Once nothing more can come below what the name has at the last `+`, that level has to move on.
    let mut past_plus = Verdict::Nothing;
    let mut start = 0;
    let mut levels = TopicName::known(name).levels();
    for filter_level in filter.levels() {
        match (filter_level, levels.next()) {
            (FilterLevel::Hash, _) => return Verdict::Match,
            (FilterLevel::Plus, None) => return Verdict::Behind,
            (FilterLevel::Text(text), None) => return Verdict::Below(text),
            (FilterLevel::Plus, Some(level)) => {
                past_plus = Verdict::Past(prefix(start + level.len()));
                start += level.len() + 1;
            }
            (FilterLevel::Text(text), Some(level)) => match level.cmp(text) {
                Ordering::Less => return Verdict::At(prefix(start), text),
                Ordering::Equal => start += level.len() + 1,
                Ordering::Greater => return past_plus,
            },
        }
    }
    match levels.next() {
        None => Verdict::Match,
        Some(_) => past_plus,
    }
}
