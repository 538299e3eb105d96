//! The filters with wildcards: a trie whose nodes lie in an arena.
//!
//! Each node has slots of its own for `+`, for one more child, for the entries of the filter that ends here, and for
//! those of the one that ends in `#` right below. One table holds the edges to all further children, keyed by small ids.
use crate::arena::{Arena, Id, place};
use crate::entries::{Entries, counted};
use crate::inline::Inline;
use crate::interner::{Interner, give_back};
use crate::reach::Reach;
use crate::trie::{Full, Room};
use crate::{FilterLevel, FilterLevels, HashSeed, TopicFilter, TopicName};
use alloc::vec::Vec;
use core::hash::Hash;
use hashbrown::HashTable;

pub(crate) struct Wild<K, V> {
    seed: HashSeed,
    nodes: Arena<Node>,
    edges: HashTable<Edge>,
    levels: Interner,
    lists: Arena<Entries<K, V>>,
    /// Bytes of text: each node's level.
    text: usize,
    /// Bytes that lists hold outside of their place.
    heap: usize,
    /// How many lists went since the reaches were exact.
    loose: usize,
}

struct Node {
    parent: Id,
    /// `None` in the root and in a node that its parent calls `plus`.
    level: Option<Id>,
    plus: Option<Id>,
    /// Entries of the filter that ends with this node.
    here: Option<Id>,
    /// Entries of that filter with `/#` behind it.
    below: Option<Id>,
    /// One child that is not `plus`. Most nodes have but one, and it takes no look into the table.
    first: Option<First>,
    /// How many edges of the table begin here: the children besides `first` and `plus`.
    children: u32,
    /// Where the lists lie that hang here and further down: all of them within, though lists that went may have left
    /// it wider than need be (see `tighten`).
    reach: Reach,
}

#[derive(Clone, Copy)]
struct First {
    level: Id,
    child: Id,
}

struct Edge {
    parent: Id,
    level: Id,
    child: Id,
}

/// The first node of the arena.
const ROOT: Id = Id::MIN;

impl<K: Copy + Eq + Hash, V> Wild<K, V> {
    pub(crate) fn new(seed: HashSeed) -> Self {
        let mut nodes = Arena::new(1);
        let root = nodes.insert(Node::below(ROOT, None));
        debug_assert_eq!(root, Some(ROOT));
        let (levels, lists) = (Interner::new(seed), Arena::new(0));
        Self { seed, nodes, edges: HashTable::new(), levels, lists, text: 0, heap: 0, loose: 0 }
    }

    pub(crate) fn get(&self, filter: TopicFilter<'_>, key: K) -> Option<&V> {
        self.lists.get(self.list_of(filter)?)?.get(key, self.seed)
    }

    pub(crate) fn get_mut(&mut self, filter: TopicFilter<'_>, key: K) -> Option<&mut V> {
        let list = self.list_of(filter)?;
        self.lists.get_mut(list)?.get_mut(key, self.seed)
    }

    /// Adds or replaces the entry of `key`, if what it needs finds `room`.
    pub(crate) fn insert(&mut self, filter: TopicFilter<'_>, key: K, value: V, room: Room) -> Result<Option<V>, Full> {
        let seed = self.seed;
        let (mut node, missing) = self.descend(filter);
        let (new_nodes, new_text) = missing.clone().fold((0, 0), |(nodes, text), level| match level {
            FilterLevel::Text(level) => (nodes + 1, text + level.len()),
            FilterLevel::Plus => (nodes + 1, text),
            FilterLevel::Hash => (nodes, text),
        });
        let list = if new_nodes == 0 { self.list_at(node, filter) } else { None };
        let known = list.and_then(|list| self.lists.get(list)?.get(key, seed)).is_some();
        if !known {
            room.check(new_nodes + 1, new_text)?;
        }
        if let Some(list) = list.and_then(|list| self.lists.get_mut(list)) {
            return Ok(counted(&mut self.heap, list, |entries| entries.insert(key, value, seed)));
        }
        for level in missing {
            match self.add_child(node, level) {
                Some(child) => node = child,
                None if level == FilterLevel::Hash => break,
                None => {
                    self.prune(node);
                    return Err(Full);
                }
            }
        }
        let Some(list) = self.lists.insert(Entries::One(key, value)) else {
            self.prune(node);
            return Err(Full);
        };
        if let Some(node) = self.nodes.get_mut(node) {
            *node.slot(filter) = Some(list);
        }
        self.widen(node, if ends_in_hash(filter) { Reach::BELOW } else { Reach::HERE });
        Ok(None)
    }

