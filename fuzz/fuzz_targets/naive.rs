//! Section 4.7 as plainly as it can be said: what the targets hold the crate against.
#![allow(dead_code)] // each target uses its part

/// The grammar of filters, level by level.
pub(crate) fn is_filter(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let levels: Vec<&str> = text.split('/').collect();
    (1..=65_535).contains(&text.len())
        && !text.contains('\0')
        && levels.iter().enumerate().all(|(place, level)| match *level {
            "+" => true,
            "#" => place + 1 == levels.len(),
            level => !level.contains(['+', '#']),
        })
}

pub(crate) fn is_name(bytes: &[u8]) -> bool {
    is_filter(bytes) && !bytes.contains(&b'+') && !bytes.contains(&b'#')
}

pub(crate) fn matches(filter: &str, name: &str) -> bool {
    let filter: Vec<&str> = filter.split('/').collect();
    let name: Vec<&str> = name.split('/').collect();
    if name[0].starts_with('$') && ["+", "#"].contains(&filter[0]) {
        return false;
    }
    if let Some((&"#", parent)) = filter.split_last() {
        return name.len() >= parent.len() && parent.iter().zip(&name).all(|(f, n)| *f == "+" || f == n);
    }
    filter.len() == name.len() && filter.iter().zip(&name).all(|(f, n)| *f == "+" || f == n)
}

/// The names of a filter in general: a text that no filter has for `+`, and for `#` every number of levels up to `deep`.
pub(crate) fn general_names(filter: &str, fresh: &str, deep: usize) -> Vec<String> {
    let levels: Vec<&str> = filter.split('/').map(|level| if level == "+" { fresh } else { level }).collect();
    let Some((&"#", parent)) = levels.split_last() else { return vec![levels.join("/")] };
    let names = (0..=deep).map(|more| [parent, &vec![fresh; more]].concat().join("/"));
    names.filter(|name| !name.is_empty()).collect()
}

/// `a` covers `b` when it matches every name of `b` in general.
pub(crate) fn covers(a: &str, b: &str, fresh: &str) -> bool {
    general_names(b, fresh, a.split('/').count() + 1).iter().all(|name| matches(a, name))
}

/// They overlap when some length has a name with each level as whichever of the two fixes it.
pub(crate) fn overlap(a: &str, b: &str, fresh: &str) -> bool {
    let (a_levels, b_levels): (Vec<&str>, Vec<&str>) = (a.split('/').collect(), b.split('/').collect());
    (1..=a_levels.len().max(b_levels.len()) + 1).any(|length| {
        let level = |place: usize| {
            let fixed = |levels: &[&str]| {
                levels.get(place).copied().filter(|level| *level != "+" && *level != "#").map(str::to_owned)
            };
            fixed(&a_levels).or_else(|| fixed(&b_levels)).unwrap_or_else(|| fresh.to_owned())
        };
        let name = (0..length).map(level).collect::<Vec<_>>().join("/");
        !name.is_empty() && matches(a, &name) && matches(b, &name)
    })
}
