use crate::{Limits, LoadError, Policy};

fn load(rules: &str) -> Result<Policy, LoadError> {
    let text = format!("package testimony.request\nimport data.lib\nimport data.lib as other\n{rules}\n");
    let lib = "package lib\nf(x) := x\nvalue := 1\ng(x) := lib_local(x)\nlib_local(x) := x\n";
    let files = [("a.rego".to_owned(), text.into_bytes()), ("lib.rego".to_owned(), lib.as_bytes().to_vec())];
    Policy::from_files(&files, &Limits::patient())
}

fn refusal(rules: &str) -> String {
    match load(rules) {
        Ok(_) => panic!("was loaded: {rules}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn unknown_functions_are_named_with_file_and_line() {
    for name in [
        "http.send",
        "opa.runtime",
        "rego.parse_module",
        "trace",
        "net.lookup_ip_addr",
        "rand.intn",
        "uuid.rfc4122",
        "graph.reachable_paths",
        "nothing",
        "strings.nothing",
        "lib.nothing",
        "other.nothing",
        "data.lib.nothing",
        "data.none.f",
    ] {
        assert_eq!(refusal(&format!("allow if {name}(1)")), format!("a.rego:4: the function {name} is not known here"));
    }
}

#[test]
fn unknown_functions_are_found_wherever_they_hide() {
    for rules in [
        "allow if {\n not hidden(1) }",
        "allow if {\n [1 | hidden(1)] }",
        "allow if {\n {1 | hidden(1)} }",
        "allow if {\n {1: hidden(1) | true} }",
        "allow if {\n every x in [1] { hidden(x) } }",
        "allow if {\n some x in hidden(1) }",
        "allow if {\n input.x[hidden(1)] }",
        "allow if {\n hidden(1).x }",
        "allow if {\n x := [hidden(1)]; x }",
        "allow if {\n lib.f(hidden(1)) }",
        "allow if {\n 1 in [hidden(1)] }",
        "allow if {\n true with input as hidden(1) }",
        "allow if {\n {\"a\": [{hidden(1)}]} }",
        "x :=\n hidden(1)",
        "x(a) :=\n hidden(a)",
        "x contains\n hidden(1)",
        "x[a] :=\n hidden(a) if some a in [1]",
        "allow if { false } else :=\n hidden(1)",
        "allow if { false } else := true if {\n hidden(1) }",
        "allow if {\n true with hidden as 1 }",
        "allow if {\n 1 - (2 * hidden(1)) > 0 }",
    ] {
        assert_eq!(refusal(rules), "a.rego:5: the function hidden is not known here", "{rules}");
    }
}

#[test]
fn known_functions_are_found_in_all_their_spellings() {
    for rules in [
        "allow if lib.f(1)",
        "allow if other.f(1)",
        "allow if data.lib.f(1)",
        "allow if data.lib.g(1)",
        "allow if data.testimony.request.own(1)\nown(x) := x",
        "allow if { split(\"a,b\", \",\", parts); count(parts) == 2 }",
        "allow if crypto.sha256(\"a\") != \"\"",
        "allow if lib.f(1) with lib.f as 3",
        "allow if lib.f(1) with data.lib.f as own\nown(x) := x",
        "allow if time.now_ns() == 1 with time.now_ns as 1",
        "allow if { walk(input, [path, value]); count(path) == 0; value == input }",
    ] {
        load(rules).unwrap_or_else(|error| panic!("{rules}: {error}"));
    }
}

#[test]
fn arguments_are_counted() {
    assert_eq!(refusal("allow if count(1, 2, 3)"), "a.rego:4: count takes 1 arguments and is given 3");
    assert_eq!(
        refusal("allow if lib.f()"),
        "a.rego:4: data.lib.f takes 1 arguments and is given 0".replace("data.", "")
    );
    assert!(refusal("f(a) := a\nf(a, b) := b\nallow := true").contains("another number of arguments"));
}

#[test]
fn a_pattern_for_the_result_is_refused_where_it_would_not_be_bound() {
    load(
        "allow if { data.lib.f(1, x); time.now_ns(now); lower(\"A\", a); strings.count(\"a\", a, n); x < now; n > 0 }",
    )
    .unwrap();
    assert_eq!(
        refusal("allow if { io.jwt.decode(input.token, [_, claims, _]); claims.admin }"),
        "a.rego:4: io.jwt.decode takes 1 arguments and is given 2; assign its result with := instead"
    );
    assert!(refusal("allow if { crypto.sha256(\"a\", digest); digest != \"\" }").contains("with := instead"));
}

#[test]
fn walk_is_refused_where_nothing_would_be_gone_through() {
    for rules in [
        "allow if { walk(input, [path, value]); count(path) == 0; value == input }",
        "allow if count([value | walk(input, [_, value])]) > 0",
        "allow if { walk(input, [path, _]) with input as {}; path == [] }",
        "allow if { walk(input, [[], _]) }",
    ] {
        let decision = load(rules).unwrap().decide(crate::Point::Request, &crate::Input::default());
        assert!(decision.allow, "{rules}: {decision:?}");
    }
    for rules in [
        "allow if { [path, value] := walk(input); count(path) == 0; value == input }",
        "allow if { some [path, _] in walk(input); path == [] }",
        "allow if not walk(input, [_, \"secret\"])",
        "allow if { every pair in walk(input) { pair } }",
        "allow if count(walk(input)) > 0",
        "allow if walk(input)",
        "allow if { x := walk(input, [_, 1]); x }",
        "allow if { true with walk as 1 }",
    ] {
        assert_eq!(refusal(rules), "a.rego:4: walk is a statement of its own: walk(x, [path, value])", "{rules}");
    }
}

#[test]
fn a_reference_is_followed_beyond_its_variables() {
    load("allow if data[input.x].value").unwrap();
    load("allow if data.testimony[input.x].admitted").unwrap();
    load("allow if data[input.x][input.y].admitted[input.z]").unwrap();
    for rules in [
        "allow if data[input.x][input.y].allow",
        "allow if data[input.x].request.allow.more",
        "allow if data.testimony[input.x].allow",
        "allow if data.testimony[input.x][input.y]",
        "allow if other.x[data[input.x]]",
    ] {
        assert!(refusal(rules).contains("a rule depends on itself: "), "{rules}: {}", refusal(rules));
    }
}

#[test]
fn a_reference_that_would_be_evaluated_in_part_is_refused() {
    let limits = "limits[model].day := 5 if some model in [\"gpt\"]\nlimits.gpt.hour := 1\n";
    let groups = "groups[team] contains \"alice\" if some team in [\"a\"]\ngroups.a contains \"bob\"\n";
    for rules in [
        format!("{limits}allow if limits.gpt.day == 5"),
        format!("{limits}allow if data.testimony.request.limits.gpt.day == 5"),
        format!("{limits}allow if count(limits.gpt) == 2"),
        format!("{groups}allow if \"bob\" in groups.a"),
        format!("{groups}allow if groups.a.alice"),
    ] {
        assert!(refusal(&rules).contains("which would be left out"), "{rules}: {}", refusal(&rules));
    }
    assert_eq!(
        refusal(&format!("{groups}allow if\n groups.a.bob")),
        "a.rego:6: data.testimony.request.groups.a.bob is defined by data.testimony.request.groups.a and by \
         data.testimony.request.groups[…] (a.rego:4), which would be left out: give both rules heads of one form"
    );
    // What is asked with a variable, or as a whole, is evaluated from all rules.
    for rules in [
        format!("{limits}allow if limits.gpt.hour == 1"),
        format!("{limits}allow if {{ some model in [\"gpt\"]; limits[model].day == 5; limits[model].hour == 1 }}"),
        format!("{limits}allow if limits == {{\"gpt\": {{\"day\": 5, \"hour\": 1}}}}"),
        format!("{groups}allow if {{ some team in [\"a\"]; count(groups[team]) == 2 }}"),
        "limits[model] := 5 if some model in [\"gpt\"]\nlimits.other := 1\nallow if limits.gpt + limits.other == 6"
            .to_owned(),
    ] {
        let decision = load(&rules).unwrap().decide(crate::Point::Request, &crate::Input::default());
        assert!(decision.allow, "{rules}: {decision:?}");
    }
}

#[test]
fn a_rule_that_depends_on_itself_is_refused() {
    for rules in [
        "allow if allow",
        "allow if not allow",
        "f(x) := f(x - 1)\nallow if f(1)",
        "f(x) := g(x)\ng(x) := f(x)\nallow if f(1)",
        "a := b\nb := [c | c := a]\nallow if a",
        "a if data.testimony.request.a",
        "a if data.testimony.request[input.x]",
        "a if data[input.x]",
        "f(x) := data.testimony.request.a\na if f(1)",
        "f(x) := x if lib.f(x) with lib.f as f",
        "a[x] := y if { some x in [1]; y := a[x - 1] }",
    ] {
        assert!(refusal(rules).contains("a rule depends on itself: "), "{rules}: {}", refusal(rules));
    }
}

#[test]
fn names_of_a_rule_s_own_are_not_the_rules_of_that_name() {
    for rules in [
        "user := u if { user := 1; u := user }",
        "f(user) := user\nuser := f(1)",
        "user if { every user in [1] { user == 1 } }",
        "user if { [user, _] := [1, 2]; user == 1 }",
    ] {
        load(&format!("allow := true\n{rules}")).unwrap_or_else(|error| panic!("{rules}: {error}"));
    }
}

#[test]
fn what_would_overflow_the_parser_is_refused_before() {
    let sum = vec!["1"; 15_000].join(" +\n");
    assert_eq!(refusal(&format!("x := {sum}")), "a.rego:103: an expression of more than 100 operators");
}

#[test]
fn what_is_nested_too_deep_is_refused_before() {
    let brackets = "[".repeat(100_000);
    assert_eq!(refusal(&format!("x := {brackets}")), "a.rego:4: brackets nested more than 32 deep");
    let lines = "[\n".repeat(10_000);
    assert_eq!(refusal(&format!("x := {lines}")), "a.rego:36: brackets nested more than 32 deep");
    let calls = "count(\n".repeat(10_000);
    assert_eq!(refusal(&format!("x := {calls}")), "a.rego:36: brackets nested more than 32 deep");
}

#[test]
fn a_long_chain_of_calls_is_refused_before() {
    let calls = vec!["count([1, 2])"; 5_000].join("\n+ ");
    assert!(refusal(&format!("x := {calls}")).contains("more than 100 operators"));
}

#[test]
fn numbers_are_bounded() {
    assert!(refusal("x := 1e2000000000").starts_with("a.rego:4: "), "{}", refusal("x := 1e2000000000"));
    assert!(refusal("x := 1e401").starts_with("a.rego:4: "));
    load("allow := true\nx := 1e300").unwrap();
    assert!(refusal(&format!("x := {}", "9".repeat(900))).starts_with("a.rego:4: "));
}

#[test]
fn long_files_of_short_rules_are_not_long_expressions() {
    let rules: String =
        (0..500).map(|n| format!("r{n} if {{ input.a == {n}; input.b != 1 }}\nv{n} := {n} + 1\n")).collect();
    load(&format!("allow := true\n{rules}")).unwrap();
    let list = vec!["{\"a\": 1 + 1}"; 500].join(",\n");
    load(&format!("allow := true\nx := [{list}]")).unwrap();
}