    pub(crate) fn remove(&mut self, filter: TopicFilter<'_>, key: K) -> Option<V> {
        let seed = self.seed;
        let (id, missing) = self.descend(filter);
        if !is_complete(missing) {
            return None;
        }
        let list = self.list_at(id, filter)?;
        let entries = self.lists.get_mut(list)?;
        let value = counted(&mut self.heap, entries, |entries| entries.remove(key, seed))?;
        if entries.is_empty() {
            self.lists.remove(list);
            if let Some(node) = self.nodes.get_mut(id) {
                *node.slot(filter) = None;
            }
            self.prune(id);
            self.loose += 1;
            if self.loose > self.nodes.len() / 2 {
                self.tighten();
            }
        }
        Some(value)
    }

    /// The deepest node on the way of `filter`, and the levels for which there is none. A `#` always stays over.
    fn descend<'f>(&self, filter: TopicFilter<'f>) -> (Id, FilterLevels<'f>) {
        let (mut node, mut rest) = (ROOT, filter.levels());
        loop {
            let here = rest.clone();
            match rest.next().and_then(|level| self.child(node, level)) {
                Some(child) => node = child,
                None => return (node, here),
            }
        }
    }

    fn child(&self, node: Id, level: FilterLevel<'_>) -> Option<Id> {
        match level {
            FilterLevel::Plus => self.nodes.get(node)?.plus,
            FilterLevel::Text(text) => self.edge(node, self.nodes.get(node)?, self.levels.find(text)?),
            FilterLevel::Hash => None,
        }
    }

    /// The child of `parent`, which is `node`, at `level`.
    #[inline]
    fn edge(&self, parent: Id, node: &Node, level: Id) -> Option<Id> {
        match node.first {
            Some(first) if first.level == level => return Some(first.child),
            _ if node.children == 0 => return None,
            _ => {}
        }
        let is_it = |edge: &Edge| edge.parent == parent && edge.level == level;
        self.edges.find(self.seed.hash_ids(parent.get(), level.get()), is_it).map(|edge| edge.child)
    }

    /// The list of the whole `filter`, if it is there.
    fn list_of(&self, filter: TopicFilter<'_>) -> Option<Id> {
        let (node, missing) = self.descend(filter);
        if is_complete(missing) { self.list_at(node, filter) } else { None }
    }

    fn list_at(&self, node: Id, filter: TopicFilter<'_>) -> Option<Id> {
        let node = self.nodes.get(node)?;
        if ends_in_hash(filter) { node.below } else { node.here }
    }

    /// A new child; `None` for `#`, which is a slot of its parent, and when the ids are used up.
    fn add_child(&mut self, parent: Id, level: FilterLevel<'_>) -> Option<Id> {
        match level {
            FilterLevel::Hash => None,
            FilterLevel::Plus => {
                let child = self.nodes.insert(Node::below(parent, None))?;
                self.nodes.get_mut(parent)?.plus = Some(child);
                Some(child)
            }
            FilterLevel::Text(text) => {
                let level = self.levels.acquire(text)?;
                let Some(child) = self.nodes.insert(Node::below(parent, Some(level))) else {
                    self.levels.release(level);
                    return None;
                };
                let node = self.nodes.get_mut(parent)?;
                if node.first.is_none() {
                    node.first = Some(First { level, child });
                } else {
                    node.children += 1;
                    let hash = self.seed.hash_ids(parent.get(), level.get());
                    self.edges.insert_unique(hash, Edge { parent, level, child }, hash_edge(self.seed));
                }
                self.text += text.len();
                Some(child)
            }
        }
    }

    /// Makes the reaches from `id` up take in a new list, up to the first that does so already.
    fn widen(&mut self, mut id: Id, mut reach: Reach) {
        while let Some(node) = self.nodes.get_mut(id) {
            let joined = node.reach.join(reach);
            if node.reach == joined {
                return;
            }
            node.reach = joined;
            if id == ROOT {
                return;
            }
            reach = reach.lifted();
            id = node.parent;
        }
    }

    /// Makes all reaches exact again, from the leaves up. One pass over the nodes, paid for by the lists that went.
    fn tighten(&mut self) {
        self.loose = 0;
        let mut open = alloc::vec![0_u32; self.nodes.slots()];
        let mut ready = Vec::new();
        for (id, node) in self.nodes.iter_mut() {
            node.reach = node.own_reach();
            let children = node.children + u32::from(node.first.is_some()) + u32::from(node.plus.is_some());
            if let Some(open) = open.get_mut(place(id)) {
                *open = children;
            }
            if children == 0 {
                ready.push(id);
            }
        }
        while let Some(id) = ready.pop() {
            let Some(node) = self.nodes.get(id).filter(|_| id != ROOT) else {
                continue;
            };
            let (above, reach) = (node.parent, node.reach.lifted());
            if let Some(parent) = self.nodes.get_mut(above) {
                parent.reach = parent.reach.join(reach);
            }
            if let Some(open) = open.get_mut(place(above)) {
                *open = open.saturating_sub(1);
                if *open == 0 {
                    ready.push(above);
                }
            }
        }
    }

    /// Takes away `id` and whatever stands above it, as long as nothing needs it.
    fn prune(&mut self, mut id: Id) {
        while id != ROOT {
            let Some(node) = self.nodes.get(id) else {
                return;
            };
            if node.is_needed() {
                return;
            }
            let (parent, level) = (node.parent, node.level);
            match level {
                Some(level) => self.cut(parent, level),
                None => {
                    if let Some(parent) = self.nodes.get_mut(parent) {
                        parent.plus = None;
                    }
                }
            }
            self.nodes.remove(id);
            id = parent;
        }
    }

    /// Removes the edge from `parent` at `level`.
    fn cut(&mut self, parent: Id, level: Id) {
        if let Some(node) = self.nodes.get_mut(parent) {
            if node.first.is_some_and(|first| first.level == level) {
                node.first = None;
            } else {
                node.children -= 1;
                let hash = self.seed.hash_ids(parent.get(), level.get());
                let is_it = |edge: &Edge| edge.parent == parent && edge.level == level;
                if let Ok(edge) = self.edges.find_entry(hash, is_it) {
                    edge.remove();
                    give_back(&mut self.edges, hash_edge(self.seed));
                }
            }
        }
        self.text -= self.levels.text(level).map_or(0, <[u8]>::len);
        self.levels.release(level);
    }

    /// The part of a lookup that walks the trie; answers how many nodes it looked at, those it turned away from
    /// because nothing below them has the depth of the name included.
    ///
    /// Depth first: on the way down only `+` branches wait, so never more than the name has levels.
    pub(crate) fn walk<'t>(&'t self, name: TopicName<'_>, found: &mut impl FnMut(K, &'t V)) -> usize {
        // nothing below the root: nothing needs to be prepared
        if self.nodes() == 0 && self.lists.len() == 0 {
            return 1;
        }
        let hidden = name.begins_with_dollar();
        let depth_of_name = 1 + name.as_bytes().iter().filter(|&&byte| byte == b'/').count();
        let mut levels = name.levels();
        let mut ids = Inline::<Option<Id>, 32>::new(None);
        let mut waiting = Inline::<(Id, usize), 16>::new((ROOT, 0));
        let (mut id, mut depth, mut visits) = (ROOT, 0, 0);
        loop {
            visits += 1;
            let mut onward = None;
            if let Some(node) = self.nodes.get(id).filter(|node| node.reach.takes(depth_of_name - depth)) {
                // v5 [MQTT-4.7.2-1], v4 [MQTT-4.7.2-1]: a leading wildcard does not see names that begin with `$`.
                let wild = depth > 0 || !hidden;
                if wild {
                    // behind the last level too: "a/#" matches "a" [X5-SUB-12]
                    self.report(node.below, found);
                }
                if depth == depth_of_name {
                    self.report(node.here, found);
                } else {
                    if node.first.is_some() || node.children > 0 {
                        while ids.len() <= depth {
                            ids.push(levels.next().and_then(|level| self.levels.find(level)));
                        }
                        onward = ids.get(depth).flatten().and_then(|level| self.edge(id, node, level));
                    }
                    if let Some(plus) = node.plus.filter(|_| wild) {
                        match onward {
                            Some(_) => waiting.push((plus, depth + 1)),
                            None => onward = Some(plus),
                        }
                    }
                }
            }
            (id, depth) = match onward {
                Some(child) => (child, depth + 1),
                None => match waiting.pop() {
                    Some(branch) => branch,
                    None => return visits,
                },
            };
        }
    }

    #[inline]
    fn report<'t>(&'t self, list: Option<Id>, found: &mut impl FnMut(K, &'t V)) {
        if let Some(list) = list.and_then(|list| self.lists.get(list)) {
            list.for_each(found);
        }
    }
}

