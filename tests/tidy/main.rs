//! The repository's own rules: walls between rooms, sizes, words, logs, files. All complaints come at once.

#![allow(clippy::unwrap_used)]

mod files;
mod logs;
mod names;
mod sizes;
mod source;
mod walls;

#[test]
fn the_repository_keeps_its_own_rules() {
    let sources = source::rust_sources();
    assert!(sources.len() > 20, "only {} sources were found, so nothing would be checked", sources.len());
    let mut complaints = walls::check_manifests();
    complaints.extend(files::check());
    for source in &sources {
        complaints.extend(walls::check(source));
        complaints.extend(sizes::check(source));
        complaints.extend(logs::check(source));
        complaints.extend(names::check(source));
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}\n", complaints.len(), complaints.join("\n"));
}
