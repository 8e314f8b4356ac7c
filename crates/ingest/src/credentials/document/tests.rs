use super::super::names::tests::names;
use super::*;
use proptest::prelude::*;

#[test]
fn credentials_go_and_everything_else_stays_as_it_was_written() {
    for (json, expected) in [
        (r#"{ "Authorization" : "Bearer abc" , "a":1.50}"#, r#"{ "Authorization" : "removed" , "a":1.50}"#),
        (r#"{"X_API_KEY":["a","]"],"n":[1]}"#, r#"{"X_API_KEY":"removed","n":[1]}"#),
        (r#"{"password":12345,"passwd":null}"#, r#"{"password":"removed","passwd":null}"#),
        (
            r#"{"authorization":{"role":"a","token":"Basic YTpi"}}"#,
            r#"{"authorization":{"role":"a","token":"Basic removed"}}"#,
        ),
        (r#"[["h","bearer eyJ.a.b"],"a bearer of news"]"#, r#"[["h","bearer removed"],"a bearer of news"]"#),
        (r#"{"path":"/v1?key=s3cr3t&b=c"}"#, r#"{"path":"/v1?key=removed&b=c"}"#),
        (r#"["https://me:pw@host/x","mail me@host"]"#, r#"["https://host/x","mail me@host"]"#),
        (r#"{"name":"cookie","value":"a=b"}"#, r#"{"name":"cookie","value":"removed"}"#),
        (
            r#"{"env":[{"name":"DB"},{"value":"x"},{"name":"PASSWORD","value":"x"}]}"#,
            r#"{"env":[{"name":"DB"},{"value":"x"},{"name":"PASSWORD","value":"removed"}]}"#,
        ),
        (r#"[{"name":"cookie"},{"value":"kept"}]"#, r#"[{"name":"cookie"},{"value":"kept"}]"#),
        // What became stricter: names of every door, the last part of a name, addresses within a text, JSON that has one in it or was cut off.
        (
            r#"{"headers.cookie":"a","secret":"b","auth_token":1,"user_api_key_hash":"c","max_tokens":2}"#,
            r#"{"headers.cookie":"removed","secret":"removed","auth_token":"removed","user_api_key_hash":"removed","max_tokens":2}"#,
        ),
        (r#"["see https://me:pw@host/x, please"]"#, r#"["see https://host/x, please"]"#),
        (r#"["v1?client_secret=x&token=y&a=z"]"#, r#"["v1?client_secret=removed&token=removed&a=z"]"#),
        (r#"["https://host/#access_token=x"]"#, r#"["https://host/"]"#),
        (
            r#"["{\"password\":\"x\",\"a\":\"http://b/?c\"}"]"#,
            r#"["{\"password\":\"removed\",\"a\":\"http://b/?c\"}"]"#,
        ),
        (r#"["{'password': 'x', 'a': 'b'}"]"#, r#"["{'password': '', 'a': 'b'}"]"#),
        (r#"{"pass\u0077ord":"x"}"#, r#"{"pass\u0077ord":"removed"}"#),
        (
            r#"{"[{\"headers\":{\"Authorization\":\"x\"}}]":{"status":200}}"#,
            r#"{"[{\"headers\":{\"Authorization\":\"removed\"}}]":{"status":200}}"#,
        ),
    ] {
        assert_eq!(removed(json), expected);
    }
    for kept in ["1", "\"\"", "\"", "{}", r#"{"":""}"#, r#"{"secret":{"secretName":"a"},"key":"b"}"#] {
        assert!(matches!(removed(kept), Cow::Borrowed(same) if same == kept), "{kept}");
    }
}

/// JSON in which each credential is the word `CANARY`, and nothing else is.
fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
        "[a-z\"\\\\{}:, é]{0,8}".prop_map(serde_json::Value::from),
        Just(serde_json::Value::from("Bearer CANARY")),
        Just(serde_json::Value::from("https://CANARY@host/a?access_token=CANARY")),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let name = prop_oneof!["[a-z\"\\\\é]{0,4}".prop_map(|name| name), Just("n".to_owned())];
        let names = names();
        let credential = (0..names.len(), any::<bool>()).prop_map(move |(at, is_list)| {
            let canary = if is_list { serde_json::json!(["CANARY"]) } else { serde_json::json!("CANARY") };
            serde_json::Value::Object([(names[at].clone(), canary)].into_iter().collect())
        });
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map(name, inner.clone(), 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            credential,
            inner.prop_map(|value| serde_json::Value::from(value.to_string())),
        ]
    })
}

proptest! {
    #[test]
    fn no_canary_is_left_and_what_is_left_is_json(document in document(), pretty in any::<bool>()) {
        let json = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
        // Deeper than that nobody looks.
        prop_assume!(!json.contains(&"\\".repeat(15)));
        let left = removed(&json);
        prop_assert!(!left.contains("CANARY"), "{}", left);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&left).is_ok(), "{}", left);
        if !json.contains("CANARY") {
            prop_assert_eq!(&*left, json.as_str());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), marks in "[\"\\\\{}\\[\\]:, a]{0,24}") {
        removed(&text);
        removed(&marks);
    }
}