impl<K: Copy, V> Wild<K, V> {
    /// How many nodes there are, the root not counted.
    pub(crate) const fn nodes(&self) -> usize {
        self.nodes.len() - 1
    }

    /// Bytes of text.
    pub(crate) const fn text(&self) -> usize {
        self.text
    }

    /// Bytes held.
    pub(crate) fn memory(&self) -> usize {
        self.nodes.memory() + self.edges.allocation_size() + self.levels.memory() + self.lists.memory() + self.heap
    }

    pub(crate) fn for_each(&self, each: &mut impl FnMut(TopicFilter<'_>, K, &V)) {
        let (mut text, mut path) = (Vec::new(), Vec::new());
        for (id, node) in self.nodes.iter() {
            for (list, is_hash) in [(node.here, false), (node.below, true)] {
                let Some(list) = list.and_then(|list| self.lists.get(list)) else {
                    continue;
                };
                self.write_filter(id, is_hash, &mut path, &mut text);
                let filter = TopicFilter::known(&text);
                list.for_each(&mut |key, value| each(filter, key, value));
            }
        }
    }

    /// Puts the filter that ends at `id` into `text`.
    fn write_filter(&self, mut id: Id, is_hash: bool, path: &mut Vec<Id>, text: &mut Vec<u8>) {
        path.clear();
        while id != ROOT
            && let Some(node) = self.nodes.get(id)
        {
            path.push(id);
            id = node.parent;
        }
        text.clear();
        for (depth, level) in path.iter().rev().filter_map(|&id| self.nodes.get(id)).enumerate() {
            if depth > 0 {
                text.push(b'/');
            }
            text.extend_from_slice(match level.level {
                Some(level) => self.levels.text(level).unwrap_or_default(),
                None => b"+",
            });
        }
        if is_hash {
            text.extend_from_slice(if path.is_empty() { b"#" } else { b"/#" });
        }
    }
}

impl Node {
    const fn below(parent: Id, level: Option<Id>) -> Self {
        Self { parent, level, plus: None, here: None, below: None, first: None, children: 0, reach: Reach::NOTHING }
    }

