use super::*;

fn file(path: &str, text: &str) -> (String, Vec<u8>) {
    (path.to_owned(), text.as_bytes().to_vec())
}

fn refusal(files: &[(String, Vec<u8>)]) -> String {
    read(files, &Limits::default()).unwrap_err().to_string()
}

#[test]
fn paths_that_lead_out_are_refused() {
    for path in ["/a.rego", "../a.rego", "a/../b.rego", "a//b.rego", "a\\b.rego", "", ".", "a/./b.rego", "a\0.rego"] {
        assert!(refusal(&[file(path, "")]).contains("is not a path below the folder"), "{path:?}");
    }
    assert!(refusal(&[file(&"a/".repeat(20), "")]).contains("is not a path"));
    assert!(refusal(&[file(&format!("{}a.rego", "a/".repeat(20)), "")]).contains("nested too deep"));
}

#[test]
fn a_file_may_be_there_only_once() {
    assert!(refusal(&[file("a.rego", ""), file("./a.rego", "")]).contains("is there twice"));
}

#[test]
fn the_digest_knows_paths_and_contents_and_no_order() {
    let digest = |files: &[(String, Vec<u8>)]| read(files, &Limits::default()).unwrap().digest;
    let (a, b) = (file("a.rego", "x"), file("b.rego", "y"));
    let both = digest(&[a.clone(), b.clone()]);
    assert_eq!(both, digest(&[b.clone(), a.clone()]));
    assert_eq!(both, digest(&[a.clone(), b.clone(), file("README.md", "z")]));
    assert_ne!(both, digest(&[file("b.rego", "x"), file("a.rego", "y")]));
    assert_ne!(both, digest(&[a.clone(), file("b.rego", "yz")]));
    assert_ne!(digest(&[file("a.rego", "xb.rego")]), digest(&[file("a.regox", "b.rego"), a]));
    assert_eq!(digest(&[]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[test]
fn documents_are_merged_and_never_overwritten() {
    let data = |files: &[(String, Vec<u8>)]| read(files, &Limits::default()).map(|files| Value::Object(files.data));
    let merged = data(&[file("data.json", r#"{"a": {"b": 1}}"#), file("a/data.json", r#"{"c": 2}"#)]).unwrap();
    assert_eq!(merged, serde_json::json!({"a": {"b": 1, "c": 2}}));
    for second in [file("a/data.json", r#"{"b": 2}"#), file("a/b/data.json", "{}"), file("c/data.json", "[]")] {
        data(&[file("data.json", r#"{"a": {"b": 1}}"#), second]).unwrap_err();
    }
}

#[test]
fn what_is_not_json_is_refused_and_yaml_is_not_passed_over() {
    assert!(refusal(&[file("data.json", "{")]).contains("is not JSON"));
    assert!(refusal(&[file("data.json", &"[".repeat(1000))]).contains("is not JSON"));
    assert!(refusal(&[file("data.json", r#"{"a": 1e2000000000}"#)]).contains("is not JSON"));
    assert!(refusal(&[file("x/data.yaml", "a: 1")]).contains("data is JSON"));
}

#[test]
fn every_limit_is_named() {
    let limits = Limits { files_max: 2, total_bytes_max: 20, file_bytes_max: 10, ..Limits::default() };
    let refusal = |files: &[(String, Vec<u8>)]| read(files, &limits).unwrap_err().to_string();
    let files: Vec<_> = (0..3).map(|n| file(&format!("{n}.rego"), "")).collect();
    assert_eq!(refusal(&files), "the number of files is over the limit of 2");
    assert_eq!(refusal(&[file("a.rego", &"x".repeat(21))]), "the size of all files in bytes is over the limit of 20");
    assert_eq!(refusal(&[file("a.rego", &"x".repeat(11))]), "the size of a.rego in bytes is over the limit of 10");
}
