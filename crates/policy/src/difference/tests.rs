use crate::{Difference, Limits, Policy};

fn policy(files: &[(&str, &str)]) -> Policy {
    let files: Vec<_> = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
    Policy::from_files(&files, &Limits::patient()).unwrap()
}

#[test]
fn what_is_new_gone_or_otherwise_is_listed() {
    let old = policy(&[
        ("a.rego", "package p\nx := 1\ny := 2"),
        ("b.rego", "package q\nz := 1"),
        ("c.rego", "package c\nc := 1"),
    ]);
    let new = policy(&[
        ("a.rego", "package p\nx := 1\nw := 2"),
        ("c.rego", "package c\nc := 1"),
        ("d.rego", "package q\nz := 1"),
        ("data.json", "{\"a\": 1}"),
    ]);
    let expected = Difference {
        modules_added: vec!["d.rego".to_owned()],
        modules_removed: vec!["b.rego".to_owned()],
        modules_changed: vec!["a.rego".to_owned()],
        rules_added: vec!["data.p.w".to_owned()],
        rules_removed: vec!["data.p.y".to_owned()],
        data_changed: true,
    };
    assert_eq!(old.difference(&new), expected);
    assert!(old.difference(&old).is_empty());
}