    const fn is_needed(&self) -> bool {
        self.plus.is_some() || self.here.is_some() || self.below.is_some() || self.first.is_some() || self.children > 0
    }

    /// Where the lists lie that hang at this node itself.
    const fn own_reach(&self) -> Reach {
        match (self.here, self.below) {
            (None, None) => Reach::NOTHING,
            (Some(_), None) => Reach::HERE,
            (_, Some(_)) => Reach::BELOW,
        }
    }

    /// Where the list of `filter`, which ends at this node, hangs.
    fn slot(&mut self, filter: TopicFilter<'_>) -> &mut Option<Id> {
        if ends_in_hash(filter) { &mut self.below } else { &mut self.here }
    }
}

fn ends_in_hash(filter: TopicFilter<'_>) -> bool {
    filter.as_bytes().last() == Some(&b'#')
}

/// Whether nothing but a `#` is left over.
fn is_complete(mut missing: FilterLevels<'_>) -> bool {
    matches!(missing.next(), None | Some(FilterLevel::Hash))
}

fn hash_edge(seed: HashSeed) -> impl Fn(&Edge) -> u64 {
    move |edge| seed.hash_ids(edge.parent.get(), edge.level.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter<'_> {
        TopicFilter::new(text).unwrap()
    }

    #[test]
    fn a_node_is_as_small_as_its_fields() {
        assert_eq!(core::mem::size_of::<Node>(), 36);
        assert_eq!(core::mem::size_of::<Edge>(), 12);
    }

    #[test]
    fn no_node_is_visited_twice_however_many_paths_lead_down() {
        let mut trie = Wild::new(HashSeed::new(1, 2));
        for shape in 0..4096_u32 {
            let levels: Vec<&str> = (0..12).map(|bit| if shape >> bit & 1 == 0 { "+" } else { "a" }).collect();
            trie.insert(filter(&levels.join("/")), shape, (), Room::ENDLESS).unwrap();
        }
        for (levels, hits) in [(11, 0), (12, 4096), (13, 0)] {
            let name = ["a"; 13].get(..levels).unwrap().join("/");
            let mut found = 0;
            let visits = trie.walk(TopicName::new(&name).unwrap(), &mut |_, _| found += 1);
            assert!(visits <= trie.nodes.len(), "{visits} visits, {} nodes", trie.nodes.len());
            assert_eq!(found, hits);
        }
    }
}
